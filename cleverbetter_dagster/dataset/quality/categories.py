"""Market features that are categories, such as a country: one indicator a category.

The rows hold the text of such a feature (`category_country`). A model sees `ml_country=AU`: 1 where the country is
AU, 0 where it is another one of the categories that have an indicator, missing where it is none of them or unknown. The
names of a model's features are the whole mapping, so it travels with the model, and depends on no order of rows.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.quality.left_out import LEAST_SHARE
from cleverbetter_dagster.dataset.schema import CATEGORY_PREFIX, MARKET_PREFIX, category_columns

SEPARATOR = "="
"""As in the names of scikit-learn's `DictVectorizer`."""

LONGEST_CATEGORY = 100
"""Characters by which categories are told apart."""


def indicator_names(train: pd.DataFrame) -> list[str]:
    """An indicator for each category that at least `LEAST_SHARE` of the training rows have, sorted.

    >>> indicator_names(pd.DataFrame({"category_country": ["AU", "NZ", None]}))
    ['ml_country=AU', 'ml_country=NZ']
    """
    names = []
    for column in category_columns(train.columns):
        shares = train[column].value_counts() / len(train)
        feature = column.removeprefix(CATEGORY_PREFIX)
        names += [f"{MARKET_PREFIX}{feature}{SEPARATOR}{one}" for one in shares.index[shares >= LEAST_SHARE]]
    return sorted(names)


def category_column(name: str) -> str | None:
    """The column of texts that the indicator `name` is made of; None if it is no indicator.

    >>> category_column("ml_country=AU"), category_column("ml_avg_odds")
    ('category_country', None)
    """
    feature, separator, _ = name.partition(SEPARATOR)
    return CATEGORY_PREFIX + feature.removeprefix(MARKET_PREFIX) if separator else None


def indicators(rows: pd.DataFrame, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those indicators among `names` whose column of texts `rows` has: float64[n], each 1, 0 or NaN.

    >>> country = pd.DataFrame({"category_country": ["AU", "NZ", "IE", None]})
    >>> indicators(country, ["ml_country=AU", "ml_country=NZ", "ml_avg_odds"])["ml_country=AU"].tolist()
    [1.0, 0.0, nan, nan]
    """
    by_column: dict[str, list[str]] = defaultdict(list)
    for name in names:
        column = category_column(name)
        if column is not None and column in rows.columns:
            by_column[column].append(name)
    columns: dict[str, np.ndarray] = {}
    for column, own in by_column.items():
        categories = {name: name.partition(SEPARATOR)[2] for name in own}
        known = rows[column].isin(categories.values())
        columns |= {
            name: np.where(known, (rows[column] == category).to_numpy(dtype=float), np.nan)
            for name, category in categories.items()
        }
    return columns
