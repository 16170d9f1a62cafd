import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from cleverbetter_dagster.learning.calibration import fit_calibrator
from cleverbetter_dagster.learning.shrunk_logistic import log_odds


def overconfident(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores whose log-odds are three times too large, outcomes, and the true probabilities."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(0.0, 1.0, n)
    truth = expit(margin)
    return expit(3.0 * margin), (rng.random(n) < truth).astype(np.int8), truth


@pytest.mark.parametrize(
    ("negatives", "positives", "method"),
    [(1000, 1000, "isotonic"), (1000, 999, "sigmoid"), (5000, 999, "sigmoid"), (999, 5000, "sigmoid")],
)
def test_isotonic_needs_a_thousand_rows_of_each_class(negatives, positives, method):
    y = np.repeat([0, 1], [negatives, positives])
    assert fit_calibrator(np.linspace(0.01, 0.99, len(y)), y).method == method


@pytest.mark.parametrize("n", [800, 6000])
def test_overconfidence_is_taken_back(n):
    score, y, _ = overconfident(n)
    calibrator = fit_calibrator(score, y)
    fresh, _, truth = overconfident(4000, seed=1)
    assert np.abs(calibrator.probability(fresh) - truth).mean() < 0.03
    assert np.abs(fresh - truth).mean() > 0.1


def test_without_rows_a_score_stands_as_it_is():
    calibrator = fit_calibrator(np.array([]), np.array([]))
    np.testing.assert_allclose(calibrator.probability(np.array([0.2, 0.7])), [0.2, 0.7])


def test_outcomes_of_one_class_move_scores_but_make_nothing_certain():
    probability = fit_calibrator(np.full(50, 0.5), np.zeros(50)).probability(np.array([0.5]))
    assert 0.0 < probability[0] < 0.2


@settings(max_examples=30, deadline=None)
@given(arrays(float, 20, elements=st.floats(0.0011, 0.9989), unique=True), st.sampled_from([300, 6000]))
def test_the_order_of_scores_is_kept_and_nothing_is_certain(scores, n):
    calibrator = fit_calibrator(*overconfident(n)[:2])
    ranked = np.sort(scores)
    probability = calibrator.probability(ranked)
    apart = np.diff(log_odds(ranked)) > 1e-9
    assert (np.diff(probability)[apart] > 0).all()
    assert ((probability > 0) & (probability < 1)).all()
