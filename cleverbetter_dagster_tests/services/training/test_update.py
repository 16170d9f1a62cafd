"""From one registered version to the next: what counts as new, what is refused, and what is written down."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.examples import pooled
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import LearningError, ModelNotFound, ModelTampered
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.services.evaluation.evaluate import evaluate
from cleverbetter_dagster.services.records import ModelRecord, StudyRecord
from cleverbetter_dagster.services.training.datasets import Dataset, plan_split
from cleverbetter_dagster.services.training.fit import train
from cleverbetter_dagster.services.training.update import new_to_parent, parent_of, update
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.places import artefact_folder
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.learning.conftest import SMALL
from cleverbetter_dagster_tests.support.new_database import new_database

FAMILY = "ensemble"
EARLY, NEXT, LAST = "2023-01", "2023-03", "2023-06"
SPEC = DatasetSpec(min_composite_score=None)


def as_of(rows: pd.DataFrame, month: str, spec: DatasetSpec = SPEC) -> Dataset:
    return plan_split(rows, AsOf.parse(month), spec)


def study(month: str) -> StudyRecord:
    params = {**SMALL[FAMILY], "max_depth": 2}
    return StudyRecord(family=FAMILY, as_of=month, params=params, mean_auc=0.7, default_auc=0.7, trials=7, seed=4)


def pool(dataset: Dataset) -> pd.DataFrame:
    return pooled(dataset.parts.train, dataset.parts.validation).frame


@pytest.fixture(scope="module")
def settings(
    postgres: ServerAddress, tmp_path_factory: pytest.TempPathFactory, with_timescaledb: bool
) -> Iterator[Settings]:
    """A database and a home of this module's own."""
    with new_database(postgres, "incremental", timescaledb=with_timescaledb) as url:
        yield Settings(home=tmp_path_factory.mktemp("incremental"), database_url=SecretStr(url), threads=1)


@pytest.fixture(scope="module")
def parent(settings: Settings, rows: pd.DataFrame) -> ModelRecord:
    """Version 1, fitted as of `EARLY`."""
    record, _ = train(settings, as_of(rows, EARLY), study(EARLY))
    assert Registry(settings).register(record.run_id, FAMILY) == 1
    return record


@pytest.fixture
def alone(settings: Settings, parent: ModelRecord) -> Iterator[ModelRecord]:
    """The parent, and no version a test registers outlives it."""
    yield parent
    for version in Registry(settings).list_versions(FAMILY):
        if version.version > 1:
            mlflow_client(settings).delete_model_version(FAMILY, str(version.version))


def test_new_rows_are_unlearned_and_no_test_rows(settings: Settings, alone: ModelRecord, rows: pd.DataFrame) -> None:
    before, now = as_of(rows, EARLY), as_of(rows, LAST)
    examples = new_to_parent(parent_of(settings, FAMILY, now), now)
    expected = set(pool(now)["id"]) - set(pool(before)["id"])
    assert set(examples.new.ids) == expected
    assert set(examples.past.ids) == set(pool(now)["id"]) - expected
    assert examples.lost == len(set(pool(before)["id"]) - set(pool(now)["id"]))
    assert expected and not expected & set(now.parts.test.ids)


def test_rows_labelled_since_are_new(settings: Settings, alone: ModelRecord, rows: pd.DataFrame) -> None:
    """Some of the new rows were there at the parent's time: only their labels, or the border, came later."""
    now, end = as_of(rows, LAST), AsOf.parse(EARLY).end
    examples = new_to_parent(parent_of(settings, FAMILY, now), now)
    assert (examples.new.decision_time < end).any()


def test_record_and_registry_hold_the_update_info(settings: Settings, alone: ModelRecord, rows: pd.DataFrame) -> None:
    now = as_of(rows, LAST)
    record, model = update(settings, FAMILY, now)
    added = set(pool(now)["id"]) - set(pool(as_of(rows, EARLY))["id"])
    assert (record.training, record.parent_version, record.rows_added) == ("incremental", 1, len(added))
    assert record.fitted_rows == alone.fitted_rows + len(added)
    assert record.watermark == model.known_until == pool(now)["label_time"].max()
    assert (record.params, record.seed, record.trials) == (alone.params, 4, 7)
    version = Registry(settings).get_version(FAMILY, Registry(settings).register(record.run_id, FAMILY))
    tags = {"training": "incremental", "parent_version": "1", "rows_added": str(len(added))}
    assert tags.items() <= version.tags.items()
    assert version.tags["watermark"] == model.known_until.isoformat()
    assert version.as_of == LAST
    full = Registry(settings).get_version(FAMILY, 1).tags
    assert (full["training"], full["rows_added"]) == ("full", str(alone.fitted_rows))
    assert "parent_version" not in full


def test_the_stored_model_is_the_parents_after_the_new_rows(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    now = as_of(rows, LAST)
    record, _ = update(settings, FAMILY, now)
    stored, first = (load_model(settings, uri) for uri in (record.model_uri, alone.model_uri))
    examples = new_to_parent(parent_of(settings, FAMILY, now), now)
    expected = get_family(FAMILY).update(first.fitted, examples.new, examples.past, 4, 1)
    X = now.parts.test.X
    pd.testing.assert_frame_equal(stored.fitted.predict_frame(X), expected.predict_frame(X), check_exact=True)
    assert not stored.fitted.predict_frame(X).equals(first.fitted.predict_frame(X))


def test_a_chain_of_updates_has_learned_every_row_once(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    versions = [1]
    for month in (NEXT, LAST):
        record, _ = update(settings, FAMILY, as_of(rows, month))
        assert record.parent_version == versions[-1]
        versions.append(Registry(settings).register(record.run_id, FAMILY))
    learned = load_model(settings, record.model_uri).provenance.learned.fingerprints
    assert len(np.unique(learned)) == len(learned) == record.fitted_rows
    assert not new_to_parent(parent_of(settings, FAMILY, as_of(rows, LAST)), as_of(rows, LAST)).new.frame.size


def test_a_later_version_is_no_parent_of_an_earlier_month(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    record, _ = update(settings, FAMILY, as_of(rows, LAST))
    Registry(settings).register(record.run_id, FAMILY)
    assert parent_of(settings, FAMILY, as_of(rows, NEXT)).version.version == 1
    with pytest.raises(ModelNotFound, match=r"No version of 'ensemble' as of 2022-12 or earlier.*Train in full"):
        parent_of(settings, FAMILY, as_of(rows, "2022-12"))


def test_a_model_of_another_family_is_passed_over(settings: Settings, alone: ModelRecord, rows: pd.DataFrame) -> None:
    record, _ = update(settings, FAMILY, as_of(rows, NEXT))
    Registry(settings).register(record.run_id, FAMILY, {"family": "rl_agent"})
    assert parent_of(settings, FAMILY, as_of(rows, NEXT)).version.version == 1


def test_without_new_rows_the_parent_stays_untouched(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    same = as_of(rows, EARLY)
    later = replace(same, record=same.record.model_copy(update={"as_of": NEXT}))
    record, _ = update(settings, FAMILY, later)
    assert record.reuses_parent
    assert (record.run_id, record.sha256, record.as_of) == (alone.run_id, alone.sha256, NEXT)
    before = mlflow_client(settings).get_run(alone.run_id).data
    judged = evaluate(settings, record, later, StakingSpec(), IntervalSpec())
    after = mlflow_client(settings).get_run(alone.run_id).data
    assert (judged.model.version, judged.model.as_of) == (1, NEXT)
    assert after.metrics == before.metrics
    assert [(found.version, found.as_of) for found in Registry(settings).list_versions(FAMILY)] == [(1, EARLY)]


def test_rows_that_land_late_and_rows_corrected_upstream_are_new(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    first = pool(as_of(rows, EARLY))["id"].iloc[50]
    corrected = rows.copy()
    corrected.loc[corrected["id"] == first, "win_rate"] = 0.123
    examples = new_to_parent(parent_of(settings, FAMILY, as_of(corrected, EARLY)), as_of(corrected, EARLY))
    assert examples.new.ids.tolist() == [first]
    assert examples.lost == 1


def test_examples_chosen_otherwise_are_refused_by_name(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    other = as_of(rows, LAST, DatasetSpec(min_composite_score=None, train_fraction=0.5))
    with pytest.raises(
        LearningError, match=r"v1 \(as of 2023-01\).*train_fraction 0.6 there, 0.5 here\. Train in full"
    ):
        update(settings, FAMILY, other)


def test_a_parent_that_knows_the_test_rows_is_refused(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    now = as_of(rows, LAST)
    knowing = parent_of(settings, FAMILY, now)
    last = knowing.model.fitted.known_until
    split = now.record.split.model_copy(update={"test_start": last.to_pydatetime()})
    new_to_parent(knowing, replace(now, record=now.record.model_copy(update={"split": split})))  # known when they begin
    earlier = split.model_copy(update={"test_start": (last - pd.Timedelta(seconds=1)).to_pydatetime()})
    with pytest.raises(LearningError, match="may only be judged by models that know none after"):
        new_to_parent(knowing, replace(now, record=now.record.model_copy(update={"split": earlier})))


def test_other_features_are_refused_and_the_mlflow_run_says_failed(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    with pytest.raises(LearningError, match="only the rows have ml_brand_new"):
        update(settings, FAMILY, as_of(rows.assign(ml_brand_new=1.0), LAST))
    client = mlflow_client(settings)
    newest = client.search_runs([client.get_run(alone.run_id).info.experiment_id], max_results=1)[0]
    assert newest.info.status == "FAILED"


def test_a_tampered_parent_is_refused(settings: Settings, alone: ModelRecord, rows: pd.DataFrame) -> None:
    (stored,) = [file for file in artefact_folder(settings).rglob("model.json") if alone.model_uri[8:] in str(file)]
    content = stored.read_bytes()
    stored.write_bytes(content + b" ")
    try:
        with pytest.raises(ModelTampered):
            update(settings, FAMILY, as_of(rows, LAST))
    finally:
        stored.write_bytes(content)


def test_a_newer_version_made_with_other_choices_is_passed_over(
    settings: Settings, alone: ModelRecord, rows: pd.DataFrame
) -> None:
    other = DatasetSpec(min_composite_score=None, embargo_days=3)
    record, _ = train(settings, as_of(rows, NEXT, other), study(NEXT))
    theirs = Registry(settings).register(record.run_id, FAMILY)
    assert Registry(settings).get_version(FAMILY, theirs).dataset_spec == other
    assert parent_of(settings, FAMILY, as_of(rows, LAST)).version.version == 1
    assert parent_of(settings, FAMILY, as_of(rows, LAST, other)).version.version == theirs
