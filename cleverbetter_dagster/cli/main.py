"""The command `cleverbetter`. Every command is a module of its own beside this one; a new one is one line here.

These modules import what is slow (pandas, Dagster, MLflow, SQLAlchemy) inside their functions, so that `--help`
answers at once.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from cleverbetter_dagster.cli.demo import demo
from cleverbetter_dagster.cli.down import down
from cleverbetter_dagster.cli.import_rows import import_rows
from cleverbetter_dagster.cli.report import report
from cleverbetter_dagster.cli.status import status
from cleverbetter_dagster.cli.up import up
from cleverbetter_dagster.errors import CleverBetterError

app = typer.Typer(
    help="Trains, judges, promotes and keeps retraining the models that decide which betting strategies to run next.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they hold passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(up)
app.command()(down)
app.command()(status)
app.command("import")(import_rows)
app.command()(report)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cleverbetter {version('cleverbetter-dagster')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """What holds for every command."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    try:
        app(prog_name="cleverbetter")
    except CleverBetterError as error:
        console = Console(stderr=True, highlight=False)
        console.print("Error:", style="bold red", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)  # unbroken, so that it can be copied
        sys.exit(1)


if __name__ == "__main__":
    main()
