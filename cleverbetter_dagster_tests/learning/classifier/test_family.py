"""What the classifier promises beyond the contract of every family."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.errors import NotEnoughRows
from cleverbetter_dagster.learning.classifier import family
from cleverbetter_dagster.learning.classifier.family import Classifier, FittedClassifier
from cleverbetter_dagster.learning.classifier.params import NetworkParams
from cleverbetter_dagster_tests.learning.conftest import SMALL

PARAMS = SMALL["classifier"]

OTHER = {
    "heads": 3,
    "width": 9,
    "depth": 2,
    "bins": 3,
    "dropout": 0.5,
    "learning_rate": 0.005,
    "weight_decay": 1.0,
    "calibration_weight": 5.0,
    "balance": 0.1,
    "batch_rows": 40,
    "max_epochs": 1,
}


def fitted(partition, seed: int = 0, **params) -> FittedClassifier:
    return Classifier().fit(partition.train, partition.validation, PARAMS | params, seed, 1)


@pytest.fixture(scope="module")
def model(partition) -> FittedClassifier:
    return fitted(partition)


def auc(model: FittedClassifier, examples: Examples) -> float:
    return roc_auc_score(examples.y, model.predict_proba(examples.X)[:, 1])


# When to stop and when to slow down are tested on scripted losses in test_network.py.
@pytest.mark.parametrize("field", [f for f in NetworkParams.model_fields if f not in ("patience", "plateau")])
def test_every_parameter_changes_the_model(field, partition, model):
    other = fitted(partition, **{field: OTHER[field]})
    assert not other.predict_frame(partition.test.X).equals(model.predict_frame(partition.test.X))


def test_another_seed_gives_another_model(partition, model):
    other = fitted(partition, seed=1)
    assert not other.predict_frame(partition.test.X).equals(model.predict_frame(partition.test.X))


def test_steps_see_exactly_the_rows_the_modules_table_says(partition, monkeypatch):
    seen = {}

    def spy(name, original):
        def wrapped(*args, **kwargs):
            seen.setdefault(name, []).append(args)
            return original(*args, **kwargs)

        return wrapped

    for name in ("train_early_stopping", "train_by_schedule", "fit_calibrator"):
        monkeypatch.setattr(family, name, spy(name, getattr(family, name)))
    monkeypatch.setattr(family.InputEncoder, "fit", spy("encoder", family.InputEncoder.fit))
    fitted(partition)
    train, validation = partition.train, partition.validation
    [(stopping, calibration)] = temporal_folds(validation.decision_time, validation.label_time, 1)

    [(rows, stopping_rows, *_)] = seen["train_early_stopping"]
    np.testing.assert_array_equal(rows.y, train.y)
    np.testing.assert_array_equal(stopping_rows.y, validation.y[stopping])
    [(_, calibrated)] = seen["fit_calibrator"]
    np.testing.assert_array_equal(calibrated, validation.y[calibration])
    assert validation.label_time.iloc[stopping].max() <= validation.decision_time.iloc[calibration].min()
    everything = np.concatenate([train.y, validation.y])
    [(rows, *_)] = seen["train_by_schedule"]
    np.testing.assert_array_equal(rows.y, everything)
    assert [len(values) for values, _ in seen["encoder"]] == [len(train), len(everything)]


def test_calibration_outcomes_change_the_calibrator_but_not_when_training_stops(partition, model):
    validation = partition.validation
    [(_, calibration)] = temporal_folds(validation.decision_time, validation.label_time, 1)
    frame = validation.frame.reset_index(drop=True)
    frame.loc[calibration, "label"] = 1.0 - frame.loc[calibration, "label"]
    turned = fitted(replace(partition, validation=Examples(frame)))
    assert turned.report()["stopping_log_loss"] == model.report()["stopping_log_loss"]
    assert turned.report()["best_epoch"] == model.report()["best_epoch"]
    assert turned.calibrator.sigmoid != model.calibrator.sigmoid


def test_a_validation_part_of_one_moment_cannot_be_halved(partition):
    validation = partition.validation
    first = np.flatnonzero(validation.decision_time == validation.decision_time.min())
    with pytest.raises(NotEnoughRows, match="distinct decision times"):
        fitted(replace(partition, validation=validation.take(first)))


def test_the_report_has_the_stopping_epoch_and_the_calibration(model):
    report = model.report()
    assert 0 < report["best_epoch"] <= report["epochs"] <= PARAMS["max_epochs"]
    assert report["calibration_method"] == "sigmoid"
    assert report["stopping_rows"] > 0 and report["calibration_rows"] > 0


def test_confidence_falls_where_the_heads_disagree(partition, model):
    answer = model.predict_frame(partition.test.X)
    opinions = model.network.head_probabilities(model.encoder.encode(partition.test.X.to_numpy()))
    assert opinions.shape == (len(partition.test), PARAMS["heads"])
    np.testing.assert_allclose(answer["score"], opinions.mean(axis=1))
    np.testing.assert_allclose(answer["confidence"], 1 - 2 * opinions.std(axis=1))
    assert opinions.std(axis=1).min() > 0


def test_noise_gives_the_share_of_positives(partition):
    noise = np.random.default_rng(0)
    parts = {}
    for name in ("train", "validation"):
        frame = getattr(partition, name).frame
        parts[name] = Examples(frame.assign(label=noise.integers(0, 2, len(frame)).astype(float)))
    model = fitted(replace(partition, **parts), learning_rate=0.1, patience=2)
    assert model.report()["best_epoch"] == 0
    everything = np.concatenate([parts["train"].y, parts["validation"].y])
    np.testing.assert_allclose(model.predict_frame(partition.test.X)["score"], everything.mean(), atol=1e-4)
    np.testing.assert_allclose(model.feature_importance(), 1 / len(model.feature_names))


IN_A_FRESH_PROCESS = """
import pickle, sys, cleverbetter_dagster.learning.catalogue
model, X = pickle.load(open(sys.argv[1], "rb"))
pickle.dump(model.predict_frame(X), open(sys.argv[2], "wb"))
print("torch" in sys.modules)
"""


def test_a_fresh_process_scores_the_same_bits_without_torch(partition, model, tmp_path):
    stored, answered = tmp_path / "model.pkl", tmp_path / "answer.pkl"
    stored.write_bytes(pickle.dumps((model, partition.test.X)))
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(stored), str(answered)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    answer = pickle.loads(answered.read_bytes())
    pd.testing.assert_frame_equal(answer, model.predict_frame(partition.test.X), check_exact=True)


def test_torchs_global_state_is_left_as_it_was(partition):
    import torch

    torch.manual_seed(5)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        numbers = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is watched
        fitted(partition)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
        np.testing.assert_array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002
    finally:
        torch.set_num_threads(threads)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_row_has_the_same_bits_beside_any_rows(model, partition, rows, seed):
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(partition.test), rows)
    X = partition.test.X.iloc[chosen].reset_index(drop=True)
    whole = model.predict_frame(partition.test.X).iloc[chosen].reset_index(drop=True)
    pd.testing.assert_frame_equal(model.predict_frame(X), whole, check_exact=True)


def later_and_earlier(partition) -> tuple[FittedClassifier, Examples]:
    """A model of the earlier rows, and rows it has not seen, whose market features have moved."""
    new = partition.test
    return fitted(partition), Examples(new.frame.assign(ml_avg_odds=new.frame["ml_avg_odds"] + 3.0))


def test_an_update_learns_new_rows_and_keeps_the_old(partition):
    model, new = later_and_earlier(partition)
    tuned = Classifier().update(model, new, nothing(partition), seed=0, threads=1)
    for old in (partition.train, partition.validation):
        assert auc(tuned, old) >= auc(model, old) - 0.01
    assert auc(tuned, new) > auc(model, new)
    assert tuned.encoder is model.encoder


def test_an_update_rehearses_remembered_rows_beside_all_new_ones(partition, model, monkeypatch):
    seen = []
    monkeypatch.setattr(family, "fine_tuned_network", lambda network, rows, *_: seen.append(rows) or network)
    new, past = partition.test, pooled(partition.train, partition.validation)
    Classifier().update(model, new, nothing(partition), 0, 1)
    monkeypatch.setattr(family, "REPLAY_ROWS", 100)
    Classifier().update(model, new, past, 0, 1)
    assert [len(rows) for rows in seen] == [len(new) + len(model.memory), len(new) + 100]
    for rows in seen:
        np.testing.assert_array_equal(rows.y[: len(new)], new.y)


def test_an_updated_model_remembers_new_and_past_rows(partition, monkeypatch):
    monkeypatch.setattr(family, "REPLAY_ROWS", 300)
    model, past = fitted(partition), pooled(partition.train, partition.validation)
    assert len(model.memory) == 300 < len(past)
    updated = Classifier().update(model, partition.test, past, 0, 1)
    numbers = {tuple(row) for row in updated.memory.values}
    share = len(numbers & {tuple(row) for row in partition.test.X.to_numpy()}) / 300
    # Drawn evenly: new rows are remembered by their share of all rows.
    assert share == pytest.approx(len(partition.test) / (len(partition.test) + len(past)), abs=0.1)
    assert len(updated.memory) == 300


def nothing(partition) -> Examples:
    return partition.test.take(np.array([], dtype=int))
