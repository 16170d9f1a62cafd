"""What the UI shows beside the assets of a family: hyperparameters, fits, leaderboards, significance."""

from cleverbetter_dagster.defs.assets.metadata import (
    Metadata,
    interval,
    markdown,
    number,
    picture,
    rounded,
    staking_tables,
    table,
)
from cleverbetter_dagster.evaluation.leaderboard import METRICS, LeaderboardRow
from cleverbetter_dagster.services.evaluation.evaluate import Evaluation
from cleverbetter_dagster.services.records import ModelRecord, SignificanceRecord
from cleverbetter_dagster.services.training.tune import TunedParams

HEADLINE = ("roc_auc", "brier", "roi", "growth")


def study_metadata(tuned: TunedParams) -> Metadata:
    study = tuned.record
    rows = [{"parameter": name, "value": value} for name, value in study.params.items()]
    metadata: Metadata = {
        "report": markdown(table(rows), *(picture(png, name) for name, png in tuned.pictures.items())),
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
    return rounded(metadata)


def model_metadata(model: ModelRecord, report: dict) -> Metadata:
    return {
        "fitted_rows": model.fitted_rows,
        "training": model.training,
        "parent": f"{model.family} v{model.parent_version}" if model.parent_version else "none",
        "rows_added": model.rows_added,
        "rows_lost": model.rows_lost,
        "watermark": str(model.watermark),
        "data_hash": model.data_hash,
        "mlflow_run_id": model.run_id,
        "model_uri": model.model_uri,
        "sha256": model.sha256,
        "fit": markdown(table([{"figure": name, "value": value} for name, value in report.items()])),
    }


def evaluation_metadata(evaluation: Evaluation) -> Metadata:
    model, significance = evaluation.model, evaluation.significance
    row = next(row for row in evaluation.leaderboard if row.name == model.family)
    estimates = {name: getattr(row, name) for name in HEADLINE}
    pictures = [picture(png, name) for name, png in evaluation.pictures.items()]
    comparison = model.staking_comparison
    staking: Metadata = {}
    if comparison is not None:
        staking = {"staking": staking_tables([comparison]), "stakes_earn_their_place": str(comparison.earns_its_place)}
    return rounded(
        {
            "report": markdown(leaderboard_table(evaluation.leaderboard), significance_table(significance), *pictures),
            **staking,
            **{name: estimate.point for name, estimate in estimates.items() if estimate is not None},
            **{f"{name}_95%": interval(estimate) for name, estimate in estimates.items()},
            **{name: value for name, value in significance.metrics().items() if value is not None},
            "dagster/row_count": row.n_rows,
            "model": f"{model.family} v{model.version}",
            "chosen_from_trials": model.trials,
            "mlflow_run_id": model.run_id,
        }
    )


def leaderboard_table(rows: list[LeaderboardRow]) -> str:
    """The leaderboard with its intervals, as a Markdown table."""
    return table(
        [
            {"model": row.name, "bets": row.n_bets} | {name: interval(getattr(row, name), 3) for name in METRICS}
            for row in rows
        ]
    )


def significance_table(record: SignificanceRecord) -> str:
    """How likely the return is skill, as a Markdown table."""
    return table(
        [
            {
                "Sharpe ratio a month": f"{number(record.monthly_sharpe, 2)} over {record.months} months",
                "probability of skill (PSR)": number(record.probabilistic_sharpe, 3),
                "after all trials (DSR)": number(record.deflated_sharpe, 3),
                "trials": f"{record.tuning_trials} settings, "
                f"{record.independent_strategies:.0f} independent strategies",
                "rows": f"{record.rows}, worth {record.effective_rows:.0f} independent ones",
            }
        ]
    )
