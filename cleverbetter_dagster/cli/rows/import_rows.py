"""`cleverbetter import`: files of backtest rows and market features into the database."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ExitCode, ResultTable, progress_console, result_console

if TYPE_CHECKING:
    from cleverbetter_dagster.store.imports.importer import ImportReport
    from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping

LIST_COMMAND = "cleverbetter quarantine list"

MOST_REASONS = 20
MOST_COLUMNS = 20

FILE_KINDS = "Parquet or a folder of it, CSV, JSON, Feather or Arrow, also as .gz, .bz2, .xz or .zst"
PRESETS = "backtesting.py, bets, flumine, freqtrade, sports-betting or vectorbt"


def _show_preset(name: str | None) -> None:
    if name is not None:
        from cleverbetter_dagster.store.imports.mapping.loading import preset_text

        typer.echo(preset_text(name), nl=False)
        raise typer.Exit


def import_rows(
    results: Annotated[list[Path] | None, typer.Option(help=f"Backtest rows: {FILE_KINDS}. May be repeated.")] = None,
    features: Annotated[
        list[Path] | None,
        typer.Option(
            help="Market features in the same kinds of files: a column of JSON objects, or a numeric column a feature. "
            "May be repeated."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"The files are exports of another tool: {PRESETS}.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Names and units of the files' columns, as TOML: see --show-preset.")
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="A column's value in all rows. May be repeated."),
    ] = None,
    percent: Annotated[
        bool,
        typer.Option("--percent", help="Recognise columns of backtest rows that are in per cent: divide them by 100."),
    ] = False,
    percent_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Divide this column by 100: total_return (or roi), win_rate or max_drawdown; may be repeated.",
            show_default=False,
        ),
    ] = None,
    negative_drawdown: Annotated[
        bool, typer.Option("--negative-drawdown", help="Drawdowns have a minus sign: take it away.")
    ] = False,
    as_json: AsJson = False,
    _shown: Annotated[
        str | None,
        typer.Option(
            "--show-preset",
            metavar="NAME",
            help="Print a preset, to start a mapping from.",
            is_eager=True,
            callback=_show_preset,
        ),
    ] = None,
) -> None:
    """Import rows from files. Rows that cannot be right go to quarantine, the others are loaded. Can be repeated."""
    from cleverbetter_dagster.cli.progress import import_progress
    from cleverbetter_dagster.settings import load_settings
    from cleverbetter_dagster.store.imports.demo import refuse_demo
    from cleverbetter_dagster.store.imports.file_units import PERCENT_NAMES, FileUnits
    from cleverbetter_dagster.store.imports.importer import FileForm, import_files

    if not results and not features:
        raise typer.BadParameter("name a file with --results, with --features, or with both")
    if unknown := [name for name in percent_column or () if name not in PERCENT_NAMES]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is never in per cent; choose {', '.join(PERCENT_NAMES)}", param_hint="--percent-column"
        )
    units = FileUnits(percent, tuple(percent_column or ()), negative_drawdown)
    form, settings = FileForm(_mapping(preset, mapping, constants or []), units), load_settings()
    refuse_demo(settings)
    with import_progress(progress_console(quiet=as_json)) as progress:
        report = import_files(settings, results, features, progress, form)
    if as_json:
        typer.echo(json.dumps(_facts(report), indent=2))
    else:
        show_import(report, result_console())
    _fail_if_refused(report)


def _mapping(preset: str | None, path: Path | None, constants: list[str]) -> "ImportMapping | None":
    from cleverbetter_dagster.store.imports.mapping import loading
    from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping

    if preset and path:
        raise typer.BadParameter("give --preset or --mapping, not both; --show-preset prints a preset to start from")
    values = dict(map(_constant, constants))
    loading.check_constants(values)
    if not preset and not path and not values:
        return None
    mapping = loading.load_preset(preset) if preset else loading.load_mapping(path) if path else ImportMapping()
    return mapping.with_constants(values)


def _constant(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name.strip():
        raise typer.BadParameter(f"{text!r} is no column with a value; write column=value", param_hint="--set")
    return name.strip(), value


def show_import(report: "ImportReport", console: Console) -> None:
    """The closing table: what happened to the rows of each file, and why rows are in quarantine."""
    counted = ("read", "new", "replaced", "unchanged", "quarantined")
    table = ResultTable(f"Imported in {report.seconds:.1f} s", ("file",), counted)
    for file in report.files:
        counts = (file.rows_read, file.inserted, file.updated, file.unchanged, file.quarantined)
        table.add_row(Text(Path(file.source).name), *(f"{count:,}" for count in counts))
    console.print(table)
    for file in report.files:
        text = f"{Path(file.source).name} went into {file.table}"
        if file.ignored_columns:
            names = ", ".join(file.ignored_columns[:MOST_COLUMNS])
            more = len(file.ignored_columns) - MOST_COLUMNS
            text += f", which has no place for the columns {names}" + (f" and {more} more" if more > 0 else "")
        if file.converted_columns:
            text += f"; converted to its units: {', '.join(file.converted_columns)}"
        console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)
        if file.left_out:
            text = f"Market features of {Path(file.source).name} that are no numbers, so not used: "
            console.print(text + file.left_out.non_numeric_listed, markup=False, highlight=False, soft_wrap=True)
    if estimates := report.total("left_out_rows"):
        text = f"{estimates:,} rows are of methods that are no backtests, so not used (CLEVERBETTER_LEFT_OUT_METHODS)."
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if report.total("quarantined"):
        _show_reasons(report, console)


def _fail_if_refused(report: "ImportReport") -> None:
    """End with the exit code of refused rows if no row of a file is in its table."""
    refused = [Path(file.source).name for file in report.files if file.refused]
    if refused:
        progress_console().print(
            f"No row of {' and '.join(refused)} was loaded: `{LIST_COMMAND}` has the reasons.", highlight=False
        )
        raise typer.Exit(ExitCode.REFUSED)


def _show_reasons(report: "ImportReport", console: Console) -> None:
    table = ResultTable("Quarantined: not loaded until repaired", ("reason",), ("values",))
    reasons = [(count, reason) for file in report.files for reason, count in file.reasons.items()]
    for count, reason in sorted(reasons, reverse=True)[:MOST_REASONS]:
        table.add_row(Text(reason), f"{count:,}")
    console.print(table)
    quarantined, rows = report.total("quarantined"), report.total("rows_read")
    others = ", the others were" if quarantined < rows else ""
    console.print(
        f"{quarantined:,} of {rows:,} rows were not loaded{others}. To see them, with file, line and value:\n"
        f"  {LIST_COMMAND}\nCorrect them there (`cleverbetter quarantine repair --help`), or in the file and import it "
        "again: loaded rows stay as they are, and corrected rows count as repaired.",
        highlight=False,
        soft_wrap=True,
    )


def _facts(report: "ImportReport") -> dict[str, object]:
    from dataclasses import asdict

    totals = {name: report.total(name) for name in ("rows_read", "inserted", "updated", "unchanged", "quarantined")}
    files = [asdict(file) | {"left_out": file.left_out.model_dump()["non_numeric"]} for file in report.files]
    return {**totals, "seconds": report.seconds, "files": files}
