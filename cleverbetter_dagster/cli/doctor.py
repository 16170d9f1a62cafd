"""`cleverbetter doctor`: what may be wrong with this deployment, and how to mend it."""

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ExitCode, ResultTable, print_json, result_console
from cleverbetter_dagster.settings import load_settings

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Check folder, disk, variables, packages, database, rights, clock, MLflow, storage, champion, ports.

    Changes nothing. Exit code 1 if a check fails.
    """
    from cleverbetter_dagster.services.doctor.doctor import examine

    lines = examine(load_settings())
    if as_json:
        print_json(lines)
    else:
        table = ResultTable("Examined", ("check", "", "result", "to mend it"))
        for line in lines:
            level = Text(line.level, style=STYLES[line.level])
            table.add_row(line.name, level, Text(line.message), Text(line.remedy))
        result_console().print(table)
    if any(line.level == "fail" for line in lines):
        raise typer.Exit(ExitCode.FAILED)
