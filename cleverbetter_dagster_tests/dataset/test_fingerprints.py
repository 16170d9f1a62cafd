"""Examples are recognised by their content."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.dataset.panel import build_panel
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster_tests.learning.conftest import backtest_rows

SPEC = DatasetSpec()


def examples_of(rows: pd.DataFrame) -> Examples:
    panel = build_panel(rows, None, SPEC)
    return Examples(panel[panel["label"].notna()])


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return backtest_rows(strategies=5, months=8)


@pytest.fixture(scope="module")
def examples(rows: pd.DataFrame) -> Examples:
    return examples_of(rows)


def test_only_learned_examples_are_contained(examples: Examples) -> None:
    first, rest = examples.take(np.arange(10)), examples.take(np.arange(10, len(examples)))
    learned = Fingerprints.of(first)
    assert learned.contains(first.take(np.arange(9, -1, -1))).all()
    assert not learned.contains(rest).any()
    assert learned.with_new(rest).contains(examples).all()
    assert len(learned.with_new(rest)) == len(examples)


@pytest.mark.parametrize("column", ["roi", "win_rate", "total_bets", "ml_avg_odds", "ml_spread"])
def test_a_corrected_row_is_new(rows: pd.DataFrame, examples: Examples, column: str) -> None:
    learned, corrected = Fingerprints.of(examples), rows.copy()
    corrected.loc[3, column] = 0.777
    changed = examples_of(corrected)
    unknown = set(changed.ids[~learned.contains(changed)])
    # A return is also the outcome of the window before it.
    assert unknown == ({"row-00003", "row-00002"} if column == "roi" else {"row-00003"})


def test_a_late_row_makes_only_the_one_before_it_new(rows: pd.DataFrame) -> None:
    learned = Fingerprints.of(examples_of(rows.drop(index=3)))
    whole = examples_of(rows)
    assert set(whole.ids[~learned.contains(whole)]) == {"row-00002", "row-00003"}
