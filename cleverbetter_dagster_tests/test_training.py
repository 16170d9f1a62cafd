"""The pipeline finds its rows again by their index, and refuses what it cannot find; no database here."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from cleverbetter_dagster.dataset.splits import temporal_folds
from cleverbetter_dagster.errors import InvalidInput, LearningError, NotEnoughRows, UnknownFamily
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.model_registry import ModelRegistry
from cleverbetter_dagster.services.notebook.example_frames import examples_of, frames_of
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.training import TrainingConfig, TrainingPipeline
from cleverbetter_dagster_tests.services.conftest import dataset, rows

__all__ = ["dataset", "rows"]

Frames = tuple[Any, ...]


@pytest.fixture(scope="module")
def pipeline(rows: pd.DataFrame) -> TrainingPipeline:
    pipeline = TrainingPipeline(TrainingConfig(min_composite_score=None))
    pipeline.preprocess_data(rows)
    return pipeline


@pytest.fixture(scope="module")
def frames(pipeline: TrainingPipeline, rows: pd.DataFrame) -> Frames:
    return pipeline.preprocess_data(rows)


def train(pipeline: TrainingPipeline, frames: Frames, **changed: Any) -> Any:
    names = ("X_train", "X_val", "X_test", "y_train", "y_val", "y_test")
    given = dict(zip(names, frames, strict=True)) | changed
    del given["X_test"], given["y_test"]
    return asyncio.run(pipeline.train_model(**given))


def test_frames_and_examples_are_each_others_inverse(dataset: Any) -> None:
    part = dataset.parts.validation
    X, y = frames_of(part)
    pd.testing.assert_frame_equal(examples_of(dataset.panel, X, y, "X").frame, part.frame)


def test_shuffled_frames_keep_their_times_and_folds(dataset: Any) -> None:
    X, y = frames_of(dataset.parts.train)
    order = np.random.default_rng(5).permutation(len(X))
    examples = examples_of(dataset.panel, X.iloc[order], y.iloc[order], "X")
    pd.testing.assert_frame_equal(examples.frame, dataset.parts.train.frame)
    folds = temporal_folds(examples.decision_time, examples.label_time, 3)
    assert all(examples.label_time.iloc[fit].max() <= examples.decision_time.iloc[score].min() for fit, score in folds)


def test_values_and_labels_are_those_given(dataset: Any) -> None:
    X, y = frames_of(dataset.parts.train)
    examples = examples_of(dataset.panel, X.assign(win_rate=0.5), 1 - y, "X")
    assert (examples.X["win_rate"] == 0.5).all()
    assert np.array_equal(examples.y, 1 - y)


def test_a_market_feature_may_be_left_out(dataset: Any) -> None:
    X, y = frames_of(dataset.parts.train)
    dropped = next(column for column in X.columns if column.startswith("ml_"))
    assert dropped not in examples_of(dataset.panel, X.drop(columns=dropped), y, "X").X.columns


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X.reset_index(drop=True), y.reset_index(drop=True)), "never preprocessed"),
        (lambda X, y: (X.to_numpy(), y), "DataFrame is needed"),
        (lambda X, y: (X, y[::-1]), "index differs"),
        (lambda X, y: (X, y[:-1].to_numpy()), "one label a row"),
        (lambda X, y: (X, y + 1), "must be 0 or 1"),
        (lambda X, y: (X.drop(columns="win_rate"), y), "lacks win_rate"),
        (lambda X, y: (X.assign(moon_phase=0.5), y), "moon_phase"),
        (lambda X, y: (pd.concat([X, X[:1]]), pd.concat([y, y[:1]])), "more than once"),
        (lambda X, y: (X.rename(index={X.index[0]: "r999999"}), y.rename(index={y.index[0]: "r999999"})), "'r999999'"),
    ],
)
def test_frames_that_cannot_be_found_again_are_refused(dataset: Any, change: Any, message: str) -> None:
    X, y = change(*frames_of(dataset.parts.train))
    with pytest.raises(InvalidInput, match=message):
        examples_of(dataset.panel, X, y, "X_train")


def test_a_row_without_an_outcome_cannot_be_learned_from(dataset: Any) -> None:
    open_rows = dataset.panel[dataset.panel["label"].isna()]
    X, y = frames_of(dataset.parts.train)
    newest = X.iloc[:1].set_axis(pd.Index(open_rows["id"].iloc[:1]))
    with pytest.raises(InvalidInput, match="no outcome yet"):
        examples_of(dataset.panel, newest, y.iloc[:1].to_numpy(), "X_new")


def test_nothing_can_be_trained_before_preprocessing(frames: Frames) -> None:
    with pytest.raises(InvalidInput, match="preprocess_data"):
        train(TrainingPipeline(), frames)


def test_an_unknown_family_is_named(pipeline: TrainingPipeline, frames: Frames) -> None:
    with pytest.raises(UnknownFamily, match="'oracle'"):
        train(pipeline, frames, model_type="oracle")


def test_train_after_validation_is_refused(pipeline: TrainingPipeline, frames: Frames) -> None:
    X_train, X_val, _, y_train, y_val, _ = frames
    with pytest.raises(LearningError, match="after validation began"):
        train(pipeline, frames, X_train=X_val, y_train=y_val, X_val=X_train, y_val=y_train)


@pytest.mark.parametrize("n_trials", [0, -3])
def test_a_search_takes_a_trial(pipeline: TrainingPipeline, frames: Frames, n_trials: int) -> None:
    X_train, X_val, _, y_train, y_val, _ = frames
    with pytest.raises(InvalidInput, match="at least 1"):
        asyncio.run(pipeline.hyperparameter_search(X_train, y_train, X_val, y_val, n_trials=n_trials))


@pytest.mark.parametrize(
    ("family", "n_trials", "asked"),
    [
        ("ensemble", None, ("auc", 100, 100)),
        ("rl_agent", None, ("growth", 20, 20)),
        ("rl_agent", 3, ("growth", 3, 3)),
    ],
)
def test_a_search_goes_by_what_the_family_is_judged_by(
    pipeline: TrainingPipeline,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    n_trials: int | None,
    asked: tuple[str, int, int],
) -> None:
    specs: list[StudySpec] = []

    def judge(_settings: Settings, name: str, _dataset: Dataset, spec: StudySpec) -> SimpleNamespace:
        assert name == family
        specs.append(spec)
        return SimpleNamespace(record=SimpleNamespace(params={}))

    monkeypatch.setattr("cleverbetter_dagster.training.tune", judge)
    X_train, X_val, _, y_train, y_val, _ = frames
    asyncio.run(pipeline.hyperparameter_search(X_train, y_train, X_val, y_val, family, n_trials))
    (spec,) = specs
    assert (spec.metric, spec.n_trials, spec.n_trials_warm) == asked
    assert spec.timeout_seconds is None


def test_too_few_rows_are_refused_as_the_graph_does(rows: pd.DataFrame) -> None:
    with pytest.raises(NotEnoughRows, match="1000000 needed"):
        TrainingPipeline(TrainingConfig(min_examples=1_000_000)).preprocess_data(rows)
    with pytest.raises(NotEnoughRows, match="0 rows"):
        TrainingPipeline().preprocess_data(rows[:0])


def test_the_month_to_stand_at_bounds_what_is_known(rows: pd.DataFrame) -> None:
    config = TrainingConfig(min_composite_score=None, as_of="2022-12", min_examples=100)
    X_train, X_val, X_test, *_ = TrainingPipeline(config).preprocess_data(rows)
    ends = rows.set_index("id")["end_date"]
    assert max(ends[part.index].max() for part in (X_train, X_val, X_test)) < pd.Timestamp("2023-01-01", tz="UTC")


def test_changed_rows_have_a_hash_of_their_own(pipeline: TrainingPipeline, frames: Frames) -> None:
    X_train, X_val, _, y_train, y_val, _ = frames
    same = pipeline._with_parts(X_train, y_train, X_val, y_val).record.data_hash
    less = pipeline._with_parts(X_train.iloc[5:], y_train.iloc[5:], X_val, y_val).record.data_hash
    other = pipeline._with_parts(X_train.assign(roi=0.0), y_train, X_val, y_val).record.data_hash
    assert len({same, less, other}) == 3


def test_only_pipeline_models_known_families_and_stages_register(pipeline: TrainingPipeline, frames: Frames) -> None:
    with pytest.raises(InvalidInput, match="train_model"):
        ModelRegistry().register_model(object(), "ensemble", "sklearn", {})  # type: ignore[arg-type]
    model = train(pipeline, frames, params={"n_estimators": 5, "forest_trees": 5})
    with pytest.raises(UnknownFamily, match="ensemble"):
        ModelRegistry().register_model(model, "essemble", "sklearn", {})
    with pytest.raises(InvalidInput, match="None, Staging, Production, Archived"):
        ModelRegistry().promote_model("ensemble", 1, stage="Live")


def test_the_configuration_is_checked_and_hides_the_password() -> None:
    config = TrainingConfig(database_url="postgresql://ann:Tr0ub4dor@db/racing")  # type: ignore[arg-type]
    assert "Tr0ub4dor" not in repr(config)
    assert config.settings().database_url == config.database_url
    with pytest.raises(ValidationError):
        TrainingConfig(min_composit_score=0.5)  # type: ignore[call-arg]
