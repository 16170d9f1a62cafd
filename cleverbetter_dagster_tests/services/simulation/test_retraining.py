"""The simulation of retraining: which way fits when, what is billed, and that no model knows the future."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError, NotEnoughRows, UnknownFamily
from cleverbetter_dagster.services.simulation import retraining
from cleverbetter_dagster.services.simulation.retraining import WAYS, RetrainingSpec, SimulatedWay, simulate
from cleverbetter_dagster.services.simulation.table import way_rows
from cleverbetter_dagster_tests.learning.conftest import SMALL, backtest_rows

FIRST, LAST = "2021-05", "2021-09"
SPEC = RetrainingSpec(
    family="ensemble",
    first=FIRST,
    last=LAST,
    params=SMALL["ensemble"],
    dataset=DatasetSpec(min_composite_score=None, min_examples=1),
)


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    return backtest_rows()


@pytest.fixture(scope="module")
def simulated(history: pd.DataFrame) -> dict[str, SimulatedWay]:
    return {one.way: one for one in simulate(history, SPEC, 1)}


def test_every_way_fits_and_updates_as_described(simulated: dict[str, SimulatedWay]) -> None:
    counts = {way: (one.fits, one.updates) for way, one in simulated.items()}
    assert list(counts) == list(WAYS)
    assert counts["never"] == (1, 0)
    assert counts["monthly"] == (5, 0)
    assert counts["incremental"][0] == 1 and 1 <= counts["incremental"][1] <= 4
    assert simulated["never"].cpu_seconds < simulated["incremental"].cpu_seconds < simulated["monthly"].cpu_seconds


def test_each_month_is_judged_on_the_next_months_rows(
    history: pd.DataFrame, simulated: dict[str, SimulatedWay]
) -> None:
    in_time = history["end_date"].between(AsOf.parse("2021-06").start, AsOf.parse("2021-10").end)
    for one in simulated.values():
        assert sorted(one.scored["id"]) == sorted(history.loc[in_time, "id"])


def test_ways_agree_until_one_of_them_retrains(simulated: dict[str, SimulatedWay]) -> None:
    first = {way: one.scored["probability"][:40].to_numpy() for way, one in simulated.items()}
    last = {way: one.scored["probability"][-40:].to_numpy() for way, one in simulated.items()}
    for way in WAYS:
        np.testing.assert_array_equal(first[way], first["never"])
    assert len({last[way].tobytes() for way in ("never", "monthly", "incremental")}) == 3


@pytest.mark.slow
def test_the_drift_threshold_decides_on_a_new_fit(history: pd.DataFrame) -> None:
    always, never = (
        simulate(history, SPEC.model_copy(update={"ways": ("drift",), "largest_drift": bound}), 1)[0]
        for bound in (0.0, 1e9)
    )
    assert (always.fits, never.fits) == (5, 1)


@pytest.mark.slow
def test_what_happens_later_changes_no_probability(history: pd.DataFrame, simulated: dict[str, SimulatedWay]) -> None:
    """The law: outcomes after the last judged month, and of it, are noise; every probability is the same."""
    altered, end = history.copy(), AsOf.parse("2021-10").end
    later = altered["end_date"] >= end
    rng = np.random.default_rng(0)
    for column in ("roi", "win_rate", "ml_avg_odds"):
        altered.loc[later, column] = rng.uniform(0.0, 0.9, later.sum())
    spec = SPEC.model_copy(update={"ways": ("incremental", "drift")})
    for one in simulate(altered, spec, 1):
        expected = simulated[one.way].scored["probability"]
        pd.testing.assert_series_equal(one.scored["probability"], expected, check_exact=True)


def test_learning_from_the_judged_month_is_noticed(
    history: pd.DataFrame, simulated: dict[str, SimulatedWay], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = retraining.build_panel
    monkeypatch.setattr(retraining, "build_panel", lambda rows, end, spec: whole(rows, None, spec))
    (one,) = simulate(history, SPEC.model_copy(update={"ways": ("never",)}), 1)
    assert not one.scored["probability"].equals(simulated["never"].scored["probability"])


def test_the_table_compares_ways_with_monthly_retraining(simulated: dict[str, SimulatedWay]) -> None:
    table = {row.way: row for row in way_rows(list(simulated.values()))}
    assert table["monthly"].auc_lost is None
    row, best = table["never"], table["monthly"]
    assert (row.rows, row.months, row.fits) == (200, 5, 1)
    assert row.auc_lost.point == pytest.approx(best.auc_within_months.point - row.auc_within_months.point)
    assert row.brier_lost.point == pytest.approx(row.brier.point - best.brier.point)
    assert row.log_growth.reason == "5 months; 95% needs 6"
    alone = way_rows([simulated["never"]])
    assert alone[0].auc_lost is None


def test_progress_ends_at_one(history: pd.DataFrame) -> None:
    shares: list[float] = []
    simulate(history, SPEC.model_copy(update={"ways": ("never",)}), 1, shares.append)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_impossible_simulations_are_refused(history: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"decided in 2021-12, and no outcome.*2020-01 to 2021-11"):
        simulate(history, SPEC.model_copy(update={"last": "2021-11"}), 1)
    with pytest.raises(DataError, match="no months from 2021-05 to 2021-04"):
        simulate(history, SPEC.model_copy(update={"last": "2021-04"}), 1)
    with pytest.raises(UnknownFamily):
        simulate(history, SPEC.model_copy(update={"family": "oracle"}), 1)
    with pytest.raises(NotEnoughRows):
        simulate(history, SPEC.model_copy(update={"dataset": DatasetSpec(min_composite_score=None)}), 1)
