"""`cleverbetter doctor`: what may be wrong with this deployment, and how to mend it."""

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ExitCode, plain_table, print_json, result_console
from cleverbetter_dagster.settings import load_settings

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Check folder, disk, variables, packages, database, rights, clock, MLflow, champion and ports.

    Changes nothing. Exit code 1 if a check fails.
    """
    from cleverbetter_dagster.services.doctor.doctor import examine

    found = examine(load_settings())
    if as_json:
        print_json(found)
    else:
        table = plain_table("Examined", ("check", "", "found", "to mend it"))
        for finding in found:
            level = Text(finding.level, style=STYLES[finding.level])
            table.add_row(finding.name, level, Text(finding.told), Text(finding.remedy))
        result_console().print(table)
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(ExitCode.FAILED)
