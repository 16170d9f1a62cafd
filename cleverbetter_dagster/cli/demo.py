"""`cleverbetter demo`: sample rows in, a judged, registered and promoted model out, and what to look at next."""

import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import print_json, progress_console
from cleverbetter_dagster.errors import DataError
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.dataset.simulation.rows import SampleSpec
    from cleverbetter_dagster.evaluation.intervals.bootstrap import Interval
    from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
    from cleverbetter_dagster.services.records import ChampionRecord

QUICK_STUDIES = {
    "ensemble_study": {"config": {"n_trials": 5}},
    "classifier_study": {"config": {"n_trials": 0, "n_folds": 1}},
    "rl_agent_study": {"config": {"n_trials": 0, "n_folds": 1, "params": {"total_steps": 16_384}}},
}
"""A demonstration cannot wait for the hundred trials a real study takes."""

FIGURES = {"roc_auc": "ROC AUC", "brier": "Brier"}
PERCENTAGES = {"roi": "ROI", "growth": "growth"}


def demo(
    strategies: Annotated[int, typer.Option(help="Strategies to simulate.", min=50, max=2000)] = 400,
    seed: Annotated[
        int, typer.Option(help="Another seed is another world; in some of them no model earns promotion.", min=0)
    ] = 8,
    as_json: AsJson = False,
) -> None:
    """Simulate betting strategies, then train, judge, promote and predict on their backtests. Under three minutes."""
    from cleverbetter_dagster.dataset.simulation.rows import SampleSpec

    settings, console = load_settings(), progress_console(quiet=True) if as_json else Console()
    started = perf_counter()
    spec = SampleSpec(n_strategies=strategies, seed=seed)
    months = _months(spec.first_month, spec.months)
    console.rule("[bold]cleverbetter demo")
    _import_sample(settings, spec, console)
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.defs.launches import Launch

    console.print(f"\n[bold]Loading and validating[/] the rows of {spec.months} months, {months[0]} to {months[1]}")
    run_job(settings, Launch("load_rows", (), months, {}, {}), console)
    console.print(f"\n[bold]Training, judging, promoting[/] as of {months[1]}")
    run_job(settings, Launch("retrain", (), (months[1], months[1]), {}, {"ops": QUICK_STUDIES}), console)
    seconds = perf_counter() - started
    if as_json:
        print_json(_results(settings, months[1]) | {"seconds": round(seconds, 1)})
        return
    show_results(settings, months[1], console)
    console.print(f"[dim]{seconds:.0f} s in all[/]")


def _months(first: str, count: int) -> tuple[str, str]:
    import pandas as pd

    months = pd.period_range(first, periods=count, freq="M").strftime("%Y-%m")
    return months[0], months[-1]


def _import_sample(settings: Settings, spec: "SampleSpec", console: Console) -> None:
    from cleverbetter_dagster.cli.progress import import_progress
    from cleverbetter_dagster.dataset.simulation.rows import sample_rows
    from cleverbetter_dagster.store.imports.importer import import_files

    console.print(f"[bold]Simulating[/] {spec.n_strategies} strategies bet by bet over {spec.months} months")
    results, features = sample_rows(spec)
    _refuse_other_rows(settings, set(results["strategy_id"]))
    with tempfile.TemporaryDirectory() as folder, import_progress(console) as progress:
        files = Path(folder) / "backtest_results.parquet", Path(folder) / "ml_features.parquet"
        results.to_parquet(files[0])
        features.to_parquet(files[1])
        report = import_files(settings, *files, progress)
    console.print(f"  [green]✓[/] {report.inserted:,} rows imported; {report.unchanged:,} were there already")


def _refuse_other_rows(settings: Settings, sample: set[str]) -> None:
    """Simulated rows must never be mixed with a team's own."""
    import psycopg

    from cleverbetter_dagster.store.postgres.database import psycopg_connect

    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        try:
            found = connection.execute(
                "SELECT strategy_id::text FROM backtest_results WHERE strategy_id::text <> ALL(%s) LIMIT 1",
                [list(sample)],
            ).fetchone()
        except psycopg.errors.UndefinedTable:
            return
    if found:
        raise DataError(
            f"backtest_results holds rows that are no sample rows (strategy {found[0]}); simulated "
            f"rows must not be mixed with "
            "them. Unset DATABASE_URL, or set DAGSTER_HOME to an empty folder, and run the demo there."
        )


def _results(settings: Settings, month: str) -> dict[str, Any]:
    """What the demo shows, as it is stored."""
    from cleverbetter_dagster.store.artefacts import ArtefactStore
    from cleverbetter_dagster.store.predictions import made_by, read_predictions

    store = ArtefactStore(settings.artefacts_base)
    decision = store.read_json(f"champion/{month}.json")
    stakes = made_by(read_predictions(settings, month), (decision["champion_family"], decision["champion_version"]))
    return {
        "comparison": store.read_json(f"model_comparison/{month}.json"),
        "decision": decision,
        "stakes": stakes.head(10).to_dict("records"),
    }


def show_results(settings: Settings, month: str, console: Console) -> None:
    """The closing tables: leaderboard, decision, ten largest stakes, where to look next."""
    from cleverbetter_dagster.evaluation.leaderboard import LeaderboardRow
    from cleverbetter_dagster.services.records import ChampionRecord, ComparisonRecord

    found = _results(settings, month)
    comparison = ComparisonRecord.model_validate(found["comparison"])
    decision = ChampionRecord.model_validate(found["decision"])
    console.print()
    console.print(
        _board([LeaderboardRow.model_validate(row) for row in comparison.leaderboard], set(comparison.models))
    )
    console.print(_decision(decision))
    console.print(_stakes(found["stakes"]))
    console.print(
        "[bold]Where to look next[/]\n"
        "  cleverbetter up       the web UIs of Dagster and MLflow\n"
        "  cleverbetter status   what is up, where the data is, who is champion\n"
        "  cleverbetter import   your own rows (set DAGSTER_HOME to another folder)"
    )


def _board(board: list["LeaderboardRow"], families: set[str]) -> Table:
    first = board[0]
    title = f"Leaderboard on {first.n_rows:,} test rows of {first.n_months} months, with 95% intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for heading in (*FIGURES.values(), *PERCENTAGES.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in board:
        figures = [_cell(getattr(row, metric), 1.0, 3, "") for metric in FIGURES]
        percentages = [_cell(getattr(row, metric), 100.0, 1, "%") for metric in PERCENTAGES]
        table.add_row(row.name, *figures, *percentages, style="bold" if row.name in families else "")
    return table


def _cell(interval: "Interval | None", scale: float, digits: int, unit: str) -> str:
    if interval is None:
        return "–"
    point, low, high = (f"{scale * end:.{digits}f}" for end in (interval.point, interval.low, interval.high))
    return f"{point}{unit}\n[dim]{low} to {high}[/]"


def _decision(decision: "ChampionRecord") -> Panel:
    colour = {"promoted": "green", "kept": "green", "refused": "yellow"}[decision.action]
    challenger = f"{decision.challenger_family} v{decision.challenger_version}"
    champion = f"{decision.champion_family} v{decision.champion_version}" if decision.champion_family else "none"
    lines = [f"[bold {colour}]{challenger} {decision.action}[/]; champion as of {decision.as_of}: [bold]{champion}[/]"]
    return Panel(
        "\n".join([*lines, *(f"• {reason}" for reason in decision.reasons)]),
        title="Promotion",
        title_align="left",
    )


def _stakes(predictions: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Ten largest stakes for the next window, in shares of the bankroll",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("strategy", no_wrap=True)
    for heading in ("prob.", "conf.", "return", "stake"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in predictions:
        table.add_row(
            row["strategy_id"],
            f"{row['probability']:.3f}",
            f"{row['confidence']:.3f}",
            f"{row['expected_return']:+.2%}",
            f"{row['recommended_stake']:.2%}",
        )
    return table
