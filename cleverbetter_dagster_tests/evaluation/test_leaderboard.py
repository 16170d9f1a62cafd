import numpy as np
import pytest

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.evaluation.leaderboard import METRICS, leaderboard_row, rank_models
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.calibration_error import calibration_error
from cleverbetter_dagster.evaluation.metrics.classification import classification_metrics
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows, simulated_models

MODELS = simulated_models()


def test_the_best_brier_score_leads():
    assert [row.name for row in rank_models(MODELS)] == ["good", "fair", "blind"]


def test_points_are_the_metrics_of_the_rows():
    row, rows = leaderboard_row("good", MODELS["good"]), MODELS["good"]
    alone, bets = classification_metrics(rows.label, rows.probability), allocation_of(rows)

    months = months_of(rows.decision_time)
    assert row.calibration_error.point == calibration_error(rows.label, rows.probability, months)
    for name in ("roc_auc", "brier", "log_loss"):
        assert getattr(row, name).point == pytest.approx(getattr(alone, name)), name
    for name in ("roi", "sharpe_ratio", "max_drawdown"):
        assert getattr(row, name).point == pytest.approx(getattr(bets.metrics, name)), name
    assert row.growth.point == pytest.approx(bets.growth)
    assert (row.n_rows, row.n_months, row.n_bets) == (2_400, 12, bets.metrics.n_bets)


def test_every_interval_holds_its_point():
    for row in rank_models(MODELS):
        for metric in METRICS:
            interval = getattr(row, metric)
            assert interval.ends is None or interval.low <= interval.point <= interval.high, (row.name, metric)


def test_a_model_that_bets_nothing_has_no_betting_figures():
    row = leaderboard_row("blind", MODELS["blind"])

    assert row.n_bets == 0
    assert {getattr(row, name).reason for name in ("roi", "growth", "sharpe_ratio", "max_drawdown")} == {"no stakes"}
    assert (row.roc_auc.point, row.auc_within_months.point) == (0.5, 0.5)


def test_only_months_with_a_stake_count_for_the_return():
    months = decision_months(12, 2)
    label = np.tile([0, 1], 12)
    five, six = (np.where(np.arange(24) < upto, 0.1, 0.0) for upto in (10, 12))

    few = leaderboard_row("five", scored_rows(label * 0.5, label, stake=five, months=months)).roi
    assert (few.ends, few.reason) == (None, "5 months; 95% needs 6")
    assert leaderboard_row("six", scored_rows(label * 0.5, label, stake=six, months=months)).roi.ends is not None


@pytest.mark.parametrize("n_months", [1, 2, 5])
def test_few_months_show_figures_without_intervals_and_why(n_months):
    row = leaderboard_row("few", simulated_models(n_months=n_months)["good"])

    for metric in METRICS:
        estimate = getattr(row, metric)
        assert (estimate.low, estimate.high) == (None, None), metric
        assert estimate.reason, metric
    assert row.brier.reason.endswith("95% needs 6")
    assert row.brier.point is not None


def test_the_level_of_the_spec_reaches_the_intervals():
    assert leaderboard_row("good", MODELS["good"], IntervalSpec(level=0.8)).brier.level == 0.8
