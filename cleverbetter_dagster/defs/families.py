"""One branch of the graph a model family: study, model, evaluation. A family in the catalogue gets one by itself."""

from typing import Any

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.defs.failures import RETRY_PASSING_FAULTS, clear_failures
from cleverbetter_dagster.defs.metadata import interval, page, picture, table
from cleverbetter_dagster.defs.partitions import by_month, history_input
from cleverbetter_dagster.defs.resources import Deployment
from cleverbetter_dagster.evaluation.bootstrap import BootstrapSpec
from cleverbetter_dagster.evaluation.leaderboard import METRICS, LeaderboardRow
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.tuning import StudySpec
from cleverbetter_dagster.services.datasets import rebuild_each
from cleverbetter_dagster.services.evaluation import Evaluation, evaluate
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord, StudyRecord
from cleverbetter_dagster.services.training import Lineage, settle_params, train

HEADLINE = ("roc_auc", "brier", "roi", "growth")


class StudyConfig(StudySpec, dg.Config):
    """How the parameters are settled; 0 trials keep the family's defaults, judged on temporal folds."""


class EvaluationConfig(StakingSpec, dg.Config):
    """How probabilities become stakes."""


def family_assets(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The three assets of a family."""
    return [_study(family, partitions), _model(family, partitions), _evaluation(family, partitions)]


def _study(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{family.name}_study",
        **by_month(partitions),
        ins={"rows": history_input()},
        group_name=family.name,
        kinds={"optuna"},
        pool=f"{family.name}_training",
        description=(
            f"Parameters of the {family.title} for the as_of month, judged on temporal folds of train and validation."
        ),
        code_version="1",
        retry_policy=RETRY_PASSING_FAULTS,
    )
    def study(
        context: dg.AssetExecutionContext,
        config: StudyConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
    ) -> dict[str, StudyRecord]:
        settings = deployment.settings()
        spec = StudySpec(**config.model_dump()).model_copy(update={"threads": settings.threads})
        studies: dict[str, StudyRecord] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                studies[month] = settle_params(settings, family.name, dataset, spec)
                context.add_asset_metadata(_study_metadata(studies[month]), partition_key=month)
        return studies

    return study


def _model(family: Family, partitions: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{family.name}_model",
        **by_month(partitions),
        ins={"rows": history_input(), "studies": dg.AssetIn(f"{family.name}_study")},
        group_name=family.name,
        kinds={"mlflow"},
        pool=f"{family.name}_training",
        description=(
            f"The {family.title} fitted on train and validation of the as_of month, kept in "
            f"an MLflow run of its own. "
            f"{family.description}"
        ),
        code_version="1",
        retry_policy=RETRY_PASSING_FAULTS,
    )
    def model(
        context: dg.AssetExecutionContext,
        deployment: Deployment,
        mlflow: dg.ResourceParam[Any],
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        studies: dict[str, StudyRecord],
    ) -> dict[str, ModelRecord]:
        lineage = Lineage(context.run_id, mlflow.active_run().info.run_id)
        models: dict[str, ModelRecord] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                models[month], fitted = train(deployment.settings(), dataset, studies[month], lineage)
                context.add_asset_metadata(_model_metadata(models[month], fitted.report()), partition_key=month)
        return models

    return model


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
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        config: EvaluationConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
        models: dict[str, ModelRecord],
    ) -> dict[str, pa.Table]:
        staking = StakingSpec(**config.model_dump())
        tables: dict[str, pa.Table] = {}
        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                judged = evaluate(deployment.settings(), models[month], dataset, staking, BootstrapSpec())
                tables[month] = judged.table
                context.add_asset_metadata(_evaluation_metadata(judged), partition_key=month)
        return tables

    return evaluation


def _study_metadata(study: StudyRecord) -> dict[str, dg.MetadataValue | float | int]:
    return {
        "mean_fold_auc": study.mean_auc,
        "mean_fold_auc_of_defaults": study.default_auc,
        "trials": study.trials,
        "parameters": page(table([{"parameter": name, "value": value} for name, value in study.params.items()])),
    }


def _model_metadata(model: ModelRecord, report: dict) -> dict[str, dg.MetadataValue | float | int | str]:
    return {
        "fitted_rows": model.fitted_rows,
        "data_hash": model.data_hash,
        "mlflow_run_id": model.run_id,
        "model_uri": model.model_uri,
        "sha256": model.sha256,
        "fit": page(table([{"fact": name, "value": value} for name, value in report.items()])),
    }


def _evaluation_metadata(judged: Evaluation) -> dict[str, dg.MetadataValue | float | int | str]:
    row = next(row for row in judged.board if row.name == judged.model.family)
    found: dict[str, dg.MetadataValue | float | int | str] = {
        name: value.point for name in HEADLINE if (value := getattr(row, name)) is not None
    }
    found |= {f"{name}_95%": interval(getattr(row, name)) for name in HEADLINE}
    pictures = [picture(png, name) for name, png in judged.pictures.items()]
    return {
        "report": page(board_table(judged.board), *pictures),
        **found,
        "dagster/row_count": row.n_rows,
        "model": f"{judged.model.family} v{judged.model.version}",
        "mlflow_run_id": judged.model.run_id,
    }


def board_table(board: list[LeaderboardRow]) -> str:
    """The leaderboard with its intervals, as a Markdown table."""
    return table(
        [
            {"model": row.name, "bets": row.n_bets} | {name: interval(getattr(row, name), 3) for name in METRICS}
            for row in board
        ]
    )
