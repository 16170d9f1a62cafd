"""From examples and settled parameters to a fitted model in MLflow: fit, log."""

from dataclasses import dataclass

from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.records import ModelRecord, StudyRecord, Training
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import Origin, StrategyModel, log_model
from cleverbetter_dagster.store.tracking.registry import SPEC_TAG
from cleverbetter_dagster.store.tracking.runs import ModelRun, RunSpec, start_run


@dataclass(frozen=True)
class Lineage:
    """Which Dagster and MLflow runs a model belongs to."""

    dagster_run_id: str | None = None
    parent_run_id: str | None = None


@dataclass(frozen=True)
class Ancestry:
    """What a model was made from: nothing but rows, or a parent and the rows that were new to it."""

    training: Training
    parent_version: int | None
    rows_added: int
    rows_lost: int


def train(
    settings: Settings, dataset: Dataset, study: StudyRecord, lineage: Lineage | None = None
) -> tuple[ModelRecord, FittedModel]:
    """Fit a family on train and validation, and keep the model in an MLflow run of its own."""
    family, parts = get_family(study.family), dataset.parts
    trials = study.trials + study.earlier_trials
    learned = Fingerprints.of([parts.train, parts.validation])
    origin = Origin(study.params, study.seed, trials, learned, study.pruned, study.earlier_trials)
    with start_run(settings, run_spec(study.family, dataset, origin, lineage)) as run:
        model = family.fit(parts.train, parts.validation, study.params, study.seed, settings.threads)
        ancestry = Ancestry("full", None, rows_added=len(origin.learned), rows_lost=0)
        return keep(run, model, dataset, origin, ancestry), model


def run_spec(family: str, dataset: Dataset, origin: Origin, lineage: Lineage | None) -> RunSpec:
    """What is known of a model before it is fitted or updated."""
    lineage, record = lineage or Lineage(), dataset.record
    return RunSpec(
        family=family,
        as_of=record.as_of,
        data_hash=record.data_hash,
        params={**origin.params, "seed": origin.seed, "dataset": record.spec.model_dump()},
        tags={
            SPEC_TAG: record.spec.model_dump_json(),
            "trials": str(origin.trials),
            "pruned_trials": str(origin.pruned_trials),
            "earlier_trials": str(origin.earlier_trials),
        },
        dagster_run_id=lineage.dagster_run_id,
        parent_run_id=lineage.parent_run_id,
    )


def keep(run: ModelRun, model: FittedModel, dataset: Dataset, origin: Origin, ancestry: Ancestry) -> ModelRecord:
    """Keep a model in its run, with the split it was made by and what it was made from."""
    logged = log_model(run, StrategyModel(model, dataset.record.spec, origin))
    run.log_json("split.json", dataset.record)
    tags = {**vars(ancestry), "watermark": model.known_until.isoformat()}
    run.set_tags({name: str(value) for name, value in tags.items() if value is not None})
    return ModelRecord(
        family=model.family,
        as_of=dataset.record.as_of,
        run_id=run.run_id,
        model_uri=logged.model_uri,
        sha256=logged.sha256,
        params=dict(origin.params),
        trials=origin.trials,
        pruned_trials=origin.pruned_trials,
        earlier_trials=origin.earlier_trials,
        seed=origin.seed,
        data_hash=dataset.record.data_hash,
        fitted_rows=len(origin.learned),
        watermark=model.known_until,
        **vars(ancestry),
    )
