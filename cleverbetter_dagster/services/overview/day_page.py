"""The page of a day, as a plain view for the template of the reports."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cleverbetter_dagster.dataset.schema import METHOD, STRATEGY
from cleverbetter_dagster.escaping import visible
from cleverbetter_dagster.evaluation.charts.money import bankroll_chart
from cleverbetter_dagster.evaluation.report.view import Link, Notice, Number, Report, Section, Table
from cleverbetter_dagster.evaluation.texts import decimal, percent
from cleverbetter_dagster.services.overview.strategy_page import day, window
from cleverbetter_dagster.services.overview.today import CLOSES, NAME, OPENS, SHOWN, Today, age
from cleverbetter_dagster.store.ledger.ledger import LedgerEntry
from cleverbetter_dagster.store.unfinished_runs import UnfinishedRun

SHOWN_DECISIONS, LONGEST_REASON = 5, 160
OK = "ok"


@dataclass(frozen=True)
class Surroundings:
    """What a server knows beside the facts of the day.

    Attributes:
        decisions: the last ones, newest first.
        failed_checks: by check of the champion and its predictions, the month it failed at.
        health: state of each part, `ok` or what is wrong.
        reports: kind and month of the newest reports.
        strategy_href: address of the page of a strategy; `report_href` that of a report.
    """

    decisions: Sequence[LedgerEntry]
    runs: Sequence[UnfinishedRun]
    failed_checks: Mapping[str, str]
    health: Mapping[str, str]
    reports: Mapping[str, str]
    strategy_href: Callable[[str], str]
    report_href: Callable[[str, str], str]
    links: tuple[Link, ...] = ()
    search: str = ""
    notices: tuple[str, ...] = ()


def day_page(facts: Today, around: Surroundings) -> Report:
    """The page of the day."""
    warnings = [*facts.warnings, *_failed(around)]
    champion = facts.champion
    return Report(
        title="Today",
        subtitle=f"cleverbetter, {facts.now:%Y-%m-%d %H:%M} UTC",
        headline=f"Champion: {champion}" if champion else "No champion",
        tone="bad" if warnings or champion is None else "good",
        summary=_summary(facts),
        reasons=tuple(line for line in champion.reason.splitlines() if line.strip()) if champion else (),
        open_reasons=False,
        notices=tuple(Notice(text) for text in warnings),
        sections=(
            _stakes(facts, around),
            _ages(facts),
            _earned(facts),
            _work(facts, around),
            _decisions(around),
            _health(around),
        ),
        links=around.links,
        search=around.search,
    )


def _failed(around: Surroundings) -> list[str]:
    return [
        f"The check {name} failed as of {month}. Dagster shows why, and what to do." if month else name
        for name, month in around.failed_checks.items()
    ]


def _summary(facts: Today) -> str:
    champion = facts.champion
    if champion is None:
        return "No model has earned promotion yet, so there is nothing to stake on."
    how = "was returned to" if champion.action == "rolled_back" else "was promoted"
    text = f"{champion}, as of {champion.as_of}, {how} on {day(champion.decided_at)} by {champion.actor}."
    if facts.stakes.empty:
        return text
    total = percent(float(facts.stakes["recommended_stake"].sum()))
    staked = f"{len(facts.staked):,} of {len(facts.stakes):,} strategies"
    return f"{text} It advises stakes on {staked}, together {total} of the bankroll."


def _stakes(facts: Today, around: Surroundings) -> Section:
    stakes = facts.stakes
    if stakes.empty:
        return Section("Stakes", "There are none now.")
    first = stakes.iloc[0]
    several = len(set(stakes[METHOD])) > 1
    rows = tuple(_stake(row, several, around) for row in facts.staked.head(SHOWN).to_dict("records"))
    more = len(facts.staked) - len(rows)
    return Section(
        "Stakes",
        "Fractions of the bankroll, for each strategy's next window: it begins where its last one ended, and is taken "
        "to be as long.",
        numbers=(
            Number("Staked together", percent(float(stakes["recommended_stake"].sum())), _most(facts)),
            Number("Strategies", f"{len(facts.staked):,}", f"of {len(stakes):,} scored as of {first['as_of']}"),
            Number("Independent bets", decimal(first["effective_bets"], 1), "they amount to"),
            Number("Common", percent(first["common_share"], 0), "of what they risk moves together"),
        ),
        tables=(
            Table(
                "Largest first",
                ("strategy", "stake", "probability", "return to expect", "window"),
                rows,
                (f"{more:,} more. " if more else "") + "`cleverbetter predict --csv stakes.csv` writes all to a file.",
                texts=("window",),
            ),
        ),
    )


def _most(facts: Today) -> str:
    if facts.scoring is None:
        return "of the bankroll"
    held = f", {percent(facts.scoring.open_fraction, 0)} open from before" if facts.scoring.open_fraction else ""
    return f"at most {percent(facts.scoring.staking.max_total_fraction, 0)}{held}"


def _stake(row: Mapping[object, object], several: bool, around: Surroundings) -> tuple[str | Number | Link, ...]:
    strategy, name = str(row[STRATEGY]), row[NAME]
    shown = visible(strategy if pd.isna(name) else str(name))  # type: ignore[call-overload]
    return (
        Link(f"{shown} ({row[METHOD]})" if several else shown, around.strategy_href(strategy)),
        percent(row["recommended_stake"], 2),  # type: ignore[arg-type]
        percent(row["probability"]),  # type: ignore[arg-type]
        percent(row["expected_return"], 2, signed=True),  # type: ignore[arg-type]
        "not known" if pd.isna(row[OPENS]) else window(row[OPENS], row[CLOSES]),  # type: ignore[call-overload, arg-type]
    )


def _ages(facts: Today) -> Section:
    newest, scoring = facts.newest_window, facts.scoring
    return Section(
        "How fresh it is",
        numbers=(
            Number(
                "Newest window loaded",
                day(newest) if newest else "none",
                f"ended {age(facts.now - newest)} ago" if newest else "",
            ),
            Number(
                "Stakes made",
                day(scoring.scored_at) if scoring else "not known",
                f"{age(facts.now - scoring.scored_at)} ago, {scoring.scored_at:%H:%M} UTC" if scoring else "",
            ),
        ),
    )


def _earned(facts: Today) -> Section:
    title, earned = "What they would have earned so far", facts.earned
    if earned is None:
        return Section(title, "No window has closed yet that a prediction was made for.")
    late = f" {earned.late:,} of these stakes were written after their window had closed." if earned.late else ""
    return Section(
        title,
        f"The {earned.stakes:,} stakes advised for windows that have closed, each settled when its window closed, "
        f"against the same stake on each of the {earned.predictions:,} strategies that were scored, within the same "
        f"bounds. Returns are those of backtests.{late}",
        numbers=(
            Number("As advised", percent(earned.advised.growth, signed=True), "growth of the bankroll"),
            Number("Equal stakes", percent(earned.equal.growth, signed=True), "growth of the bankroll"),
            Number("Deepest drawdown", percent(earned.advised.metrics.max_drawdown), "as advised"),
            Number("Windows won", percent(earned.advised.metrics.win_rate), "of those staked"),
        ),
        charts=(bankroll_chart({"as advised": earned.advised, "equal stakes": earned.equal}),),
    )


def _work(facts: Today, around: Surroundings) -> Section:
    title = "Running and queued"
    if not around.runs:
        return Section(title, "Nothing is running or queued.")
    rows = tuple(
        (str(run), run.state, f"{age(facts.now - run.since)}", run.run_id.partition("-")[0]) for run in around.runs
    )
    return Section(title, tables=(Table("Runs", ("run", "state", "for", "id"), rows),))


def _decisions(around: Surroundings) -> Section:
    rows = tuple(
        (str(one), one.action.replace("_", " "), day(one.decided_at), one.as_of, _beginning(one.reason))
        for one in around.decisions[:SHOWN_DECISIONS]
    )
    heads, note = ("model", "decision", "on", "as of", "why"), "`cleverbetter history --decisions` shows all of them."
    return Section("Last decisions", tables=(Table("Newest first", heads, rows, note, texts=("why",)),))


def _beginning(reason: str) -> str:
    return textwrap.shorten(reason, LONGEST_REASON, placeholder=" …")


def _health(around: Surroundings) -> Section:
    reports = tuple(
        (Link(f"{kind.replace('_', ' ')}", around.report_href(kind, month)), month)
        for kind, month in around.reports.items()
    )
    return Section(
        "Health and reports",
        notices=tuple(Notice(text, "plain") for text in around.notices),
        tables=(
            Table("Parts", ("part", "state"), tuple(around.health.items()), "" if _is_well(around) else WELL_COMMAND),
            Table("Newest reports", ("report", "as of"), reports),
        ),
    )


WELL_COMMAND = "`cleverbetter status` says what is up and where; `cleverbetter doctor` looks further."


def _is_well(around: Surroundings) -> bool:
    return all(state == OK for state in around.health.values())
