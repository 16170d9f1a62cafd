"""The command `cleverbetter`. Every command is in a module beside this one; a new one is one line here.

These modules import what is slow (pandas, Dagster, MLflow, SQLAlchemy) inside their functions, so that `--help`
answers at once.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from cleverbetter_dagster.cli import settings_table
from cleverbetter_dagster.cli.demo import demo
from cleverbetter_dagster.cli.doctor import doctor
from cleverbetter_dagster.cli.models import promotion, results
from cleverbetter_dagster.cli.models.backfill import backfill
from cleverbetter_dagster.cli.models.report import report
from cleverbetter_dagster.cli.models.simulate_retraining import simulate_retraining
from cleverbetter_dagster.cli.models.train import train, tune
from cleverbetter_dagster.cli.output import MEANINGS, exit_code
from cleverbetter_dagster.cli.rows import quarantine
from cleverbetter_dagster.cli.rows.import_rows import import_rows
from cleverbetter_dagster.cli.servers.api import api
from cleverbetter_dagster.cli.servers.down import down
from cleverbetter_dagster.cli.servers.status import status
from cleverbetter_dagster.cli.servers.up import up
from cleverbetter_dagster.errors import CleverBetterError

START, ROWS, MODELS, CHAMPION, CARE = (
    "Getting started",
    "Rows",
    "Training and judging",
    "The champion",
    "Looking after it",
)
"""Topics of the help page, in the order a newcomer needs them."""

EPILOG = "\n".join(
    [
        "[bold]First steps[/]",
        "cleverbetter demo  ·  try everything on simulated rows",
        "cleverbetter import --results backtest_results.parquet --features ml_features.parquet",
        "cleverbetter up  ·  the web UIs, schedules and sensors",
        "",
        "Each command says more, with examples: cleverbetter promote --help",
        "",
        "[bold]Exit codes[/]",
        *(f"{code.value}  {meaning}" for code, meaning in MEANINGS.items()),
    ]
)

app = typer.Typer(
    help="Trains, judges, promotes and keeps retraining the models that decide which betting strategies to run next.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they hold passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _examples(*lines: str) -> str:
    return "\n".join(["[bold]Examples[/]", *lines])


app.command(rich_help_panel=START, epilog=_examples("cleverbetter demo", "cleverbetter demo --seed 3"))(demo)
app.command(
    rich_help_panel=START,
    epilog=_examples("cleverbetter up", "cleverbetter up --detach", "cleverbetter up --port 3100 --no-mlflow"),
)(up)
app.command(
    rich_help_panel=START,
    epilog=_examples("cleverbetter api", "cleverbetter api --host 0.0.0.0 --port 8080"),
)(api)
app.command(rich_help_panel=START, epilog=_examples("cleverbetter down"))(down)
app.command(rich_help_panel=START, epilog=_examples("cleverbetter status", "cleverbetter status --json"))(status)
app.command(
    "import",
    rich_help_panel=ROWS,
    epilog=_examples(
        "cleverbetter import --results backtest_results.parquet --features ml_features.parquet",
        "cleverbetter import --results new.csv.gz --json",
    ),
)(import_rows)
app.command(
    rich_help_panel=MODELS,
    epilog=_examples(
        "cleverbetter train ensemble",
        "cleverbetter train ensemble --incremental",
        "cleverbetter train classifier --as-of 2023-10 --set min_composite_score=0.5 --trials 50 --json",
        "cleverbetter train ensemble --set decision_time=run_date --set params='{\"max_depth\": 3}'",
    ),
)(train)
app.command(
    rich_help_panel=MODELS,
    epilog=_examples(
        "cleverbetter tune ensemble", "cleverbetter tune ensemble --trials 200 --set timeout_seconds=3600"
    ),
)(tune)
app.command(
    rich_help_panel=MODELS,
    epilog=_examples(
        "cleverbetter backfill --from 2023-01 --to 2023-11",
        "cleverbetter backfill --from 2023-01 --to 2023-11 --family ensemble --trials 20 --again",
    ),
)(backfill)
app.command(
    rich_help_panel=MODELS,
    epilog=_examples("cleverbetter evaluate ensemble", "cleverbetter evaluate classifier --as-of 2023-10 --json"),
)(results.evaluate)
app.command(rich_help_panel=MODELS, epilog=_examples("cleverbetter compare", "cleverbetter compare --as-of 2023-11"))(
    results.compare
)
app.command(rich_help_panel=CHAMPION, epilog=_examples("cleverbetter predict", "cleverbetter predict --json"))(
    results.predict
)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel=ROWS)
app.command(
    rich_help_panel=CHAMPION,
    epilog=_examples(
        "cleverbetter promote ensemble 3 --reason 'better calibrated in October'",
        "cleverbetter promote classifier 7 --reason 'the ensemble cannot be trained today' --override-gate --yes",
    ),
)(promotion.promote)
app.command(
    rich_help_panel=CHAMPION,
    epilog=_examples(
        "cleverbetter rollback --reason 'stakes look wrong'",
        "cleverbetter rollback --to ensemble 2 --reason 'the last one that was right' --yes",
    ),
)(promotion.rollback)
app.command(
    rich_help_panel=CHAMPION,
    epilog=_examples("cleverbetter history", "cleverbetter history --decisions --limit 100 --json"),
)(promotion.history)
app.command(rich_help_panel=CARE, epilog=_examples("cleverbetter doctor", "cleverbetter doctor --json"))(doctor)
app.command(
    rich_help_panel=MODELS,
    epilog=_examples(
        "cleverbetter report --family ensemble --as-of 2023-10",
        "cleverbetter report --kind comparison --output report.html",
    ),
)(report)
app.command(
    "simulate-retraining",
    rich_help_panel=MODELS,
    epilog=_examples("cleverbetter simulate-retraining --from 2022-01 --to 2023-11"),
)(simulate_retraining)
app.command(
    "settings",
    rich_help_panel=CARE,
    epilog=_examples("cleverbetter settings", "cleverbetter settings --markdown"),
)(settings_table.settings_table)


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
    """Run the command line; how it ends is an `output.ExitCode`."""
    try:
        app(prog_name="cleverbetter")
    except CleverBetterError as error:
        console = Console(stderr=True, highlight=False)
        console.print("Error:", style="bold red", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)  # unbroken, so that it can be copied
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
