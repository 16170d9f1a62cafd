"""`cleverbetter promote`, `rollback` and `history`: who is champion, who decided it, and since when."""

import getpass
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from cleverbetter_dagster.cli.files import write_files
from cleverbetter_dagster.cli.options import AsJson, Csv, Family, Reason, Xlsx, Yes
from cleverbetter_dagster.cli.output import (
    ResultTable,
    confirm,
    print_json,
    progress_console,
    result_console,
)
from cleverbetter_dagster.settings import load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.services.champion.manual_promotion import Review
    from cleverbetter_dagster.store.ledger.ledger import LedgerEntry, Tenure


def promote(
    family: Family,
    version: Annotated[int, typer.Argument(help="Registered version of the family.", min=1, show_default=False)],
    reason: Reason,
    override_gate: Annotated[
        bool, typer.Option("--override-gate", help="Promote although the gate refuses. The ledger records it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a registered model the champion of its month, if the gate accepts it."""
    from cleverbetter_dagster.services.champion import manual_promotion
    from cleverbetter_dagster.services.champion.renewal import stakes_line
    from cleverbetter_dagster.store.ledger import ledger

    settings, console = load_settings(), progress_console()
    context = manual_promotion.DecisionContext(reason, _actor("promote"), override_gate)
    with console.status("checking the model; if the ledger has no verdict, the gate judges it now"):
        reviewed = manual_promotion.review(settings, family, version, judge=not override_gate)
    if not reviewed.is_incumbent and (reviewed.passes or override_gate):
        console.print(_review_panel(reviewed))
        confirm(_question(reviewed, override_gate), yes)
    with console.status("promoting it, and scoring every strategy with the champion"):
        entry = manual_promotion.promote(settings, reviewed, context)
    champion, stakes = ledger.champion(settings) or entry, stakes_line(settings)
    if as_json:
        action = "kept" if reviewed.is_incumbent else "promoted"
        print_json({"action": action, "decision": _facts(entry), "champion": _facts(champion), "stakes": stakes})
        return
    result = "is champion already; nothing was added" if reviewed.is_incumbent else "was promoted"
    console = result_console()
    console.print(f"{entry} {result}. Champion as of {champion.as_of}: [bold]{champion}[/]")
    console.print(Text(stakes))


def rollback(
    reason: Reason,
    to: Annotated[
        tuple[str, int] | None,
        typer.Option(metavar="FAMILY VERSION", help="Model to return to. Default: the champion's predecessor."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Return to the previous champion, or to any model that was promoted earlier."""
    from cleverbetter_dagster.services.champion import manual_promotion
    from cleverbetter_dagster.services.champion.renewal import stakes_line

    settings, console = load_settings(), progress_console()
    context = manual_promotion.DecisionContext(reason, _actor("rollback"))
    with console.status("reading the ledger and checking the files of the model to return to"):
        plan = manual_promotion.plan_rollback(settings, to)
    champion, target = (f"{entry} (as of {entry.as_of})" for entry in (plan.champion, plan.target))
    confirm(f"Withdraw {champion} and return to {target}?", yes)
    with console.status("withdrawing it, and scoring every strategy with the champion"):
        entry = manual_promotion.roll_back(settings, plan, context)
    stakes = stakes_line(settings)
    if as_json:
        facts = {"withdrawn": _facts(plan.champion), "champion": _facts(entry), "stakes": stakes}
        print_json({"action": entry.action, **facts})
        return
    console = result_console()
    console.print(f"{plan.champion} was withdrawn. Champion as of {entry.as_of}: [bold]{entry}[/]")
    console.print(Text(stakes))


def history(
    limit: Annotated[int, typer.Option(help="Most entries to show, the newest first.", min=1)] = 20,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Show every decision, also refusals, instead of the champions.")
    ] = False,
    csv: Csv = None,
    xlsx: Xlsx = None,
    as_json: AsJson = False,
) -> None:
    """Show which model was champion when, and why. --csv and --xlsx have every decision."""
    from cleverbetter_dagster.store.ledger import ledger

    settings = load_settings()
    tenures = ledger.tenures(settings)[-limit:]
    entries = ledger.history(settings, limit)
    write_files([_facts(entry) for entry in entries], csv, xlsx)
    if as_json:
        champions = [{"since": tenure.since, "until": tenure.until, **_facts(tenure.entry)} for tenure in tenures]
        print_json({"champions": champions, "decisions": [_facts(entry) for entry in entries]})
    elif decisions:
        _show_decisions(entries, result_console())
    else:
        _show_tenures(tenures, result_console())


def _actor(command: str) -> str:
    return f"cleverbetter {command} by {getpass.getuser()}@{socket.gethostname()}"


def _question(reviewed: "Review", override_gate: bool) -> str:
    against = " AGAINST THE GATE" if override_gate and not reviewed.passes else ""
    name = f"{reviewed.version.family} v{reviewed.version.version}"
    if not reviewed.becomes_champion:
        return (
            f"Promote {name}{against} for {reviewed.version.as_of} only? {reviewed.champion} of a later month stays "
            "the champion; `cleverbetter rollback --help` says how to replace it."
        )
    instead = f" in place of {reviewed.champion}" if reviewed.champion else ""
    return f"Make {name} the champion{instead}{against}?"


def _review_panel(reviewed: "Review") -> Panel:
    source = {"ledger": "verdict in the ledger", "computed": "judged now", "none": "no verdict"}[reviewed.source]
    reasons = reviewed.verdict.reasons if reviewed.verdict else (reviewed.trouble or "",)
    verdict = "accepts it" if reviewed.passes else "refuses it" if reviewed.verdict else "did not judge it"
    version = reviewed.version
    lines = [f"The gate {verdict} ({source}).", *(f"• {reason}" for reason in reasons)]
    if version.model_family != version.family:
        lines.append(f"It holds a model of the family {version.model_family}.")
    if version.staking_spec:
        lines.append(f"It stakes with {', '.join(f'{name} {value:g}' for name, value in version.staking_spec)}.")
    title = f"{version.family} v{version.version}, as of {version.as_of}"
    return Panel(Text("\n".join(lines)), title=Text(title), title_align="left")


def _facts(entry: "LedgerEntry") -> dict[str, Any]:
    from cleverbetter_dagster.services.champion.manual_promotion import is_overridden

    names = ("id", "decided_at", "action", "family", "version", "as_of", "run_id", "reason", "actor", "dagster_run_id")
    previous = f"{entry.previous[0]} v{entry.previous[1]}" if entry.previous else None
    facts = {name: getattr(entry, name) for name in names}
    return {**facts, "previous": previous, "gate_overridden": is_overridden(entry)}


def _show_tenures(tenures: list["Tenure"], console: Console) -> None:
    if not tenures:
        console.print("No model was champion yet. `cleverbetter history --decisions` lists refusals.")
        return
    table = ResultTable("Champions, times in UTC", ("champion", "as of", "since", "until", "how", "why", "by"))
    for tenure in reversed(tenures):
        entry, until = tenure.entry, _minute(tenure.until) if tenure.until else "now"
        cells = (str(entry), entry.as_of, _minute(tenure.since), until, _how(entry), entry.reason, entry.actor)
        table.add_row(*map(Text, cells), style="bold" if tenure.until is None else "")
    console.print(table)


def _show_decisions(entries: list["LedgerEntry"], console: Console) -> None:
    table = ResultTable(
        "Decisions, newest first, times in UTC", ("when", "model", "as of", "decision", "before", "why", "by")
    )
    for entry in entries:
        before = _facts(entry)["previous"] or "none"
        cells = (_minute(entry.decided_at), str(entry), entry.as_of, _how(entry), before, entry.reason, entry.actor)
        table.add_row(*map(Text, cells))
    console.print(table)


def _how(entry: "LedgerEntry") -> str:
    return entry.action.replace("_", " ") + (", gate overridden" if _facts(entry)["gate_overridden"] else "")


def _minute(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}"
