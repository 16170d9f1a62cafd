"""The command `cleverbetter`. Each command is in a module beside this one; a new one is one entry in `COMMANDS`.

These modules import slow packages (pandas, Dagster, MLflow, SQLAlchemy) inside their functions, so that `--help`
answers at once.
"""

import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from cleverbetter_dagster.cli import alerts
from cleverbetter_dagster.cli.champion.explain import explain
from cleverbetter_dagster.cli.champion.predict import predict
from cleverbetter_dagster.cli.champion.promotion import history, promote, rollback
from cleverbetter_dagster.cli.demo import demo
from cleverbetter_dagster.cli.doctor import doctor
from cleverbetter_dagster.cli.models.backfill import backfill
from cleverbetter_dagster.cli.models.evaluate import compare, evaluate
from cleverbetter_dagster.cli.models.report import report
from cleverbetter_dagster.cli.models.retrain import retrain
from cleverbetter_dagster.cli.models.simulate_retraining import simulate_retraining
from cleverbetter_dagster.cli.models.train import train, tune
from cleverbetter_dagster.cli.output import MEANINGS, ExitCode, VisibleConsole, exit_code
from cleverbetter_dagster.cli.rows import quarantine
from cleverbetter_dagster.cli.rows.import_rows import import_rows
from cleverbetter_dagster.cli.servers.api import api
from cleverbetter_dagster.cli.servers.backup import backup, restore
from cleverbetter_dagster.cli.servers.down import down
from cleverbetter_dagster.cli.servers.reset import reset
from cleverbetter_dagster.cli.servers.serve import serve
from cleverbetter_dagster.cli.servers.status import status
from cleverbetter_dagster.cli.servers.up import up
from cleverbetter_dagster.cli.servers.worker import worker
from cleverbetter_dagster.cli.settings_table import settings_table
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.escaping import visible
from cleverbetter_dagster.redaction import message_of, redacted

COMMANDS: dict[str, dict[str, tuple[Callable[..., None], tuple[str, ...]]]] = {
    "Getting started": {
        "demo": (demo, ("", "--seed 3")),
        "up": (up, ("", "--detach", "--port 3100 --no-mlflow")),
        "worker": (worker, ("", "--slots 4")),
        "api": (api, ("", "--host 0.0.0.0 --port 8080")),
        "down": (down, ("",)),
        "status": (status, ("", "--json")),
    },
    "Rows": {
        "import": (
            import_rows,
            (
                "--results backtest_results.parquet --features ml_features.parquet",
                "--results new.csv.gz --json",
                "--results backtest-result.zip --preset freqtrade",
                "--results orders.txt --preset flumine --set initial_capital=1000",
            ),
        ),
    },
    "Training and judging": {
        "train": (
            train,
            (
                "ensemble",
                "ensemble --incremental",
                "classifier --as-of 2023-10 --set min_composite_score=0.5 --trials 50 --json",
                "ensemble --set decision_time=run_date --set params='{\"max_depth\": 3}'",
            ),
        ),
        "retrain": (retrain, ("", "--as-of 2023-11 --json")),
        "tune": (tune, ("ensemble", "ensemble --trials 200 --set timeout_seconds=3600")),
        "backfill": (
            backfill,
            (
                "--from 2023-01 --to 2023-11",
                "--from 2023-01 --to 2023-11 --family ensemble --trials 20 --again",
            ),
        ),
        "evaluate": (evaluate, ("ensemble", "classifier --as-of 2023-10 --json")),
        "compare": (compare, ("", "--as-of 2023-11")),
        "report": (report, ("--family ensemble --as-of 2023-10", "--kind comparison --output report.html")),
        "simulate-retraining": (simulate_retraining, ("--from 2022-01 --to 2023-11",)),
    },
    "The champion": {
        "predict": (
            predict,
            ("", "--csv stakes.csv", "--renew --json", "--what-if kelly_fraction=0.1", "--set max_stake_fraction=0.01"),
        ),
        "explain": (explain, ("back_7", "'Lay the favourite' --json")),
        "promote": (
            promote,
            (
                "ensemble 3 --reason 'better calibrated in October'",
                "classifier 7 --reason 'the ensemble cannot be trained today' --override-gate --yes",
            ),
        ),
        "rollback": (
            rollback,
            ("--reason 'stakes look wrong'", "--to ensemble 2 --reason 'the last one that was right' --yes"),
        ),
        "history": (history, ("", "--decisions --limit 100 --json")),
    },
    "Maintenance": {
        "doctor": (doctor, ("", "--json")),
        "serve": (serve, ("webserver --host 0.0.0.0", "daemon", "code --check")),
        "backup": (backup, ("/backups/today.tar", "/backups/latest.tar --overwrite --json")),
        "restore": (restore, ("/backups/today.tar", "/backups/today.tar --overwrite --yes")),
        "reset": (reset, ("--demo",)),
        "settings": (settings_table, ("", "--markdown")),
    },
}
"""By topic of the help page, in the order a newcomer needs them: each command, and the arguments of its examples."""

EPILOG = "\n".join(
    [
        "[bold]First steps[/]",
        "cleverbetter demo  ·  try everything on simulated rows",
        "cleverbetter import --results backtest_results.parquet --features ml_features.parquet",
        "cleverbetter up  ·  the web UIs, schedules and sensors",
        "",
        "Every command has its own help, with examples: cleverbetter promote --help",
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


for topic, commands in COMMANDS.items():
    for name, (function, examples) in commands.items():
        lines = (f"cleverbetter {name} {arguments}".rstrip() for arguments in examples)
        app.command(name, rich_help_panel=topic, epilog="\n".join(["[bold]Examples[/]", *lines]))(function)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel="Rows")
app.add_typer(alerts.app, name="alerts", rich_help_panel="Maintenance")


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
    """Options of the program itself."""


def main() -> None:
    """Run the command line; its exit code is an `output.ExitCode`."""
    try:
        app(prog_name="cleverbetter")
    except CleverBetterError as error:
        console = VisibleConsole(stderr=True, highlight=False)
        console.print("Error:", style="bold red", end=" ")
        console.print(message_of(error), markup=False, soft_wrap=True)  # unbroken, so that it can be copied
        sys.exit(exit_code(error))
    except Exception:  # noqa: BLE001  a fault of ours, shown whole but for secrets
        typer.echo(visible(redacted(traceback.format_exc())), err=True)
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
