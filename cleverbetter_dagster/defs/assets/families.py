"""One branch of the graph a model family: study, model, evaluation. A family in the catalogue gets one by itself."""

import json
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field, create_model

from cleverbetter_dagster.defs.assets.checks import check_results, check_specs
from cleverbetter_dagster.defs.assets.family_metadata import evaluation_metadata, model_metadata, study_metadata
from cleverbetter_dagster.defs.failures import RETRY_PASSING_FAULTS, clear_failures
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.evaluation.intervals.bootstrap import BootstrapSpec
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.scoring.spec import StudySpec
from cleverbetter_dagster.learning.tuning.results import OnProgress
from cleverbetter_dagster.services.champion.staking_options import staking_of_training
from cleverbetter_dagster.services.evaluation.checks import EVALUATION_CHECKS, MODEL_CHECKS
from cleverbetter_dagster.services.evaluation.evaluate import Evaluation, evaluate
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord, StudyRecord, Training
from cleverbetter_dagster.services.training.datasets import rebuild_each
from cleverbetter_dagster.services.training.fit import RunContext, train
from cleverbetter_dagster.services.training.study_checks import STUDY_CHECKS
from cleverbetter_dagster.services.training.tune import tune
from cleverbetter_dagster.services.training.update import update


class StudyConfig(StudySpec, dg.Config):
    """How hyperparameters are searched for and scored on temporal folds."""


def study_config(family: Family) -> type[StudyConfig]:
    """`StudyConfig` with the family's own defaults."""
    fields: dict[str, Any] = {}
    for name, default in family.study_defaults.items():
        field = copy(StudyConfig.model_fields[name])
        field.default = default
        field.description = f"{field.description} For this family the default is {json.dumps(default)}."
        fields[name] = (field.annotation, field)
    name = f"{family.name.title().replace('_', '')}StudyConfig"
    return create_model(name, __base__=StudyConfig, __doc__=StudyConfig.__doc__, **fields)


class FitConfig(dg.Config):
    """How the model is trained."""

    training: Training = Field(
        default="full",
        description=(
            "full (default): fit a new model with the hyperparameters of the month's study. incremental: update the "
            "newest registered version of this as_of month or an earlier one, with its hyperparameters, on the rows "
            "it has not learned from; no study is read."
        ),
    )


class StakingConfig(dg.Config):
    """The bounds on stakes. An option left out stays as the champion has it."""

    kelly_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the full Kelly stake, above 0, at most 1; null (default): as the champion has it.",
    )
    max_stake_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Most of the bankroll per strategy, above 0, at most 1; null (default): as the champion has it.",
    )
    max_total_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Most of the bankroll for all, above 0, at most 1; null (default): as the champion has it.",
    )

    def options(self) -> dict[str, float]:
        """The options that were given."""
        return self.model_dump(exclude_none=True)


def family_assets(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The three assets of a family."""
    return [_study(family, partitions), _model(family, partitions), _evaluation(family, partitions)]


def _study(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    Config = study_config(family)

    @dg.asset(
        name=f"{family.name}_study",
        **by_month(partitions),
        ins={"rows": history_input()},
        group_name=family.name,
        kinds={"optuna"},
        pool=f"{family.name}_training",
        description=(
            f"Parameters of the {family.title} for the as_of month, searched by Optuna and judged on temporal folds "
            "of train and validation. A study goes on where it stopped; a new month starts from the last one's best."
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
        check_specs=check_specs(STUDY_CHECKS, f"{family.name}_study"),
    )
    def study(
        context: dg.AssetExecutionContext,
        config: Config,  # type: ignore[valid-type]
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
    ) -> Iterator[dg.MaterializeResult]:
        spec = StudySpec(**config.model_dump())  # type: ignore[attr-defined]
        studies: dict[str, StudyRecord] = {}

        def tell(month: str) -> OnProgress:
            return lambda progress: context.log.info(f"{family.name} {month}: {progress}")

        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                tuned = tune(deployment.settings(), family.name, dataset, spec, tell(month))
                studies[month] = tuned.record
                context.add_asset_metadata(study_metadata(tuned), partition_key=month)
        yield dg.MaterializeResult(value=studies, check_results=check_results(STUDY_CHECKS, studies))

    return study


def _model(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    study = dg.AssetIn(f"{family.name}_study", metadata={"may_lack_partitions": True})  # incremental runs need none

    @dg.asset(
        name=f"{family.name}_model",
        **by_month(partitions),
        ins={"rows": history_input(), "studies": study},
        group_name=family.name,
        kinds={"mlflow"},
        pool=f"{family.name}_training",
        description=(
            f"The {family.title} fitted on train and validation of the as_of month, kept in "
            f"an MLflow run of its own; or its newest version, updated with what is new (training: incremental). "
            f"{family.description}"
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
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
        run_context = RunContext(context.run_id, mlflow.active_run().info.run_id)
        models: dict[str, ModelRecord] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                if config.training == "incremental":
                    models[month], fitted = update(deployment.settings(), family.name, dataset, run_context)
                else:
                    found = _study_of(family, month, studies)
                    models[month], fitted = train(deployment.settings(), dataset, found, run_context)
                context.log.info(_told(models[month]))
                context.add_asset_metadata(model_metadata(models[month], fitted.report()), partition_key=month)
        return models

    return model


def _study_of(family: Family, month: str, studies: Mapping[str, StudyRecord]) -> StudyRecord:
    if month not in studies:
        raise DataError(
            f"There is no {family.name}_study of {month}: materialise it with the model, or set training: incremental "
            "to go on from the newest registered version."
        )
    return studies[month]


def _evaluation(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{family.name}_evaluation",
        **by_month(partitions),
        ins={"rows": history_input(), "models": dg.AssetIn(f"{family.name}_model")},
        group_name=family.name,
        kinds={"mlflow", "parquet"},
        description=(
            f"The test rows of the as_of month as the {family.title} and every baseline score "
            f"them: metrics with intervals, "
            "and what allocating by the probabilities would have earned."
        ),
        code_version="1",
        retry_policy=RETRY_PASSING_FAULTS,
        check_specs=[
            *check_specs(MODEL_CHECKS, f"{family.name}_evaluation"),
            *check_specs(EVALUATION_CHECKS, f"{family.name}_evaluation"),
        ],
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
        judged: dict[str, Evaluation] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                staking = staking_of_training(settings, month, config.options())
                judged[month] = evaluate(settings, models[month], dataset, staking, BootstrapSpec())
                context.add_asset_metadata(evaluation_metadata(judged[month]), partition_key=month)
        yield dg.MaterializeResult(
            value={month: one.table for month, one in judged.items()},
            check_results=[
                *check_results(MODEL_CHECKS, {month: one.scored[family.name] for month, one in judged.items()}),
                *check_results(EVALUATION_CHECKS, judged),
            ],
        )

    return evaluation


def _told(model: ModelRecord) -> str:
    if model.training == "full":
        return f"{model.family} {model.as_of}: fitted anew on {model.fitted_rows:,} rows"
    parent = f"{model.family} v{model.parent_version}"
    if model.is_parents_own:
        return f"{model.family} {model.as_of}: no new rows since {parent}, which therefore stands as it is"
    return f"{model.family} {model.as_of}: {parent} and {model.rows_added:,} new rows"
