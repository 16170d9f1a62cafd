"""`cleverbetter promote`, `rollback` and `history`: who is champion, by whose decision, and since when."""

import getpass
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, Family, Reason, Yes
from cleverbetter_dagster.cli.output import confirm, plain_table, print_json, progress_console, result_console
from cleverbetter_dagster.settings import load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.services.champion.manual_promotion import Review
    from cleverbetter_dagster.store.ledger.ledger import LedgerEntry, Reign


def promote(
    family: Family,
    version: Annotated[int, typer.Argument(help="Its registered version.", min=1, show_default=False)],
    reason: Reason,
    override_gate: Annotated[
        bool, typer.Option("--override-gate", help="Promote although the gate refuses; the ledger records it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a registered model the champion of its month, if the gate lets it through."""
    from cleverbetter_dagster.services.champion import manual_promotion

    settings, console = load_settings(), progress_console()
    grounds = manual_promotion.Grounds(reason, _actor("promote"), override_gate)
    with console.status("looking at the model, and judging it where the ledger does not say"):
        reviewed = manual_promotion.review(settings, family, version, judge=not override_gate)
    if not reviewed.is_standing and (reviewed.passes or override_gate):
        console.print(_review_panel(reviewed))
        confirm(_question(reviewed, override_gate), yes)
    outcome = manual_promotion.promote(settings, reviewed, grounds)
    if as_json:
        print_json({"action": outcome.action, "decision": _facts(outcome.entry), "champion": _facts(outcome.champion)})
        return
    told = "is champion already; nothing was added" if outcome.action == "kept" else "was promoted"
    shown = result_console()
    shown.print(f"{outcome.entry} {told}. Champion as of {outcome.champion.as_of}: [bold]{outcome.champion}[/]")
    if outcome.action == "promoted" and outcome.champion.model == outcome.entry.model:
        shown.print("`cleverbetter predict` scores every live strategy with it.", highlight=False)


def rollback(
    reason: Reason,
    to: Annotated[
        tuple[str, int] | None,
        typer.Option(metavar="FAMILY VERSION", help="The model to return to; the champion's predecessor if not given."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Return to the champion before this one, or to any that was promoted earlier."""
    from cleverbetter_dagster.services.champion import manual_promotion

    settings, console = load_settings(), progress_console()
    grounds = manual_promotion.Grounds(reason, _actor("rollback"))
    with console.status("looking at the ledger and at the files of the model to return to"):
        plan = manual_promotion.plan_rollback(settings, to)
    champion, target = (f"{entry} (as of {entry.as_of})" for entry in (plan.champion, plan.target))
    confirm(f"Withdraw {champion} and return to {target}?", yes)
    entry = manual_promotion.roll_back(settings, plan, grounds)
    if as_json:
        print_json({"action": entry.action, "withdrawn": _facts(plan.champion), "champion": _facts(entry)})
        return
    shown = result_console()
    shown.print(f"{plan.champion} was withdrawn. Champion as of {entry.as_of}: [bold]{entry}[/]")
    shown.print("`cleverbetter predict` scores every live strategy with it.", highlight=False)


def history(
    limit: Annotated[int, typer.Option(help="Newest entries to show.", min=1)] = 20,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Every decision, refusals included, instead of the champions.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Which model was champion when, and why."""
    from cleverbetter_dagster.store.ledger import ledger

    settings = load_settings()
    reigns = ledger.reigns(settings)[-limit:]
    entries = ledger.history(settings, limit)
    if as_json:
        champions = [{"since": reign.since, "until": reign.until, **_facts(reign.entry)} for reign in reigns]
        print_json({"champions": champions, "decisions": [_facts(entry) for entry in entries]})
    elif decisions:
        _show_decisions(entries, result_console())
    else:
        _show_reigns(reigns, result_console())


def _actor(command: str) -> str:
    return f"cleverbetter {command} by {getpass.getuser()}@{socket.gethostname()}"


def _question(reviewed: "Review", override_gate: bool) -> str:
    against = "" if reviewed.passes or not override_gate else " AGAINST THE GATE"
    name = f"{reviewed.version.family} v{reviewed.version.version}"
    if not reviewed.becomes_champion:
        return (
            f"Promote {name}{against} for {reviewed.version.as_of} only? {reviewed.champion} of a later month stays "
            "the champion; to replace it use `cleverbetter rollback --to`."
        )
    instead = f" in place of {reviewed.champion}" if reviewed.champion else ""
    return f"Make {name} the champion{instead}{against}?"


def _review_panel(reviewed: "Review") -> Panel:
    where = {"ledger": "from the ledger", "anew": "judged just now", "none": "none"}[reviewed.source]
    reasons = reviewed.verdict.reasons if reviewed.verdict else (reviewed.trouble or "",)
    verdict = "passes" if reviewed.passes else "refuses" if reviewed.verdict else "has no verdict"
    found = reviewed.version
    title = f"{found.family} v{found.version}, as of {found.as_of}"
    lines = [f"The gate {verdict} ({where}).", *(f"• {reason}" for reason in reasons)]
    if found.model_family != found.family:
        lines.append(f"It holds a model of the family {found.model_family}.")
    if found.staking_spec:
        lines.append(f"It stakes with {', '.join(f'{name} {value:g}' for name, value in found.staking_spec)}.")
    return Panel(Text("\n".join(lines)), title=Text(title), title_align="left")


def _facts(entry: "LedgerEntry") -> dict[str, Any]:
    from cleverbetter_dagster.services.champion.manual_promotion import is_overridden

    names = ("id", "decided_at", "action", "family", "version", "as_of", "run_id", "reason", "actor", "dagster_run_id")
    found = {name: getattr(entry, name) for name in names}
    previous = f"{entry.previous[0]} v{entry.previous[1]}" if entry.previous else None
    return {**found, "previous": previous, "gate_overridden": is_overridden(entry)}


def _how(entry: "LedgerEntry") -> str:
    from cleverbetter_dagster.services.champion.manual_promotion import is_overridden

    return f"{entry.action.replace('_', ' ')}{', gate overridden' if is_overridden(entry) else ''}"


def _show_reigns(reigns: list["Reign"], console: Console) -> None:
    if not reigns:
        console.print("No model was champion yet. `cleverbetter history --decisions` lists refusals.")
        return
    table = plain_table("Champions, times in UTC", ("champion", "as of", "since", "until", "how", "why", "by"))
    for reign in reversed(reigns):
        entry, until = reign.entry, _minute(reign.until) if reign.until else "now"
        facts = (str(entry), entry.as_of, _minute(reign.since), until, _how(entry), entry.reason, entry.actor)
        table.add_row(*map(Text, facts), style="bold" if reign.until is None else "")
    console.print(table)


def _show_decisions(entries: list["LedgerEntry"], console: Console) -> None:
    table = plain_table(
        "Decisions, newest first, times in UTC", ("when", "model", "as of", "decision", "before", "why", "by")
    )
    for entry in entries:
        before = f"{entry.previous[0]} v{entry.previous[1]}" if entry.previous else "nobody"
        facts = (_minute(entry.decided_at), str(entry), entry.as_of, _how(entry), before, entry.reason, entry.actor)
        table.add_row(*map(Text, facts))
    console.print(table)


def _minute(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}"
