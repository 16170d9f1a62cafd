import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.learned import LearnedRows
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


def test_what_was_learned_is_known_in_any_order_and_nothing_else_is(examples: Examples) -> None:
    first, rest = examples.take(np.arange(10)), examples.take(np.arange(10, len(examples)))
    learned = LearnedRows.of([first])
    assert learned.among(first.take(np.arange(9, -1, -1))).all()
    assert not learned.among(rest).any()
    assert learned.joined(rest).among(examples).all()
    assert len(learned.joined(rest)) == len(examples)


@pytest.mark.parametrize("column", ["roi", "win_rate", "total_bets", "ml_avg_odds", "ml_spread"])
def test_a_corrected_row_is_another_one(rows: pd.DataFrame, examples: Examples, column: str) -> None:
    learned, corrected = LearnedRows.of([examples]), rows.copy()
    corrected.loc[3, column] = 0.777
    changed = examples_of(corrected)
    unknown = set(changed.ids[~learned.among(changed)])
    # A return is also the outcome of the window before it.
    assert unknown == ({"row-00003", "row-00002"} if column == "roi" else {"row-00003"})


def test_a_late_row_makes_the_one_before_it_new_and_no_row_that_only_has_it_in_its_history(
    rows: pd.DataFrame,
) -> None:
    learned = LearnedRows.of([examples_of(rows.drop(index=3))])
    whole = examples_of(rows)
    assert set(whole.ids[~learned.among(whole)]) == {"row-00002", "row-00003"}
