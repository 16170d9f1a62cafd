"""From examples to a fitted model in MLflow: settle the parameters, fit, log."""

from dataclasses import dataclass

from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.learning.family import FittedModel
from cleverbetter_dagster.learning.tuning import StudySpec, pooled, run_study
from cleverbetter_dagster.services.datasets import Dataset
from cleverbetter_dagster.services.records import ModelRecord, StudyRecord
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.database import database_url
from cleverbetter_dagster.store.model_package import StrategyModel, log_model
from cleverbetter_dagster.store.tracking import RunSpec, start_run


@dataclass(frozen=True)
class Lineage:
    """Which Dagster and MLflow runs a model belongs to."""

    dagster_run_id: str | None = None
    parent_run_id: str | None = None


def settle_params(settings: Settings, family_name: str, dataset: Dataset, spec: StudySpec) -> StudyRecord:
    """The parameters to train with, judged on temporal folds of train and validation; test rows are not looked at.

    A study of more than the defaults is kept in PostgreSQL under the name `<family> <as_of> <data hash>`, and goes
    on where it stopped.
    """
    record, parts = dataset.record, dataset.parts
    study = run_study(
        get_family(family_name),
        pooled(parts.train, parts.validation),
        spec,
        f"{family_name} {record.as_of} {record.data_hash}",
        database_url(settings, "optuna") if spec.n_trials else None,
    )
    return StudyRecord(
        family=family_name,
        as_of=record.as_of,
        params=study.params,
        mean_auc=study.mean_auc,
        default_auc=study.default_auc,
        trials=study.trials,
        seed=spec.seed,
    )


def train(
    settings: Settings, dataset: Dataset, study: StudyRecord, lineage: Lineage | None = None
) -> tuple[ModelRecord, FittedModel]:
    """Fit a family on train and validation, and keep the model in an MLflow run of its own."""
    lineage = lineage or Lineage()
    family, parts, record = get_family(study.family), dataset.parts, dataset.record
    spec = RunSpec(
        family=study.family,
        as_of=record.as_of,
        data_hash=record.data_hash,
        params={**study.params, "seed": study.seed, "dataset": record.spec.model_dump()},
        tags={"trials": str(study.trials)},
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
        trials=study.trials,
        seed=study.seed,
        data_hash=record.data_hash,
        fitted_rows=len(parts.train) + len(parts.validation),
    ), model
