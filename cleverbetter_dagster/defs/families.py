"""One branch of the graph a model family: study, model, evaluation. A family in the catalogue gets one by itself."""

from collections.abc import Iterator, Mapping
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
from cleverbetter_dagster.services.training import Lineage, train
from cleverbetter_dagster.services.tuning import WIDEST_GAP, Settled, Watch, settle_params

OVERFITTING = "increase dropout rates, add L2 regularisation, or reduce model complexity (narrow `space`)."
AT_EDGE = (
    "widen that range (`space` in the run's configuration), or increase model complexity where the AUC is low. At the "
    "simple end, reduce it further."
)

HEADLINE = ("roc_auc", "brier", "roi", "growth")


class StudyConfig(StudySpec, dg.Config):
    """How the parameters are searched for; 0 trials keep the family's defaults, judged on temporal folds."""


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
            f"Parameters of the {family.title} for the as_of month, searched by Optuna and judged on temporal folds "
            "of train and validation. A study goes on where it stopped; a new month starts from the last one's best."
        ),
        code_version="2",
        retry_policy=RETRY_PASSING_FAULTS,
        check_specs=_study_checks(f"{family.name}_study"),
    )
    def study(
        context: dg.AssetExecutionContext,
        config: StudyConfig,
        deployment: Deployment,
        rows: dict[str, pa.Table],
        temporal_split: dict[str, SplitRecord],
    ) -> Iterator[dg.MaterializeResult]:
        spec = StudySpec(**config.model_dump())
        studies: dict[str, StudyRecord] = {}

        def tell(month: str) -> Watch:
            return lambda progress: context.log.info(f"{family.name} {month}: {progress}")

        with clear_failures():
            for month, dataset in rebuild_each(rows, temporal_split):
                found = settle_params(deployment.settings(), family.name, dataset, spec, tell(month))
                studies[month] = found.record
                context.add_asset_metadata(_study_metadata(found), partition_key=month)
        yield dg.MaterializeResult(value=studies, check_results=[_gap_is_small(studies), _inside_space(studies)])

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


def _study_checks(asset: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            "train_validation_gap_is_small",
            asset=asset,
            description=(
                f"The AUC on the rows a fold's model was fitted on is at most {WIDEST_GAP} above that on the fold. "
                f"Otherwise: {OVERFITTING}"
            ),
        ),
        dg.AssetCheckSpec(
            "best_trial_is_inside_its_space",
            asset=asset,
            description=f"No chosen hyperparameter lies at an end of the range searched. Otherwise: {AT_EDGE}",
        ),
    ]


def _gap_is_small(studies: Mapping[str, StudyRecord]) -> dg.AssetCheckResult:
    worst = max(studies.values(), key=lambda study: study.gap)
    passed = worst.gap <= WIDEST_GAP
    found = f"As of {worst.as_of} the AUC on fitted rows is {worst.gap:.3f} above that on the folds."
    return dg.AssetCheckResult(
        check_name="train_validation_gap_is_small",
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=found if passed else f"{found} {OVERFITTING}",
        metadata={"gap": worst.gap, "widest": WIDEST_GAP, "as_of": worst.as_of},
    )


def _inside_space(studies: Mapping[str, StudyRecord]) -> dg.AssetCheckResult:
    at_edge = {month: study.edges for month, study in studies.items() if study.edges}
    found = "; ".join(
        f"{month}: " + ", ".join(f"{name} at {end:g}" for name, end in edges.items())
        for month, edges in at_edge.items()
    )
    return dg.AssetCheckResult(
        check_name="best_trial_is_inside_its_space",
        passed=not at_edge,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found}. {AT_EDGE}" if at_edge else "Every chosen hyperparameter lies inside its range.",
        metadata={"at_edge": found or "none"},
    )


def _study_metadata(found: Settled) -> dict[str, dg.MetadataValue | float | int | str | None]:
    study = found.record
    rows = [{"parameter": name, "value": value} for name, value in study.params.items()]
    return {
        "report": page(table(rows), *(picture(png, name) for name, png in found.pictures.items())),
        f"mean_fold_{study.metric}": study.value,
        f"mean_fold_{study.metric}_of_defaults": study.default_value,
        "mean_fold_auc": study.mean_auc,
        "mean_fold_auc_on_fitted_rows": study.train_auc,
        "train_validation_gap": study.gap,
        "trials": study.trials,
        "pruned_trials": study.pruned,
        "earlier_trials": study.earlier_trials,
        "study": study.study or "none: the defaults",
        "warm_started_from": study.warm_started_from or "nothing",
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
        "chosen_from_trials": judged.model.trials,
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
