"""From examples and tuned parameters to a fitted model, logged in an MLflow run of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.records import ModelRecord, StudyRecord, Training
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import StrategyModel, TrainingProvenance, log_model
from cleverbetter_dagster.store.tracking.registry import SPEC_TAG
from cleverbetter_dagster.store.tracking.runs import ModelRun, RunSpec, start_run


@dataclass(frozen=True)
class RunContext:
    """Which Dagster and MLflow runs a model belongs to."""

    dagster_run_id: str | None = None
    parent_run_id: str | None = None


@dataclass(frozen=True)
class UpdateInfo:
    """Whether a model was fitted anew or goes on from `parent_version`, and by which rows it differs from that."""

    training: Training
    parent_version: int | None
    rows_added: int
    rows_lost: int


def train(
    settings: Settings, dataset: Dataset, study: StudyRecord, run_context: RunContext | None = None
) -> tuple[ModelRecord, FittedModel]:
    """Fit a family on train and validation, and log the model in an MLflow run of its own."""
    family, parts = get_family(study.family), dataset.parts
    trials = study.trials + study.earlier_trials
    learned = Fingerprints.of(parts.past)
    provenance = TrainingProvenance(study.params, study.seed, trials, learned, study.pruned, study.earlier_trials)
    with start_run(settings, run_spec(study.family, dataset, provenance, run_context)) as run:
        model = family.fit(parts.train, parts.validation, study.params, study.seed, settings.threads)
        update_info = UpdateInfo("full", None, rows_added=len(learned), rows_lost=0)
        return log_model_run(run, model, dataset, provenance, update_info), model


def run_spec(family: str, dataset: Dataset, provenance: TrainingProvenance, run_context: RunContext | None) -> RunSpec:
    """What is known of a model before it is fitted or updated."""
    run_context, record = run_context or RunContext(), dataset.record
    return RunSpec(
        family=family,
        as_of=record.as_of,
        data_hash=record.data_hash,
        params={**provenance.params, "seed": provenance.seed, "dataset": record.spec.model_dump()},
        tags={
            SPEC_TAG: record.spec.model_dump_json(),
            "trials": str(provenance.trials),
            "pruned_trials": str(provenance.pruned_trials),
            "earlier_trials": str(provenance.earlier_trials),
        },
        dagster_run_id=run_context.dagster_run_id,
        parent_run_id=run_context.parent_run_id,
    )


def log_model_run(
    run: ModelRun, model: FittedModel, dataset: Dataset, provenance: TrainingProvenance, update_info: UpdateInfo
) -> ModelRecord:
    """Log a model in its run, with the split it was made by and what it was made from."""
    packed = StrategyModel(model, dataset.record.spec, provenance)
    logged = log_model(run, packed)
    run.log_json("split.json", dataset.record)
    tags = {**vars(update_info), "watermark": model.known_until.isoformat()}
    run.set_tags({name: str(value) for name, value in tags.items() if value is not None})
    where = {"run_id": run.run_id, "model_uri": logged.model_uri, "sha256": logged.sha256}
    return model_record(packed, dataset, update_info, where)


def model_record(
    packed: StrategyModel, dataset: Dataset, update_info: UpdateInfo, where: Mapping[str, str]
) -> ModelRecord:
    """The record of a model; `where` has its `run_id`, `model_uri` and `sha256`."""
    provenance = packed.provenance
    return ModelRecord(
        family=packed.fitted.family,
        as_of=dataset.record.as_of,
        params=dict(provenance.params),
        trials=provenance.trials,
        pruned_trials=provenance.pruned_trials,
        earlier_trials=provenance.earlier_trials,
        seed=provenance.seed,
        data_hash=dataset.record.data_hash,
        fitted_rows=len(provenance.learned),
        watermark=packed.fitted.known_until,
        **where,
        **vars(update_info),
    )
