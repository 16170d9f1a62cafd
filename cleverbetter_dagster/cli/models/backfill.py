"""`cleverbetter backfill`: models of past months, trained as they would have been then."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, Options, Trials
from cleverbetter_dagster.cli.output import ExitCode, plain_table, print_json, progress_console, result_console
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.defs.launches import Launch


@dataclass(frozen=True)
class MonthDone:
    """What became of one month; `told` says why it failed."""

    as_of: str
    outcome: Literal["done", "skipped", "failed"]
    families: tuple[str, ...] = ()
    run_id: str | None = None
    told: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a backfill asks of every month. The options are those of `train`."""

    families: tuple[str, ...]
    options: tuple[str, ...]
    trials: int | None
    again: bool
    quiet: bool


def backfill(
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM", help="First month (as_of).", show_default=False)],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM", help="Last month (as_of).", show_default=False)],
    family: Annotated[
        list[str] | None, typer.Option(help="Only this family; may be repeated.", show_default=False)
    ] = None,
    options: Options = None,
    trials: Trials = None,
    again: Annotated[bool, typer.Option("--again", help="Do months over that are done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train and judge every family as of each month of a range. Months done already are skipped, so it can go on.

    One run a month, oldest first; where all families take part, with their leaderboard. The walk-forward report then
    shows what the months say together. The champion is left alone.
    """
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.defs.launches import walk_forward
    from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family

    settings, console = load_settings(), progress_console(quiet=as_json)
    families = tuple(get_family(name).name for name in family or FAMILIES)
    wanted = Wanted(families, tuple(options or ()), trials, again, as_json)
    done: list[MonthDone] = []
    for month in _months(settings, first, last, wanted):
        console.print(f"[bold]{month}[/]")
        done.append(_one(settings, month, wanted))
    failed = [one for one in done if one.outcome == "failed"]
    if as_json:
        print_json(done)
    else:
        _show(done)
    if failed:
        raise typer.Exit(ExitCode.FAILED)
    if len(done) > 1 and any(one.outcome == "done" for one in done):
        console.print("[bold]all months together[/]")
        run_job(settings, walk_forward(), quiet=as_json)
        console.print("Read it: cleverbetter report --kind walk_forward", highlight=False)


def _months(settings: Settings, first: str, last: str, wanted: Wanted) -> list[str]:
    """The months of the range. What is wrong with it, or with the options, is said before anything runs."""
    from cleverbetter_dagster.cli.models.training_runs import request_of
    from cleverbetter_dagster.dataset.as_of import month_keys
    from cleverbetter_dagster.errors import InvalidRequest, Problem
    from cleverbetter_dagster.services.ingest.loading import months_with_rows, this_month

    with_rows = months_with_rows(settings)
    for family in wanted.families:
        for month in (first, last):
            request_of(family, month, wanted.options, wanted.trials).month(with_rows, this_month())
    if first > last:
        raise InvalidRequest([Problem("--from", f"{first} is after --to {last}", "exchange them")])
    return month_keys(first, last)


def _one(settings: Settings, month: str, wanted: Wanted) -> MonthDone:
    from cleverbetter_dagster.cli.models.launch import RunFailed, run_job

    missing, comparison = _missing(settings, month, wanted)
    if not missing and not comparison:
        return MonthDone(month, "skipped")
    try:
        for launch in _launches(settings, month, wanted, missing, comparison):
            run_id = run_job(settings, launch, quiet=wanted.quiet)
    except RunFailed as error:
        return MonthDone(month, "failed", missing, told=str(error))
    return MonthDone(month, "done", missing, run_id)


def _missing(settings: Settings, month: str, wanted: Wanted) -> tuple[tuple[str, ...], bool]:
    """The families to train as of the month, and whether to compare them all afterwards."""
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.learning.catalogue import FAMILIES
    from cleverbetter_dagster.services.stored_assets import COMPARISON, is_stored

    as_of = AsOf.parse(month)
    missing = tuple(
        family for family in wanted.families if wanted.again or not is_stored(settings, f"{family}_evaluation", as_of)
    )
    everybody = set(wanted.families) == set(FAMILIES)
    return missing, everybody and (bool(missing) or not is_stored(settings, COMPARISON, as_of))


def _launches(
    settings: Settings, month: str, wanted: Wanted, missing: tuple[str, ...], comparison: bool
) -> Sequence["Launch"]:
    from cleverbetter_dagster.cli.models.training_runs import joined, request_of, runs_of
    from cleverbetter_dagster.defs.launches import Launch, job_id
    from cleverbetter_dagster.services.stored_assets import COMPARISON

    if not missing:
        return [Launch("retrain", (COMPARISON,), (month, month), {}, {})]
    planned = []
    for family in missing:
        request = request_of(family, month, wanted.options, wanted.trials)
        planned.append(runs_of(settings, request, job_id(family, time.time())))
    return [*planned[0][:-1], joined([runs[-1] for runs in planned], [COMPARISON] if comparison else [])]


def _show(done: Sequence[MonthDone]) -> None:
    table = plain_table("Backfill", ("as_of", "outcome", "families", "why"))
    for one in done:
        table.add_row(one.as_of, one.outcome, ", ".join(one.families), Text(one.told))
    result_console().print(table)
