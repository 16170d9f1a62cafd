"""`cleverbetter quarantine`: lists, shows, repairs and examines again the rows that cannot be right."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, Yes
from cleverbetter_dagster.cli.output import ExitCode, ResultTable, confirm, print_json, progress_console, result_console
from cleverbetter_dagster.settings import load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.services.ingest.quarantine_repair import Repair, Retried
    from cleverbetter_dagster.store.quarantine import Entry

app = typer.Typer(help="Rows that cannot be right: list, show, repair, retry.", no_args_is_help=True)

EntryId = Annotated[int, typer.Argument(metavar="ENTRY", help="Its number in the list.", min=1, show_default=False)]


@app.command("list", epilog="[bold]Example[/]\ncleverbetter quarantine list --column win_rate --reason within")
def list_entries(
    status: Annotated[str, typer.Option(help="pending, repaired or all.")] = "pending",
    table: Annotated[str, typer.Option(help="Part of the table's name.")] = "",
    source: Annotated[str, typer.Option(help="Part of the name of the file or table where it was found.")] = "",
    column: Annotated[str | None, typer.Option(help="The column with the wrong value.")] = None,
    row: Annotated[str | None, typer.Option(help="The id of the row.")] = None,
    reason: Annotated[str, typer.Option(help="Part of the reason.")] = "",
    limit: Annotated[int, typer.Option(help="Newest entries to show.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """The entries in quarantine, newest first: file, line, column, value and reason."""
    from cleverbetter_dagster.store.quarantine import Filter, open_quarantine, select_entries

    if status not in ("pending", "repaired", "all"):
        raise typer.BadParameter(f"{status!r} is no status; choose pending, repaired or all", param_hint="--status")
    wanted = Filter(status, table, source, column, row, reason)  # type: ignore[arg-type]
    with open_quarantine(load_settings()) as connection:
        entries = select_entries(connection, wanted, limit)
    if as_json:
        print_json(entries)
    elif not entries:
        result_console().print("No entry in quarantine matches.")
    else:
        _show_list(entries, limit, result_console())


@app.command(epilog="[bold]Example[/]\ncleverbetter quarantine show 17")
def show(entry_id: EntryId, as_json: AsJson = False) -> None:
    """One entry, with its row as it was found."""
    from cleverbetter_dagster.store.quarantine import open_quarantine, select_entry

    with open_quarantine(load_settings()) as connection:
        entry = select_entry(connection, entry_id)
    if as_json:
        print_json(entry)
        return
    table = ResultTable(f"Entry {entry.id}", ("", " "))
    for name, value in vars(entry).items():
        if name != "raw" and value is not None:
            table.add_row(name, Text(str(value)))
    table.add_row("the row", Text(_pretty(entry.raw)))
    result_console().print(table)


@app.command(
    epilog="[bold]Examples[/]\ncleverbetter quarantine repair 17 --set win_rate=0.55\n"
    "cleverbetter quarantine repair 17 --set end_date=2023-05-31T23:59:59Z --set win_rate=0.55 --yes"
)
def repair(
    entry_id: EntryId,
    changes: Annotated[
        list[str],
        typer.Option("--set", metavar="COLUMN=VALUE", help="A correction; may be repeated.", show_default=False),
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Correct values of a quarantined row, and load it if it can be right then. Otherwise nothing changes."""
    from cleverbetter_dagster.services.ingest import quarantine_repair as repairing

    settings, console = load_settings(), progress_console()
    planned = repairing.plan_repair(settings, entry_id, dict(map(_change, changes)))
    _show_plan(planned, console)
    confirm(f"Load the row into {planned.entry.table_name}?", yes)
    done = repairing.repair(settings, planned)
    if as_json:
        print_json(done)
    elif done.loaded:
        shown = result_console()
        shown.print(f"Loaded; {done.settled} {'entry is' if done.settled == 1 else 'entries are'} settled.")
        _show_months(done.months, shown)
    if not done.loaded:
        reasons = "\n".join(f"  {reason}" for reason in done.still_wrong)
        console.print(f"It is still wrong, and nothing was changed:\n{reasons}", markup=False, highlight=False)
        raise typer.Exit(ExitCode.REFUSED)


@app.command(epilog="[bold]Example[/]\ncleverbetter quarantine retry")
def retry(as_json: AsJson = False) -> None:
    """Examine all pending rows again, after the rules or upstream rows changed, and load those that are right now."""
    from cleverbetter_dagster.services.ingest import quarantine_repair as repairing

    with progress_console().status("examining everything in quarantine again"):
        done = repairing.retry(load_settings())
    if as_json:
        print_json(done)
    else:
        _show_retried(done, result_console())
    if done.rows and not done.loaded:
        progress_console().print("None of the rows can be right now, and nothing was changed.")
        raise typer.Exit(ExitCode.REFUSED)


def _change(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name.strip():
        raise typer.BadParameter(f"{text!r} is no correction; write column=value", param_hint="--set")
    return name.strip(), value


def _show_list(entries: list["Entry"], limit: int, console: Console) -> None:
    table = ResultTable("In quarantine", ("entry", "row", "column", "value", "reason", "found in", "line", "status"))
    for entry in entries:
        facts = (entry.id, entry.row_id, entry.column_name, entry.value, entry.reason, entry.source, entry.line)
        table.add_row(*(Text("" if fact is None else str(fact)) for fact in (*facts, entry.status)))
    console.print(table)
    if len(entries) == limit:
        console.print(f"The newest {limit}; --limit shows more.", style="dim")


def _show_plan(planned: "Repair", console: Console) -> None:
    table = ResultTable(f"Row {planned.entry.row_id or '(no id)'}", ("column", "as it is", "corrected"))
    for name, value in planned.corrections.items():
        table.add_row(Text(name), Text(str(planned.row[name])), Text(value))
    console.print(table)


def _show_retried(done: "Retried", console: Console) -> None:
    console.print(f"{done.rows:,} rows examined, {done.loaded:,} of them right now ({done.settled:,} entries settled).")
    for title, counts in (("Still wrong", done.still_wrong), ("Not examined", done.skipped)):
        if counts:
            table = ResultTable(title, ("reason",), ("rows",))
            for reason, count in counts.items():
                table.add_row(Text(reason), f"{count:,}")
            console.print(table)
    _show_months(done.months, console)


def _show_months(months: tuple[str, ...], console: Console) -> None:
    if months:
        console.print(f"The rows of {', '.join(months)} changed: load them (job load_rows) and train again.")


def _pretty(raw: str | None) -> str:
    if raw is None:
        return "is in the table itself"
    try:
        return json.dumps(json.loads(raw), indent=2)
    except ValueError:
        return raw
