"""The law: nothing that was available at a time T may depend on anything known after T.

Each check is also run against a planted fault, to show that it would have noticed.
"""

import numpy as np
import pandas as pd
import pytest

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.learning.ensemble import base_learners
from cleverbetter_dagster.learning.ensemble import family as ensemble
from cleverbetter_dagster.learning.ensemble.family import Ensemble, predict_forward
from cleverbetter_dagster.learning.ensemble.params import EnsembleParams
from cleverbetter_dagster_tests.learning.conftest import SMALL, partition_of, small

PARAMS = SMALL["ensemble"]
AS_OF_END = pd.Timestamp("2021-04-01", tz="UTC")


def altered_after(rows: pd.DataFrame, moment: pd.Timestamp) -> pd.DataFrame:
    """The same rows with every number of those that end later replaced by noise, and all in another order."""
    rng = np.random.default_rng(99)
    altered = rows.copy()
    later = rows["end_date"] >= moment
    for column in ("roi", "sharpe_ratio", "total_bets", "ml_avg_odds", "ml_spread"):
        altered.loc[later, column] = rng.uniform(0.0, 0.9, later.sum())
    return altered.sample(frac=1.0, random_state=5)


@pytest.mark.parametrize("name", FAMILIES)
def test_later_rows_change_no_model(name, rows):
    models = []
    for variant in (rows, altered_after(rows, AS_OF_END)):
        known = partition_of(variant, AS_OF_END)
        model = FAMILIES[name].fit(known.train, known.validation, small(name), 0, 1)
        models.append((model.report(), model.predict_frame(known.test.X), model.feature_importance()))
    left, right = models
    assert left[0] == right[0]
    pd.testing.assert_frame_equal(left[1], right[1], check_exact=True)
    pd.testing.assert_series_equal(left[2], right[2], check_exact=True)


@pytest.mark.parametrize("name", BASELINES)
def test_later_rows_change_no_baseline(name, rows):
    answers = []
    for variant in (rows, altered_after(rows, AS_OF_END)):
        known = partition_of(variant, AS_OF_END)
        baseline = BASELINES[name].fit(pooled(known.train, known.validation))
        answers.append(baseline.predict_proba(known.test.X))
    np.testing.assert_array_equal(*answers)


def test_a_model_that_reads_past_its_month_is_noticed(rows):
    answers = []
    for variant in (rows, altered_after(rows, AS_OF_END)):
        everything = partition_of(variant, None)
        model = Ensemble().fit(everything.train, everything.validation, PARAMS, 0, 1)
        answers.append(model.predict_frame(partition_of(rows, AS_OF_END).test.X)["probability"].to_numpy())
    assert not np.array_equal(*answers)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_forward_predictions_depend_on_nothing_known_later(partition, share):
    train = partition.train
    moments = np.sort(train.decision_time.unique())
    moment = moments[int(share * len(moments))]
    frame = train.frame.copy()
    later_label = (frame["label_time"] > moment).to_numpy()
    later = (frame["decision_time"] > moment).to_numpy()
    frame.loc[later_label, "label"] = 1.0 - frame.loc[later_label, "label"]
    frame.loc[later, train.X.columns] = -7.0
    honest, altered = (
        predict_forward(examples, EnsembleParams(**PARAMS), 0, 1) for examples in (train, Examples(frame))
    )
    np.testing.assert_array_equal(honest[0], altered[0])
    available = (train.decision_time <= moment).to_numpy()[honest[0]]
    assert available.any()
    np.testing.assert_array_equal(honest[1][available], altered[1][available])


def test_validation_outcomes_change_only_the_calibrator(partition):
    turned = Examples(partition.validation.frame.assign(label=1.0 - partition.validation.frame["label"]))
    honest, altered = (Ensemble().fit(partition.train, part, PARAMS, 0, 1) for part in (partition.validation, turned))
    assert honest.meta == altered.meta
    assert honest.calibrator.sigmoid != altered.calibrator.sigmoid


class Recorder:
    """A base learner that notes which rows it is fitted on and which it predicts, by a numbered feature."""

    log: list[tuple[np.ndarray, np.ndarray]]

    def __init__(self, params: object, seed: int, threads: int) -> None:
        pass

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        self.seen = X[:, -1].astype(int)

    def weigh(self, X: np.ndarray, y: np.ndarray) -> None:
        pass

    def probability(self, X: np.ndarray) -> np.ndarray:
        Recorder.log.append((self.seen, X[:, -1].astype(int)))
        return np.full(len(X), 0.5)

    def importance(self) -> None:
        return None


def numbered(examples: Examples, first: int) -> Examples:
    return Examples(examples.frame.assign(ml_zz_row=np.arange(first, first + len(examples), dtype=float)))


def predictions_that_saw_too_much(partition, monkeypatch) -> list[str]:
    """Predictions made while fitting, by a learner that knew labels not yet known when a row was decided."""
    train = numbered(partition.train, 0)
    validation = numbered(partition.validation, len(train))
    times = pooled(train, validation).frame.set_index("ml_zz_row")
    Recorder.log = []
    monkeypatch.setattr(base_learners, "BASE_LEARNERS", {"recorder": Recorder})
    model = Ensemble().fit(train, validation, PARAMS, 0, 1)
    assert len(Recorder.log) == PARAMS["n_folds"] + 1
    assert len(model.learners["recorder"].seen) == len(times)
    return [
        f"{len(seen)} rows, predicts {len(asked)}"
        for seen, asked in Recorder.log
        if times.loc[seen, "label_time"].max() > times.loc[asked, "decision_time"].min()
    ]


def in_fold(decision_time: pd.Series, label_time: pd.Series, n_folds: int) -> list:
    """The fault: learners predict the very rows they were fitted on."""
    return [(part, part) for part in np.array_split(np.arange(len(decision_time)), n_folds)]


def test_no_learner_predicts_rows_before_its_labels(partition, monkeypatch):
    assert predictions_that_saw_too_much(partition, monkeypatch) == []


def test_in_fold_predictions_are_noticed(partition, monkeypatch):
    monkeypatch.setattr(ensemble, "temporal_folds", in_fold)
    assert len(predictions_that_saw_too_much(partition, monkeypatch)) == PARAMS["n_folds"]


class Memory(Recorder):
    """A base learner that knows the rows it was fitted on by heart and nothing else."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        self.answers = dict(zip(X[:, -1].astype(int), y, strict=True))

    def probability(self, X: np.ndarray) -> np.ndarray:
        return np.array([self.answers.get(row, 0.5) for row in X[:, -1].astype(int)], dtype=float)


def weight_of_memory(partition, monkeypatch) -> float:
    train = numbered(partition.train, 0)
    validation = numbered(partition.validation, len(train))
    monkeypatch.setattr(base_learners, "BASE_LEARNERS", {"memory": Memory})
    alone = PARAMS | {"meta_penalty": 0.1, "edges_weight": 0.0}
    return Ensemble().fit(train, validation, alone, 0, 1).meta.weights[0]


def test_the_meta_learner_does_not_reward_memory(partition, monkeypatch):
    assert weight_of_memory(partition, monkeypatch) == pytest.approx(1.0)


def test_a_meta_learner_that_rewards_memory_is_noticed(partition, monkeypatch):
    monkeypatch.setattr(ensemble, "temporal_folds", in_fold)
    assert weight_of_memory(partition, monkeypatch) > 1.2


def test_the_calibrator_sees_exactly_the_validation_rows(partition, monkeypatch):
    seen = []
    calibrate, meta_fit = ensemble.fit_calibrator, ensemble.ShrunkLogistic.fit

    def spy_calibrator(score, y):
        seen.append(("calibrator", y.copy()))
        return calibrate(score, y)

    def spy_meta(z, y, guess, penalty):
        seen.append(("meta", y.copy()))
        return meta_fit(z, y, guess, penalty)

    monkeypatch.setattr(ensemble, "fit_calibrator", spy_calibrator)
    monkeypatch.setattr(ensemble.ShrunkLogistic, "fit", spy_meta)
    Ensemble().fit(partition.train, partition.validation, PARAMS, 0, 1)
    labels = dict(seen[:2])
    expected = predict_forward(partition.train, EnsembleParams(**PARAMS), 0, 1)[0]
    np.testing.assert_array_equal(labels["meta"], partition.train.y[expected])
    np.testing.assert_array_equal(labels["calibrator"], partition.validation.y)
    assert partition.train.label_time.max() <= partition.validation.decision_time.min()
