import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from cleverbetter_dagster.evaluation.metrics.classification import brier_terms, classification_metrics, log_loss_terms


def test_four_rows_worked_by_hand():
    result = classification_metrics([1, 0, 1, 0], [0.9, 0.6, 0.4, 0.1])

    assert result.n_rows == 4
    assert result.base_rate == 0.5
    # Predicted 1, 1, 0, 0: one of two found, one of two right.
    assert (result.accuracy, result.precision, result.recall, result.f1) == (0.5, 0.5, 0.5, 0.5)
    # Of the four pairs only (0.4, 0.6) is in the wrong order.
    assert result.roc_auc == 0.75
    # Ranked 1, 0, 1, 0: precision 1 at the first half of the recall, 2/3 at the second.
    assert result.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert result.brier == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert result.log_loss == pytest.approx(-(2 * math.log(0.9) + 2 * math.log(0.4)) / 4)
    assert result.calibration_error is None  # four bins of one row each
    assert classification_metrics([1, 1], [0.5, 0.5]).calibration_error == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_ranking_and_does_not_crash(label):
    result = classification_metrics([label] * 3, [0.2, 0.5, 0.7])

    assert result.roc_auc is None
    assert result.average_precision is None
    assert 0 <= result.brier <= 1


def test_a_given_prediction_counts_instead_of_the_half():
    result = classification_metrics([1, 0], [0.2, 0.1], prediction=[1, 0])

    assert (result.accuracy, result.recall) == (1, 1)
    assert classification_metrics([1, 0], [0.2, 0.1]).recall == 0


def test_a_certain_mistake_costs_much_but_not_infinity():
    assert log_loss_terms([1], [0.0])[0] == pytest.approx(-math.log(1e-15))
    assert log_loss_terms([0], [1.0])[0] == pytest.approx(-math.log(1e-15), rel=1e-2)
    assert log_loss_terms([0], [0.0])[0] == pytest.approx(0)
    assert brier_terms([1, 0], [0.0, 0.0]).tolist() == [1, 0]


@given(st.lists(st.tuples(st.booleans(), st.floats(0.001, 0.999)), min_size=2, max_size=50))
def test_terms_agree_with_scikit_learn(rows):
    y, p = (np.array(values, dtype=float) for values in zip(*rows, strict=True))

    assert brier_terms(y, p).mean() == pytest.approx(metrics.brier_score_loss(y, p, pos_label=1))
    assert log_loss_terms(y, p).mean() == pytest.approx(metrics.log_loss(y, p, labels=[0, 1]))
