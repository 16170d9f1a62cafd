"""From examples and settled parameters to a fitted model in MLflow: fit, log."""

from dataclasses import dataclass

from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.family import FittedModel
from cleverbetter_dagster.services.datasets import Dataset
from cleverbetter_dagster.services.records import ModelRecord, StudyRecord
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.model_package import StrategyModel, log_model
from cleverbetter_dagster.store.tracking import RunSpec, start_run


@dataclass(frozen=True)
class Lineage:
    """Which Dagster and MLflow runs a model belongs to."""

    dagster_run_id: str | None = None
    parent_run_id: str | None = None


def train(
    settings: Settings, dataset: Dataset, study: StudyRecord, lineage: Lineage | None = None
) -> tuple[ModelRecord, FittedModel]:
    """Fit a family on train and validation, and keep the model in an MLflow run of its own."""
    lineage = lineage or Lineage()
    family, parts, record = get_family(study.family), dataset.parts, dataset.record
    trials = {
        "trials": study.trials + study.earlier_trials,
        "pruned_trials": study.pruned,
        "earlier_trials": study.earlier_trials,
    }
    spec = RunSpec(
        family=study.family,
        as_of=record.as_of,
        data_hash=record.data_hash,
        params={**study.params, "seed": study.seed, "dataset": record.spec.model_dump()},
        tags={name: str(count) for name, count in trials.items()},
        dagster_run_id=lineage.dagster_run_id,
        parent_run_id=lineage.parent_run_id,
    )
    with start_run(settings, spec) as run:
        model = family.fit(parts.train, parts.validation, study.params, study.seed, settings.threads)
        logged = log_model(run, StrategyModel(model, record.spec))
        run.log_json("split.json", record)
    return ModelRecord(
        family=study.family,
        as_of=record.as_of,
        run_id=run.run_id,
        model_uri=logged.model_uri,
        sha256=logged.sha256,
        params=study.params,
        **trials,
        seed=study.seed,
        data_hash=record.data_hash,
        fitted_rows=len(parts.train) + len(parts.validation),
    ), model
