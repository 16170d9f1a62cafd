"""What the UI shows beside the assets of a family: hyperparameters, fits, leaderboards, significance."""

from collections.abc import Sequence

from cleverbetter_dagster.defs.assets.metadata import (
    Metadata,
    bullets,
    interval,
    markdown,
    number,
    picture,
    staking_tables,
    table,
)
from cleverbetter_dagster.evaluation.leaderboard import METRICS, LeaderboardRow
from cleverbetter_dagster.services.evaluation.evaluate import Evaluation
from cleverbetter_dagster.services.records import ModelRecord
from cleverbetter_dagster.services.training.tune import TunedParams

SHOWN_OF_MODEL = ("fitted_rows", "training", "rows_added", "rows_lost", "data_hash", "model_uri", "sha256")
HEADLINE = ("auc_within_months", "brier", "roi", "growth")


def study_metadata(tuned: TunedParams) -> Metadata:
    study = tuned.record
    rows = [{"parameter": name, "value": value} for name, value in study.params.items()]
    return {
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


def model_metadata(model: ModelRecord, report: dict) -> Metadata:
    return {
        **model.model_dump(include=set(SHOWN_OF_MODEL)),
        "parent": f"{model.family} v{model.parent_version}" if model.parent_version else "none",
        "watermark": str(model.watermark),
        "mlflow_run_id": model.run_id,
        "fit": markdown(table([{"figure": name, "value": value} for name, value in report.items()])),
    }


def evaluation_metadata(evaluation: Evaluation) -> Metadata:
    model = evaluation.model
    row = next(row for row in evaluation.leaderboard if row.name == model.family)
    estimates = {name: getattr(row, name) for name in HEADLINE}
    pictures = [picture(png, name) for name, png in evaluation.pictures.items()]
    comparison = model.staking_comparison
    staking: Metadata = {}
    if comparison is not None:
        staking = {"staking": staking_tables([comparison]), "stakes_earn_their_place": str(comparison.earns_its_place)}
    return {
        "report": markdown(leaderboard_table(evaluation.leaderboard), *pictures),
        **staking,
        **{name: estimate.point for name, estimate in estimates.items() if estimate.point is not None},
        **{f"{name}_95%": interval(estimate) for name, estimate in estimates.items()},
        **{name: value for name, value in evaluation.significance.model_dump().items() if value is not None},
        "dagster/row_count": row.n_rows,
        "model": f"{model.family} v{model.version}",
        "chosen_from_trials": model.trials,
        "mlflow_run_id": model.run_id,
    }


def leaderboard_table(rows: Sequence[LeaderboardRow]) -> str:
    """The leaderboard as a Markdown table. Why a column has no interval is said below it, once."""
    reasons = {name: dict.fromkeys(getattr(row, name).reason for row in rows) for name in METRICS}
    bare = {name: "; ".join(why) for name, why in reasons.items() if all(why)}
    lines = []
    for row in rows:
        figures = {name: getattr(row, name) for name in METRICS}
        cells = {name: number(one.point, 3) if name in bare else interval(one, 3) for name, one in figures.items()}
        lines.append({"model": row.name, "bets": row.n_bets, **cells})
    return "\n\n".join([table(lines), bullets(f"{name} has no interval: {why}" for name, why in bare.items())])
