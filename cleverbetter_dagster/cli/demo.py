"""`cleverbetter demo`: imports simulated rows, trains, promotes and predicts, and shows what to look at next."""

import os
import shlex
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import VisibleConsole, print_json, progress_console
from cleverbetter_dagster.settings import Settings, load_settings, variable_of

if TYPE_CHECKING:
    from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec
    from cleverbetter_dagster.services.records import ChampionRecord

STAKES_SHOWN = 10


def demo(
    strategies: Annotated[int, typer.Option(help="Strategies to simulate.", min=50, max=2000)] = 400,
    seed: Annotated[
        int, typer.Option(help="Another seed is another market; in some of them no model is promoted.", min=0)
    ] = 8,
    as_json: AsJson = False,
) -> None:
    """Simulate betting strategies, then train, judge, promote and predict on their backtests. Under three minutes.

    It works in a folder of its own, and says in which; or in DAGSTER_HOME, if you set that.
    """
    from cleverbetter_dagster.dataset.simulation.rows import SimulationSpec
    from cleverbetter_dagster.store.imports.demo import demo_home
    from cleverbetter_dagster.store.tracking.client import require_mlflow

    chosen = load_settings()
    home = demo_home(chosen)
    os.environ["DAGSTER_HOME"] = str(home)  # the processes of its runs read it
    os.environ.pop(variable_of("storage_url"), None)  # `reset --demo` removes what is on this machine
    settings, console = load_settings(), progress_console(quiet=True) if as_json else VisibleConsole()
    started = perf_counter()
    spec = SimulationSpec(n_strategies=strategies, seed=seed)
    months = _months(spec.first_month, spec.months)
    console.rule("[bold]cleverbetter demo")
    require_mlflow(settings)
    _import_simulated_rows(settings, spec, console)
    from cleverbetter_dagster.cli.models.launch import run_job  # slow to import: first show something
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.learning.catalogue import FAMILIES

    console.print(f"\n[bold]Loading and validating[/] the rows of {spec.months} months, {months[0]} to {months[1]}")
    run_job(settings, Launch("load_rows", (), months, {}, {}), console, training_follows=True)
    console.print(f"\n[bold]Training, judging, promoting[/] as of {months[1]}")
    quick = {f"{name}_study": {"config": dict(family.demo_study)} for name, family in FAMILIES.items()}
    run_job(settings, Launch("retrain", (), (months[1], months[1]), {}, {"ops": quick}), console)
    seconds = perf_counter() - started
    if as_json:
        print_json(_results(settings, months[1]) | {"seconds": round(seconds, 1)})
        return
    show_results(settings, months[1], console, is_own_home=home != chosen.home)
    console.print(f"[dim]{seconds:.0f} s in all[/]")


def _months(first: str, count: int) -> tuple[str, str]:
    from cleverbetter_dagster.dataset.as_of import AsOf

    return first, AsOf.parse(first).plus(count - 1).key


def _import_simulated_rows(settings: Settings, spec: "SimulationSpec", console: Console) -> None:
    from cleverbetter_dagster.cli.progress import import_progress
    from cleverbetter_dagster.dataset.simulation.rows import simulate_rows
    from cleverbetter_dagster.store.imports.demo import mark_as_demo
    from cleverbetter_dagster.store.imports.importer import import_files

    console.print(f"[bold]Simulating[/] {spec.n_strategies} strategies bet by bet over {spec.months} months")
    results, features = simulate_rows(spec)
    mark_as_demo(settings, spec, set(results["strategy_id"]))
    with tempfile.TemporaryDirectory() as folder, import_progress(console) as progress:
        files = Path(folder) / "results.parquet", Path(folder) / "features.parquet"
        results.to_parquet(files[0])
        features.to_parquet(files[1])
        report = import_files(settings, *files, progress)
    inserted, unchanged = report.total("inserted"), report.total("unchanged")
    console.print(f"  [green]✓[/] {inserted:,} rows imported; {unchanged:,} were there already")


def _results(settings: Settings, month: str) -> dict[str, Any]:
    """The stored results of the demo."""
    from cleverbetter_dagster.store.artefacts import ArtefactStore
    from cleverbetter_dagster.store.predictions import made_by, read_predictions

    store = ArtefactStore(settings.artefacts_base)
    decision = store.read_json(f"champion/{month}.json")
    stakes = made_by(read_predictions(settings, month), (decision["champion_family"], decision["champion_version"]))
    return {
        "comparison": store.read_json(f"model_comparison/{month}.json"),
        "decision": decision,
        "stakes": stakes.head(STAKES_SHOWN).to_dict("records"),
    }


def show_results(settings: Settings, month: str, console: Console, *, is_own_home: bool) -> None:
    """The closing tables: leaderboard, decision, ten largest stakes, where to look next."""
    from cleverbetter_dagster.cli.champion.predict import predict
    from cleverbetter_dagster.cli.models.evaluate import compare
    from cleverbetter_dagster.services.records import ChampionRecord
    from cleverbetter_dagster.store.imports.demo import RESET_COMMAND

    decision = ChampionRecord.model_validate(_results(settings, month)["decision"])
    console.print()
    compare(as_of=month)
    console.print(_panel(decision))
    if decision.champion_family:
        predict(as_of=month, limit=STAKES_SHOWN)
    console.print("[bold]Where to look next[/]")
    if is_own_home:
        console.print(f"  export DAGSTER_HOME={shlex.quote(str(settings.home))}", soft_wrap=True, highlight=False)
        console.print("                        the demo's own folder; for your own rows unset it again")
    console.print(
        "  cleverbetter up       the web UIs of Dagster and MLflow\n"
        "  cleverbetter status   what is up, where the data is, who is champion\n"
        f"  {RESET_COMMAND}   removes the demo"
    )


def _panel(decision: "ChampionRecord") -> Panel:
    colour = {"promoted": "green", "kept": "green", "refused": "yellow"}[decision.action]
    challenger = f"{decision.challenger_family} v{decision.challenger_version}"
    champion = f"{decision.champion_family} v{decision.champion_version}" if decision.champion_family else "none"
    lines = [f"[bold {colour}]{challenger} {decision.action}[/]; champion as of {decision.as_of}: [bold]{champion}[/]"]
    return Panel(
        "\n".join([*lines, *(f"• {reason}" for reason in decision.reasons)]), title="Promotion", title_align="left"
    )
