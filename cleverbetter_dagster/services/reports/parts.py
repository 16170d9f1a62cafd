"""Parts that reports share: the decision in a paragraph, the models side by side, and the origin of it all."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from cleverbetter_dagster.evaluation.charts.chart import Format
from cleverbetter_dagster.evaluation.charts.estimates import forest_chart
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, with_first
from cleverbetter_dagster.evaluation.report.view import Section, Table, Tone, with_interval
from cleverbetter_dagster.evaluation.texts import decimal, percent, sentence_list
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel, SplitRecord

FORESTS = (
    ("auc_within_months", "AUC within months", "Higher is better", decimal),
    ("brier", "Brier score", "Lower is better", decimal),
    ("roi", "Return on stakes", "Profit over stake", percent),
    ("growth", "Growth of the bankroll", "Over the test rows", percent),
)
"""Metric, title, caption, and how a value is written."""


@dataclass(frozen=True)
class Summary:
    """A decision for a person: the fields of `Report` that begin a page."""

    headline: str
    tone: Tone
    text: str
    reasons: tuple[str, ...]


def decision_summary(
    decision: ChampionRecord | None,
    model: EvaluatedModel,
    leaderboard: Sequence[LeaderboardRow],
    broken: Sequence[str] = (),
) -> Summary:
    """What was decided about a model and why, or which model challenged instead.

    Args:
        decision: of the model's as_of; None if there is none yet.
        broken: one sentence for each failed check that guards promotion.
    """
    own = next(row for row in leaderboard if row.name == model.family)
    facts = f"{_ranking(own)} {_beside_others(own, leaderboard)} {_earnings(own)}"
    challenger = f"{decision.challenger_family} v{decision.challenger_version}" if decision else None
    if decision is not None and challenger == f"{model.family} v{model.version}":
        return _of_challenger(decision, challenger, facts)
    tone: Tone = "bad" if broken else "plain"
    if decision is None or decision.challenger_family == model.family:
        text = f"Nothing is decided about it yet; the asset champion of {model.as_of} does so. {facts}"
        return Summary("Not decided", tone, text, tuple(broken))
    text = f"It did not challenge the champion: {challenger} has the lowest Brier score of this month. {facts}"
    return Summary("Did not challenge", tone, text, tuple(broken))


def _of_challenger(decision: ChampionRecord, challenger: str, facts: str) -> Summary:
    reasons = tuple(decision.reasons)
    if decision.action == "promoted":
        return Summary("Promoted", "good", f"{challenger} was promoted to champion. {facts}", reasons)
    if decision.action == "kept":
        return Summary("Champion already", "good", f"{challenger} already is the champion. {facts}", reasons)
    champion = f"{decision.champion_family} v{decision.champion_version}" if decision.champion_family else None
    remains = f"{champion} stays champion" if champion else "there is still no champion"
    return Summary("Refused", "bad", f"{challenger} was refused, and {remains}. {facts}", reasons)


def leaderboard_section(leaderboard: Sequence[LeaderboardRow], first: str) -> Section:
    """All models side by side, `first` on top and in colour."""
    rows = with_first(leaderboard, first)
    drawn = tuple(
        forest_chart(title, f"{caption}; 95% intervals.", [(row.name, getattr(row, metric)) for row in rows], shown)
        for metric, title, caption, shown in FORESTS
    )
    lines = tuple(
        (
            row.name,
            with_interval("", row.auc_within_months),
            with_interval("", row.brier, 4),
            with_interval("", row.roi, as_percent=True),
            with_interval("", row.growth, as_percent=True),
            f"{row.n_bets:,}",
        )
        for row in leaderboard
    )
    table = Table(
        "All figures", ("model", "AUC within months", "Brier score", "return on stakes", "growth", "stakes"), lines
    )
    text = "Every model scored the same test rows. A model that does not beat the baselines has learned nothing."
    return Section("Beside the baselines", text, charts=drawn, tables=(table,))


def provenance(model: EvaluatedModel, split: SplitRecord) -> tuple[tuple[str, str], ...]:
    """What a model was made from, name by name."""
    return (
        *split_provenance(split),
        ("Parameters", f"{model.trials} {'setting' if model.trials == 1 else 'settings'} tried, seed {model.seed}"),
        ("Model", f"{model.model_uri}, SHA-256 {model.sha256}"),
        ("MLflow run", model.run_id),
    )


def split_provenance(split: SplitRecord) -> tuple[tuple[str, str], ...]:
    """The rows and the parts they were cut into, name by name."""
    cut = split.split
    return (
        ("Rows", f"{split.rows:,}, hash {split.data_hash}"),
        ("Train", f"{cut.train.rows:,} rows, decided {cut.train.first_decision:%Y-%m-%d} to "
                  f"{cut.train.last_decision:%Y-%m-%d}"),
        ("Validation", f"{cut.validation.rows:,} rows, from {cut.validation_start:%Y-%m-%d}"),
        ("Test", f"{cut.test.rows:,} rows, from {cut.test_start:%Y-%m-%d} to {cut.test.last_decision:%Y-%m-%d}"),
        ("Left out", f"{cut.purged_rows:,} purged, {cut.filtered_rows:,} below the quality filter, "
                     f"{cut.unlabelled_rows:,} whose next window has not ended"),
    )  # fmt: skip


def reproduction(models: Sequence[EvaluatedModel], split: SplitRecord) -> str:
    """The shell command that trains and evaluates the models again, with their parameters and stakes, on the same rows.

    It cannot repeat an incremental update: it trains such a model in full, and a comment says so.
    """
    chosen = ["temporal_split"]
    config: dict[str, object] = {"temporal_split": {"config": split.spec.model_dump(mode="json")}}
    comments = ""
    for model in models:
        chosen += [f"{model.family}_{part}" for part in ("study", "model", "evaluation")]
        config[f"{model.family}_study"] = {"config": {"n_trials": 0, "params": model.params, "seed": model.seed}}
        config[f"{model.family}_evaluation"] = {"config": model.staking.model_dump(mode="json")}
        if model.training != "full":
            comments += (
                f"# {model.family} v{model.version} is an incremental update of v{model.parent_version}; this trains "
                "it in full with the same parameters, so its figures will differ.\n"
            )
    return comments + (
        "PYTHONWARNINGS=ignore dagster asset materialize -m cleverbetter_dagster.definitions \\\n"
        f"  --select {shlex.quote(','.join(chosen))} --partition {split.as_of} \\\n"
        f"  --config-json {shlex.quote(json.dumps({'ops': config}))}"
    )


def _ranking(row: LeaderboardRow) -> str:
    auc = _with_ends(row.auc_within_months, decimal)
    return f"On {row.n_rows:,} test rows of {row.n_months} months its AUC within months is {auc}."


def _beside_others(own: LeaderboardRow, leaderboard: Sequence[LeaderboardRow]) -> str:
    mine = own.brier.point
    better = [row.name for row in leaderboard if mine is not None and (row.brier.point or 0.0) < mine]
    rank = f"above that of {sentence_list(better)}" if better else "the lowest of all"
    return f"Its Brier score of {decimal(mine, 4)} is {rank}."


def _earnings(row: LeaderboardRow) -> str:
    if row.roi.point is None:
        return "It would have staked nothing."
    unclear = row.roi.low is not None and row.roi.high is not None and row.roi.low <= 0 <= row.roi.high
    clear = ", which is compatible with no profit at all" if unclear else ""
    return f"Its stakes would have returned {_with_ends(row.roi, percent)}{clear}."


def _with_ends(estimate: Estimate, shown: Format) -> str:
    if estimate.point is None:
        return "not defined"
    return f"{shown(estimate.point)} ({estimate.span(shown)})"
