"""`cleverbetter simulate-retraining`: what ways of retraining cost on past months, and how good their models are."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cleverbetter_dagster.cli.options import AsJson, month_option
from cleverbetter_dagster.cli.output import ResultTable, VisibleConsole, print_json, progress_console
from cleverbetter_dagster.dataset.spec import GUIDE_MIN_COMPOSITE_SCORE

if TYPE_CHECKING:
    from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
    from cleverbetter_dagster.services.simulation.retraining import RetrainingSpec
    from cleverbetter_dagster.services.simulation.table import WayRow


def simulate_retraining(
    first: Annotated[str, month_option("--from", "First month a model is fitted at.")],
    last: Annotated[str, month_option("--to", "Last month; judged on the one after.")],
    family: Annotated[
        str | None,
        typer.Option(help="Model family, with its default parameters; by default the first of the catalogue."),
    ] = None,
    min_composite_score: Annotated[
        float, typer.Option(help="Rows with a lower composite score are not used for training or judging.")
    ] = GUIDE_MIN_COMPOSITE_SCORE,
    every_row: Annotated[bool, typer.Option("--every-row", help="Take rows of any composite score.")] = False,
    largest_drift: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Distance of the probabilities from which `drift` fits anew; by default the one monitoring uses.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate never, monthly, incremental and on-drift retraining on the database's past months. Writes nothing."""
    from cleverbetter_dagster.cli.progress import import_progress
    from cleverbetter_dagster.dataset.spec import DatasetSpec
    from cleverbetter_dagster.learning.catalogue import DEFAULT_FAMILY
    from cleverbetter_dagster.services.simulation.retraining import RetrainingSpec, database_rows, simulate
    from cleverbetter_dagster.services.simulation.table import way_rows
    from cleverbetter_dagster.settings import load_settings

    settings = load_settings()
    dataset = DatasetSpec(min_composite_score=None if every_row else min_composite_score)
    spec = RetrainingSpec(family=family or DEFAULT_FAMILY, first=first, last=last, dataset=dataset)
    if largest_drift is not None:
        spec = spec.model_copy(update={"largest_drift": largest_drift})
    with import_progress(progress_console(quiet=as_json)) as progress:
        progress("Reading rows", 0.0)
        rows = database_rows(settings)
        progress("Reading rows", 1.0)
        table = way_rows(simulate(rows, spec, settings.threads, lambda done: progress("Simulating", done)))
    if as_json:
        print_json([row.model_dump(mode="json") for row in table])
    else:
        show_ways(table, spec, VisibleConsole())


def show_ways(rows: list["WayRow"], spec: "RetrainingSpec", console: Console) -> None:
    """The table, and how to read it."""
    from cleverbetter_dagster.evaluation.intervals.estimate import missing_intervals
    from cleverbetter_dagster.services.simulation.retraining import WAYS
    from cleverbetter_dagster.services.simulation.table import REFERENCE

    judged = f"judged on {rows[0].rows:,} rows of the {rows[0].months} months after each"
    console.print(f"{spec.family}, {spec.first} to {spec.last}, {judged}; 95% intervals", highlight=False)
    # A column for each way: so the intervals of all four fit into 80 columns.
    table = ResultTable("", ("",), tuple(row.way for row in rows))
    table.add_row("fits", *(str(row.fits) for row in rows))
    table.add_row("updates", *(str(row.updates) for row in rows))
    table.add_row("CPU s", *(f"{row.cpu_seconds:.1f}" for row in rows))
    table.add_row("AUC", *(_cell(row.auc_within_months) for row in rows))
    table.add_row("  lost", *(_cell(row.auc_lost) for row in rows))
    table.add_row("Brier", *(_cell(row.brier) for row in rows))
    table.add_row("  lost", *(_cell(row.brier_lost) for row in rows))
    table.add_row("growth", *(_cell(row.log_growth) for row in rows))
    console.print(table)
    lines = [f"  {row.way:12} {WAYS[row.way]}" for row in rows]
    lost = f"lost: worse than {REFERENCE} by, on the same rows; an interval that reaches 0 shows no difference"
    auc = "AUC: over pairs of rows of one month"
    estimates = (one for row in rows for one in (row.auc_within_months, row.brier, row.auc_lost, row.log_growth))
    growth = "growth: mean logarithm of the bankroll's growth in a month"
    console.print("\n".join([*lines, auc, lost, growth, *missing_intervals(estimates)]), highlight=False)


def _cell(estimate: "Estimate | None") -> str:
    if estimate is None or estimate.point is None:
        return "–"
    if estimate.ends is None:
        return f"{estimate.point:.4f}"
    return f"{estimate.point:.4f}\n[dim]{estimate.low:.4f}, {estimate.high:.4f}[/]"
