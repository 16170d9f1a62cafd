import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cleverbetter_dagster.learning.shrunk_logistic import ShrunkLogistic, log_odds


def planted(weights: list[float], n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    z = rng.normal(size=(n, len(weights)))
    return z, (rng.random(n) < expit(z @ np.array(weights) - 0.5)).astype(np.int8)


def test_without_a_penalty_it_is_plain_logistic_regression():
    z, y = planted([0.8, 0.3])
    ours = ShrunkLogistic.fit(z, y, guess=[0.0, 0.0], penalty=0.0)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(z, y)
    assert ours.weights == pytest.approx(theirs.coef_[0], abs=2e-3)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=2e-3)


def test_a_harmful_column_gets_no_weight():
    z, y = planted([0.8, -0.6])
    assert ShrunkLogistic.fit(z, y, guess=[0.5, 0.5], penalty=1.0).weights[1] == 0.0


def test_a_strong_penalty_leaves_the_guess():
    z, y = planted([0.8, 0.3])
    assert ShrunkLogistic.fit(z, y, guess=[0.1, 0.9], penalty=1e9).weights == pytest.approx((0.1, 0.9), abs=1e-5)


def test_without_rows_the_guess_stands():
    model = ShrunkLogistic.fit(np.empty((0, 2)), np.empty(0), guess=[0.25, 0.75], penalty=1.0)
    assert (model.weights, model.intercept) == ((0.25, 0.75), 0.0)


def test_a_row_worked_by_hand():
    model = ShrunkLogistic((0.5, 2.0), intercept=-1.0, precision=np.eye(3))
    assert model.margin(np.array([[2.0, 1.0]])).tolist() == [2.0]
    assert model.probability(np.array([[2.0, 0.0]])).tolist() == [0.5]


def test_log_odds_undo_expit_and_stay_finite():
    margins = np.array([-3.0, 0.0, 5.0])
    np.testing.assert_allclose(log_odds(expit(margins)), margins)
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
