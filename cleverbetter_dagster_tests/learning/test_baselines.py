import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.schema import METRICS
from cleverbetter_dagster.errors import LearningError
from cleverbetter_dagster.learning.baselines import BASELINES


@pytest.fixture(scope="module")
def past(partition) -> Examples:
    return pooled(partition.train, partition.validation)


def first_rows(past: Examples, roi: list[float], label: list[float]) -> Examples:
    return Examples(past.frame.iloc[: len(roi)].assign(roi=roi, label=label))


def test_the_base_rate_adds_one_of_each_outcome(past):
    model = BASELINES["base_rate"].fit(first_rows(past, [0.1] * 4, [1.0, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(model.predict_proba(past.X.iloc[:2]), [[4 / 6, 2 / 6]] * 2)


def test_persistence_has_a_rate_for_each_sign(past):
    roi, label = [0.1, 0.2, 0.3, -0.1, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0]
    model = BASELINES["persistence"].fit(first_rows(past, roi, label))
    asked = past.X.iloc[:3].assign(roi=[0.5, -0.5, 0.0])
    # Above zero 2 of 3 paid, at or below 0 of 2; with one of each added 3/5 and 1/4.
    np.testing.assert_allclose(model.predict_proba(asked)[:, 1], [3 / 5, 1 / 4, 1 / 4])


def test_shrunk_return_ranks_rows_by_that_return_alone(past, partition):
    probability = BASELINES["shrunk_return"].fit(past).predict_proba(partition.test.X)[:, 1]
    shrunk = partition.test.X["shrunk_return"].to_numpy()
    assert (np.diff(probability[np.argsort(shrunk)]) >= 0).all()
    assert roc_auc_score(partition.test.y, probability) > 0.6


def test_logistic_reads_the_six_metrics_and_nothing_else(past, partition):
    model = BASELINES["logistic"].fit(past)
    six = model.predict_proba(partition.test.X[list(METRICS)])
    np.testing.assert_array_equal(six, model.predict_proba(partition.test.X))
    with pytest.raises(LearningError, match="win_rate"):
        model.predict_proba(partition.test.X.drop(columns="win_rate"))


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_gives_probabilities_like_scikit_learn(name, past, partition):
    both = BASELINES[name].fit(past).predict_proba(partition.test.X)
    assert both.shape == (len(partition.test), 2)
    assert ((both > 0) & (both < 1)).all()
    np.testing.assert_allclose(both.sum(axis=1), 1.0)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_calibrated_on_its_own_rows(name, past):
    probability = BASELINES[name].fit(past).predict_proba(past.X)[:, 1]
    assert probability.mean() == pytest.approx(past.y.mean(), abs=0.01)
