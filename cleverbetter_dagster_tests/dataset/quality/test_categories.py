"""Categories as indicators: which there are, and what they say of a row."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.quality.categories import indicator_names, indicators

TRAIN = pd.DataFrame({"category_country": ["AU"] * 150 + ["NZ"] * 49 + ["IE"] + [None] * 50, "roi": 0.1})
"""250 rows: the hundredth part is 2.5, so a category with one row is rare."""

NAMES = ["ml_country=AU", "ml_country=NZ"]


def test_categories_of_few_rows_have_no_indicator() -> None:
    assert indicator_names(TRAIN) == NAMES
    assert indicator_names(TRAIN.sample(frac=1.0, random_state=1)) == NAMES


def test_rare_unseen_and_missing_categories_are_missing() -> None:
    rows = pd.DataFrame({"category_country": ["AU", "NZ", "IE", "ZA", None]})
    columns = pd.DataFrame(indicators(rows, NAMES))
    assert list(columns) == NAMES
    np.testing.assert_array_equal(columns.iloc[:2], [[1, 0], [0, 1]])
    assert columns.iloc[2:].isna().all(axis=None)


def test_other_features_are_no_indicators() -> None:
    rows = pd.DataFrame({"category_country": ["AU"], "ml_a=b": [2.5]})
    assert indicators(rows, ["ml_a=b", "ml_avg_odds", "roi"]) == {}
