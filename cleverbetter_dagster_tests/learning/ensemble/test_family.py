import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.learning.calibration import fit_calibrator
from cleverbetter_dagster.learning.ensemble.family import Ensemble, FittedEnsemble, predict_forward
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster.learning.shrunk_logistic import ShrunkLogistic
from cleverbetter_dagster_tests.learning.conftest import SMALL

PARAMS = SMALL["ensemble"]

OTHER = {
    "n_estimators": 30,
    "learning_rate": 0.05,
    "max_depth": 1,
    "min_leaf_rows": 60,
    "l2": 90.0,
    "feature_fraction": 0.3,
    "forest_trees": 11,
    "forest_leaf_rows": 7,
    "forest_sample": 0.8,
    "logistic_c": 0.5,
    "n_folds": 4,
    "meta_penalty": 0.5,
    "edges_weight": 0.7,
    "edges_penalty": 900.0,
}


@pytest.fixture(scope="module")
def usual(partition) -> pd.DataFrame:
    model = Ensemble().fit(partition.train, partition.validation, PARAMS, 0, 1)
    return model.predict_frame(partition.test.X)


class Reader:
    """A base learner whose probability is one of the features."""

    def __init__(self, column: int) -> None:
        self.column = column

    def probability(self, X: np.ndarray) -> np.ndarray:
        return X[:, self.column]

    def importance(self) -> np.ndarray:
        return np.eye(2)[self.column] * 8.0


def two_readers(weights: tuple[float, float]) -> FittedEnsemble:
    calibrator = fit_calibrator(np.array([]), np.array([]))
    learners = {"left": Reader(0), "right": Reader(1)}
    meta = ShrunkLogistic(weights, 0.0, np.eye(3))
    return FittedEnsemble(("a", "b"), learners, meta, calibrator, 0, pd.Timestamp(0, tz="UTC"))


def test_score_blends_log_odds_and_confidence_falls_with_the_spread():
    answer = two_readers((0.5, 0.5)).predict_frame(pd.DataFrame({"a": [0.8, 0.9, 0.999], "b": [0.8, 0.1, 0.001]}))
    # Opposite log-odds cancel; deviations from the mean are 0, 0.4 and 0.499, of at most 0.5.
    np.testing.assert_allclose(answer["score"], [0.8, 0.5, 0.5])
    np.testing.assert_allclose(answer["probability"], [0.8, 0.5, 0.5])
    np.testing.assert_allclose(answer["confidence"], [1.0, 0.2, 0.002])


def test_importance_counts_learners_by_their_weight():
    assert two_readers((0.3, 0.1)).feature_importance().to_dict() == pytest.approx({"a": 0.75, "b": 0.25})
    assert two_readers((0.0, 0.0)).feature_importance().to_dict() == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("field", EnsembleParams.model_fields)
def test_every_parameter_changes_the_model(field, partition, usual):
    model = Ensemble().fit(partition.train, partition.validation, PARAMS | {field: OTHER[field]}, 0, 1)
    assert not model.predict_frame(partition.test.X).equals(usual)


def test_another_seed_gives_another_model(partition, usual):
    model = Ensemble().fit(partition.train, partition.validation, PARAMS, 1, 1)
    assert not model.predict_frame(partition.test.X).equals(usual)


def test_folds_are_fewer_where_time_has_fewer_moments(partition):
    moments = partition.train.decision_time.drop_duplicates()
    short = partition.train.take(np.flatnonzero(partition.train.decision_time <= moments.iloc[2]))
    predicted, _ = predict_forward(short, EnsembleParams(**PARAMS | {"n_folds": 9}), 0, 1)
    later = np.flatnonzero(short.decision_time >= moments.iloc[1])
    np.testing.assert_array_equal(predicted, later)
