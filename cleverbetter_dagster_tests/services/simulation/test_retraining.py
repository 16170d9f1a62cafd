"""History replayed: which policy fits when, what is billed, and that nobody knows what came later."""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError, NotEnoughRows, UnknownFamily
from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
from cleverbetter_dagster.services.simulation import retraining as replay_module
from cleverbetter_dagster.services.simulation.retraining import POLICIES, Replayed, ReplaySpec, replay
from cleverbetter_dagster.services.simulation.table import policy_rows
from cleverbetter_dagster_tests.learning.conftest import SMALL, backtest_rows

FIRST, LAST = "2021-05", "2021-09"
SPEC = ReplaySpec(
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
def replayed(history: pd.DataFrame) -> dict[str, Replayed]:
    return {one.policy: one for one in replay(history, SPEC, 1)}


def test_every_policy_fits_and_updates_as_it_says(replayed: dict[str, Replayed]) -> None:
    counts = {policy: (one.fits, one.updates) for policy, one in replayed.items()}
    assert list(counts) == list(POLICIES)
    assert counts["never"] == (1, 0)
    assert counts["monthly"] == (5, 0)
    assert counts["incremental"][0] == 1 and 1 <= counts["incremental"][1] <= 4
    assert replayed["never"].cpu_seconds < replayed["incremental"].cpu_seconds < replayed["monthly"].cpu_seconds


def test_each_month_is_judged_on_the_rows_decided_in_the_month_after(
    history: pd.DataFrame, replayed: dict[str, Replayed]
) -> None:
    in_time = history["end_date"].between(AsOf.parse("2021-06").start, AsOf.parse("2021-10").end)
    for one in replayed.values():
        assert sorted(one.scored["id"]) == sorted(history.loc[in_time, "id"])


def test_policies_agree_until_one_of_them_acts(replayed: dict[str, Replayed]) -> None:
    first = {policy: one.scored["probability"][:40].to_numpy() for policy, one in replayed.items()}
    last = {policy: one.scored["probability"][-40:].to_numpy() for policy, one in replayed.items()}
    for policy in POLICIES:
        np.testing.assert_array_equal(first[policy], first["never"])
    assert len({last[policy].tobytes() for policy in ("never", "monthly", "incremental")}) == 3


@pytest.mark.slow
def test_drift_fits_anew_where_the_threshold_says_so(history: pd.DataFrame) -> None:
    always, never = (
        replay(history, SPEC.model_copy(update={"policies": ("drift",), "largest_drift": bound}), 1)[0]
        for bound in (0.0, 1e9)
    )
    assert (always.fits, never.fits) == (5, 1)


@pytest.mark.slow
def test_what_happens_later_changes_no_probability(history: pd.DataFrame, replayed: dict[str, Replayed]) -> None:
    """The law: outcomes after the last judged month, and of it, are noise; every probability is the same."""
    altered, end = history.copy(), AsOf.parse("2021-10").end
    later = altered["end_date"] >= end
    rng = np.random.default_rng(0)
    for column in ("roi", "win_rate", "ml_avg_odds"):
        altered.loc[later, column] = rng.uniform(0.0, 0.9, later.sum())
    spec = SPEC.model_copy(update={"policies": ("incremental", "drift")})
    for one in replay(altered, spec, 1):
        expected = replayed[one.policy].scored["probability"]
        pd.testing.assert_series_equal(one.scored["probability"], expected, check_exact=True)


def test_a_policy_that_learns_the_month_it_is_judged_on_is_noticed(
    history: pd.DataFrame, replayed: dict[str, Replayed], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replay_module.build_panel
    monkeypatch.setattr(replay_module, "build_panel", lambda rows, end, spec: whole(rows, None, spec))
    (one,) = replay(history, SPEC.model_copy(update={"policies": ("never",)}), 1)
    assert not one.scored["probability"].equals(replayed["never"].scored["probability"])


def test_the_table_pairs_policies_with_the_yardstick(replayed: dict[str, Replayed]) -> None:
    table = {row.policy: row for row in policy_rows(list(replayed.values()), BootstrapSpec(resamples=200))}
    assert table["monthly"].auc_lost is None
    row, best = table["never"], table["monthly"]
    assert (row.rows, row.months, row.fits) == (200, 5, 1)
    assert row.auc_lost.point == pytest.approx(best.roc_auc.point - row.roc_auc.point)
    assert row.brier_lost.point == pytest.approx(row.brier.point - best.brier.point)
    assert row.log_growth is not None
    alone = policy_rows([replayed["never"]], BootstrapSpec(resamples=200))
    assert alone[0].auc_lost is None


def test_progress_ends_at_one(history: pd.DataFrame) -> None:
    told: list[float] = []
    replay(history, SPEC.model_copy(update={"policies": ("never",)}), 1, told.append)
    assert told == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_what_cannot_be_replayed_is_refused(history: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"decided in 2021-12, and no outcome.*2020-01 to 2021-11"):
        replay(history, SPEC.model_copy(update={"last": "2021-11"}), 1)
    with pytest.raises(DataError, match="no months from 2021-05 to 2021-04"):
        replay(history, SPEC.model_copy(update={"last": "2021-04"}), 1)
    with pytest.raises(UnknownFamily):
        replay(history, SPEC.model_copy(update={"family": "oracle"}), 1)
    with pytest.raises(NotEnoughRows):
        replay(history, SPEC.model_copy(update={"dataset": DatasetSpec(min_composite_score=None)}), 1)
