import math

import numpy as np
import pytest

from cleverbetter_dagster.errors import InvalidInput
from cleverbetter_dagster.evaluation import ModelEvaluator

Y = [1, 0, 1, 0]
PREDICTED = [1, 1, 0, 0]
PROBABILITY = np.array([0.9, 0.6, 0.4, 0.1])

evaluator = ModelEvaluator()


def test_classification_metrics_of_the_guide():
    metrics = evaluator.calculate_classification_metrics(Y, PREDICTED, PROBABILITY)

    assert list(metrics) == [
        *("accuracy", "precision", "recall", "f1", "roc_auc"),
        *("average_precision", "brier", "log_loss", "calibration_error"),
    ]
    assert all(type(value) is float for value in metrics.values())
    assert math.isnan(metrics["calibration_error"])  # four probabilities that differ: no bin has two rows
    assert metrics["accuracy"] == 0.5
    assert metrics["roc_auc"] == 0.75
    assert metrics["brier"] == pytest.approx(0.185)


def test_probabilities_of_both_classes_are_accepted():
    both = np.column_stack([1 - PROBABILITY, PROBABILITY])

    assert evaluator.calculate_classification_metrics(Y, PREDICTED, both) == pytest.approx(
        evaluator.calculate_classification_metrics(Y, PREDICTED, PROBABILITY), nan_ok=True
    )


def test_the_given_prediction_counts():
    assert evaluator.calculate_classification_metrics(Y, Y, PROBABILITY)["accuracy"] == 1


def test_one_class_has_no_auc():
    metrics = evaluator.calculate_classification_metrics([1, 1], [1, 1], [0.5, 0.6])

    assert math.isnan(metrics["roc_auc"])
    assert math.isnan(metrics["average_precision"])
    assert metrics["accuracy"] == 1


def test_betting_metrics_of_the_guide():
    metrics = evaluator.calculate_betting_metrics(np.array([10, 20, 10, 10]), np.array([30, -20, 0, -10]), 100)

    assert list(metrics) == [
        *("n_bets", "total_stake", "total_return", "roi", "win_rate"),
        *("profit_factor", "sharpe_ratio", "max_drawdown"),
    ]
    assert all(type(value) is float for value in metrics.values())
    assert metrics["roi"] == 0
    assert metrics["max_drawdown"] == pytest.approx(30 / 130)


def test_no_losing_bet_has_no_profit_factor():
    assert math.isnan(evaluator.calculate_betting_metrics([1], [1])["profit_factor"])


@pytest.mark.parametrize(
    ("y_test", "y_pred", "y_pred_proba", "named"),
    [
        ([1, 0], [1], [0.5, 0.5], "y_test has 2 rows, y_pred 1"),
        ([1, 0], [1, 0], [0.5], "y_pred_proba 1"),
        ([], [], [], "at least one"),
        ([1, 2], [1, 0], [0.5, 0.5], "y_test holds 2"),
        ([1, 0], [1, 0.5], [0.5, 0.5], "y_pred holds 0.5"),
        ([1, np.nan], [1, 0], [0.5, 0.5], r"y_test\[1\] is nan"),
        ([1, 0], [1, 0], [0.5, np.nan], r"y_pred_proba\[1\] is nan"),
        ([1, 0], [1, 0], [0.5, 1.5], "y_pred_proba holds 1.5"),
        ([1, 0], [1, 0], [-0.1, 0.5], "y_pred_proba holds -0.1"),
        ([1, 0], [1, 0], [[0.1, 0.2, 0.7]] * 2, r"\(2, 3\)"),
    ],
)
def test_unusable_predictions_are_named(y_test, y_pred, y_pred_proba, named):
    with pytest.raises(InvalidInput, match=named):
        evaluator.calculate_classification_metrics(y_test, y_pred, y_pred_proba)


def test_unusable_bets_are_named():
    with pytest.raises(InvalidInput, match="2 stakes but 1 profits"):
        evaluator.calculate_betting_metrics([1, 2], [1])
