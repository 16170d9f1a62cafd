"""What the reports share: the decision in a paragraph, the models side by side, where it all comes from."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from cleverbetter_dagster.evaluation.charts.chart import Format
from cleverbetter_dagster.evaluation.charts.estimates import forest_chart
from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow, with_first
from cleverbetter_dagster.evaluation.report.view import (
    Section,
    Table,
    Tone,
    with_interval,
)
from cleverbetter_dagster.evaluation.texts import decimal, percent, sentence_list
from cleverbetter_dagster.services.records import ChampionRecord, EvaluatedModel, SplitRecord

FORESTS = (
    ("roc_auc", "ROC AUC", "higher is better"),
    ("brier", "Brier score", "lower is better"),
    ("roi", "Return on stakes", "profit over stake"),
    ("growth", "Growth of the bankroll", "over the test rows"),
)
AS_PERCENT = {"roi", "growth"}


@dataclass(frozen=True)
class Said:
    """A decision for a person: see `Report`."""

    verdict: str
    tone: Tone
    summary: str
    reasons: tuple[str, ...]


def decision_of(
    decision: ChampionRecord | None,
    model: EvaluatedModel,
    leaderboard: Sequence[LeaderboardRow],
    broken: Sequence[str] = (),
) -> Said:
    """What was decided about a model and why. Of one that did not challenge: which did, and how it compares.

    Args:
        decision: of its as_of; None where there is none yet.
        broken: what the guards of promotion found against it.
    """
    own = next(row for row in leaderboard if row.name == model.family)
    facts = f"{_judged_on(own)} {_compared(own, leaderboard, model.family)} {_earned(own)}"
    if decision is None or _is_of_another_version(decision, model):
        summary = f"Nothing was decided about it; the asset champion of {model.as_of} does so. {facts}"
        return Said("Not decided", "bad" if broken else "plain", summary, tuple(broken))
    if (decision.challenger_family, decision.challenger_version) != (model.family, model.version):
        challenger = f"{decision.challenger_family} v{decision.challenger_version}"
        summary = f"It did not challenge the champion: {challenger} has the lowest Brier score of this month. {facts}"
        return Said("Did not challenge", "bad" if broken else "plain", summary, tuple(broken))
    return said_of_challenger(decision, facts)


def _is_of_another_version(decision: ChampionRecord, model: EvaluatedModel) -> bool:
    return decision.challenger_family == model.family and decision.challenger_version != model.version


def said_of_challenger(decision: ChampionRecord, facts: str) -> Said:
    """What became of the challenger, followed by the facts about it."""
    challenger = f"{decision.challenger_family} v{decision.challenger_version}"
    champion = f"{decision.champion_family} v{decision.champion_version}" if decision.champion_family else None
    reasons = tuple(decision.reasons)
    if decision.action == "promoted":
        return Said("Promoted", "good", f"{challenger} was promoted to champion. {facts}", reasons)
    if decision.action == "kept":
        return Said("Champion already", "good", f"{challenger} is the champion already and stays it. {facts}", reasons)
    stays = f"{champion} stays champion" if champion else "there is still no champion"
    return Said("Refused", "bad", f"{challenger} was refused, and {stays}. {facts}", reasons)


def leaderboard_section(leaderboard: Sequence[LeaderboardRow], first: str) -> Section:
    """All models side by side, `first` on top and in colour."""
    rows = with_first(leaderboard, first)
    drawn = tuple(
        forest_chart(
            title, f"{caption}; 95% intervals", [(row.name, getattr(row, metric)) for row in rows], _shown(metric)
        )
        for metric, title, caption in FORESTS
    )
    lines = tuple(
        (
            row.name,
            with_interval("", row.roc_auc),
            with_interval("", row.brier, 4),
            with_interval("", row.roi, as_percent=True),
            with_interval("", row.growth, as_percent=True),
            f"{row.n_bets:,}",
        )
        for row in leaderboard
    )
    table = Table("All figures", ("model", "AUC", "Brier score", "return on stakes", "growth", "stakes"), lines)
    text = "The same test rows, scored by every model. A model that does not beat its baselines has learned nothing."
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
    """The shell command that trains and judges the models anew, with their parameters and stakes, from the same rows.

    A model that went on from another cannot be had so: the command trains in full, and a comment says that.
    """
    chosen = ["temporal_split"]
    config: dict[str, object] = {"temporal_split": {"config": split.spec.model_dump(mode="json")}}
    for model in models:
        chosen += [f"{model.family}_{part}" for part in ("study", "model", "evaluation")]
        config[f"{model.family}_study"] = {"config": {"n_trials": 0, "params": model.params, "seed": model.seed}}
        config[f"{model.family}_evaluation"] = {"config": model.staking.model_dump(mode="json")}
    return "".join(_updated(model) for model in models) + (
        "dagster asset materialize -m cleverbetter_dagster.definitions \\\n"
        f"  --select {shlex.quote(','.join(chosen))} --partition {split.as_of} \\\n"
        f"  --config-json {shlex.quote(json.dumps({'ops': config}))}"
    )


def _updated(model: EvaluatedModel) -> str:
    if model.training == "full":
        return ""
    return (
        f"# {model.family} v{model.version} went on from v{model.parent_version}; this trains it in full with the same "
        "parameters, so its figures will differ.\n"
    )


def _judged_on(row: LeaderboardRow) -> str:
    ends = f" ({decimal(row.roc_auc.low)} to {decimal(row.roc_auc.high)})" if row.roc_auc else ""
    auc = f"{decimal(row.roc_auc.point)}{ends}" if row.roc_auc else "not defined"
    return f"On {row.n_rows:,} test rows of {row.n_months} months its AUC is {auc}."


def _compared(row: LeaderboardRow, leaderboard: Sequence[LeaderboardRow], name: str) -> str:
    if row.brier is None:
        return ""
    others = {other.name: other.brier.point for other in leaderboard if other.brier and other.name != name}
    better = [other for other, brier in others.items() if brier < row.brier.point]
    if better:
        return f"Its Brier score of {decimal(row.brier.point, 4)} is above that of {sentence_list(better)}."
    return f"Its Brier score of {decimal(row.brier.point, 4)} is the lowest of all."


def _earned(row: LeaderboardRow) -> str:
    if row.roi is None:
        return "It would have staked nothing."
    ends = f"{percent(row.roi.low)} to {percent(row.roi.high)}"
    clear = "" if row.roi.low > 0 or row.roi.high < 0 else ", which is compatible with no profit at all"
    return f"Allocating by it would have returned {percent(row.roi.point)} on the stakes ({ends}){clear}."


def _shown(metric: str) -> Format:
    if metric in AS_PERCENT:
        return lambda value: percent(value, 1)
    return lambda value: decimal(value, 3)
