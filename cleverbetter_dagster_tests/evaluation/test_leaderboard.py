import numpy as np
import pytest

from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
from cleverbetter_dagster.evaluation.leaderboard import METRICS, leaderboard_row, rank_models
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import classification_metrics
from cleverbetter_dagster_tests.evaluation.scored import decision_months, scored_rows, simulated_models

MODELS = simulated_models()


def test_the_best_brier_score_leads():
    assert [row.name for row in rank_models(MODELS)] == ["good", "fair", "blind"]


def test_points_are_the_metrics_of_the_rows():
    row, rows = leaderboard_row("good", MODELS["good"]), MODELS["good"]
    alone, bets = classification_metrics(rows.label, rows.probability), allocation_of(rows)

    for name in ("roc_auc", "brier", "log_loss", "calibration_error"):
        assert getattr(row, name).point == pytest.approx(getattr(alone, name)), name
    for name in ("roi", "sharpe_ratio", "max_drawdown"):
        assert getattr(row, name).point == pytest.approx(getattr(bets.metrics, name)), name
    assert row.growth.point == pytest.approx(bets.growth)
    assert (row.n_rows, row.n_months, row.n_bets) == (2_400, 12, bets.metrics.n_bets)


def test_every_interval_holds_its_point():
    for row in rank_models(MODELS):
        for metric in METRICS:
            interval = getattr(row, metric)
            assert interval is None or interval.low <= interval.point <= interval.high, (row.name, metric)


def test_a_model_that_bets_nothing_has_no_betting_figures():
    row = leaderboard_row("blind", MODELS["blind"])

    assert (row.n_bets, row.roi, row.growth, row.sharpe_ratio, row.max_drawdown) == (0, None, None, None, None)
    assert row.roc_auc.point == 0.5


def test_stakes_in_a_single_month_have_no_return():
    months = decision_months(6, 2)
    label = np.tile([0, 1], 6)
    once, twice = (np.where(np.arange(12) < upto, 0.1, 0.0) for upto in (2, 4))

    assert leaderboard_row("once", scored_rows(label * 0.5, label, stake=once, months=months)).roi is None
    assert leaderboard_row("twice", scored_rows(label * 0.5, label, stake=twice, months=months)).roi is not None


def test_a_single_month_has_no_interval_and_no_crash():
    row = leaderboard_row("small", scored_rows([0.2, 0.7], [0, 1], stake=[0.1, 0.1]))

    assert row.n_months == 1
    assert row.brier is None


def test_the_level_of_the_spec_reaches_the_intervals():
    assert leaderboard_row("good", MODELS["good"], BootstrapSpec(level=0.8)).brier.level == 0.8
