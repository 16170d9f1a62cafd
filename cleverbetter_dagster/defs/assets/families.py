"""The assets of a model family: study, model and evaluation. Every family in the catalogue has them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.config import FitConfig, StakingConfig, study_config
from cleverbetter_dagster.defs.assets.family_metadata import evaluation_metadata, model_metadata, study_metadata
from cleverbetter_dagster.defs.failures import each_month
from cleverbetter_dagster.defs.partitions import MAY_LACK_PARTITIONS, by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment, ask_mlflow_first
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.intervals.estimate import IntervalSpec
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.services.champion.staking_options import staking_of_training
from cleverbetter_dagster.services.evaluation.checks import EVALUATION_CHECKS, MODEL_CHECKS
from cleverbetter_dagster.services.evaluation.evaluate import evaluate
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord, StudyRecord
from cleverbetter_dagster.services.training.datasets import rebuild_each
from cleverbetter_dagster.services.training.fit import RunContext, train
from cleverbetter_dagster.services.training.study_checks import STUDY_CHECKS
from cleverbetter_dagster.services.training.tune import tune
from cleverbetter_dagster.services.training.update import update


def family_assets(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The three assets of a family."""
    return [_study(family, partitions), _model(family, partitions), _evaluation(family, partitions)]


def _study(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    name, Config = f"{family.name}_study", study_config(family)

    @dg.asset(
        name=name,
        **by_month(partitions),
        ins={"rows": history_input(partitions)},
        group_name=family.name,
        kinds={"optuna"},
        pool=f"{family.name}_training",
        description=f"Hyperparameters of the {family.title} for the as_of month, searched by Optuna and scored on "
        "temporal folds of train and validation. A study that stopped continues; a new month starts from the best of "
        "the month before.",
        code_version="2",
        check_specs=check_specs(STUDY_CHECKS, name),
    )
    def study(
        context: dg.AssetExecutionContext,
        config: Config,  # type: ignore[valid-type]
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
    ) -> Iterator[dg.MaterializeResult]:
        settings, spec = deployment.settings(), StudySpec(**config.model_dump())  # type: ignore[attr-defined]
        ask_mlflow_first(context, settings)

        def log(month: str) -> Any:
            return lambda progress: context.log.info(f"{family.name} {month}: {progress}")

        datasets = rebuild_each(settings, rows, temporal_split)
        tuned = ((month, tune(settings, family.name, dataset, spec, log(month))) for month, dataset in datasets)
        studies = {month: params.record for month, params in each_month(context, tuned, study_metadata).items()}
        yield dg.MaterializeResult(value=studies, check_results=check_results(STUDY_CHECKS, studies))

    return study


def _model(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    # An incremental training reads no study.
    study = dg.AssetIn(f"{family.name}_study", metadata=MAY_LACK_PARTITIONS)

    @dg.asset(
        name=f"{family.name}_model",
        **by_month(partitions),
        ins={"rows": history_input(partitions), "studies": study},
        group_name=family.name,
        kinds={"mlflow"},
        pool=f"{family.name}_training",
        description=f"The {family.title}, fitted on train and validation of the as_of month and stored in its own "
        f"MLflow run; or its newest version, updated with the new rows (training: incremental). {family.description}",
        code_version="2",
    )
    def model(
        context: dg.AssetExecutionContext,
        config: FitConfig,
        deployment: Deployment,
        mlflow: dg.ResourceParam[Any],
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        studies: dict[str, StudyRecord],
    ) -> dict[str, ModelRecord]:
        settings, run_context = deployment.settings(), RunContext(context.run_id, mlflow.active_run().info.run_id)

        def trained() -> Iterator[tuple[str, Any]]:
            for month, dataset in rebuild_each(settings, rows, temporal_split):
                if config.training == "incremental":
                    record, fitted = update(settings, family.name, dataset, run_context)
                elif month in studies:
                    record, fitted = train(settings, dataset, studies[month], run_context)
                else:
                    raise DataError(
                        f"There is no {family.name}_study of {month}: materialise it with the model, or set training: "
                        "incremental to update the newest registered version."
                    )
                yield month, (record, fitted.report())

        models = each_month(context, trained(), lambda result: model_metadata(*result))
        return {month: record for month, (record, _) in models.items()}

    return model


def _evaluation(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    name = f"{family.name}_evaluation"

    @dg.asset(
        name=name,
        **by_month(partitions),
        ins={"rows": history_input(partitions), "models": dg.AssetIn(f"{family.name}_model")},
        group_name=family.name,
        kinds={"mlflow", "parquet"},
        description=f"The test rows of the as_of month, scored by the {family.title} and by every baseline: metrics "
        "with intervals, and what the stakes would have earned.",
        code_version="1",
        check_specs=[*check_specs(MODEL_CHECKS, name), *check_specs(EVALUATION_CHECKS, name)],
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        config: StakingConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        models: dict[str, ModelRecord],
    ) -> Iterator[dg.MaterializeResult]:
        settings = deployment.settings()

        def evaluated() -> Iterator[tuple[str, Any]]:
            for month, dataset in rebuild_each(settings, rows, temporal_split):
                staking = staking_of_training(settings, month, config.options())
                yield month, evaluate(settings, models[month], dataset, staking, IntervalSpec())

        evaluations = each_month(context, evaluated(), evaluation_metadata)
        scored = {month: evaluation.scored[family.name] for month, evaluation in evaluations.items()}
        yield dg.MaterializeResult(
            value={month: evaluation.table for month, evaluation in evaluations.items()},
            check_results=[*check_results(MODEL_CHECKS, scored), *check_results(EVALUATION_CHECKS, evaluations)],
        )

    return evaluation
