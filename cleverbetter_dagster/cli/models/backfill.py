"""`cleverbetter backfill`: trains models of past months on what was known then."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, Options, Trials, month_option
from cleverbetter_dagster.cli.output import ExitCode, ResultTable, print_json, progress_console, result_console
from cleverbetter_dagster.redaction import message_of
from cleverbetter_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.defs.requests import TrainingRequest

WALKED = "Read the report: cleverbetter report --kind walk_forward"
NOT_WALKED = (
    "No walk-forward report yet: no outcome is known of a month after these. Backfill earlier months, or wait for rows."
)


@dataclass(frozen=True)
class MonthResult:
    """What happened to one month; `message` says why it failed."""

    as_of: str
    outcome: Literal["done", "skipped", "failed"]
    families: tuple[str, ...] = ()
    run_id: str | None = None
    message: str = ""


def backfill(
    first: Annotated[str, month_option("--from", "First month (as_of).")],
    last: Annotated[str, month_option("--to", "Last month (as_of).")],
    family: Annotated[
        list[str] | None, typer.Option(help="Train only this family. May be repeated.", show_default=False)
    ] = None,
    options: Options = None,
    trials: Trials = None,
    again: Annotated[bool, typer.Option("--again", help="Train also the months that are done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train and judge every family as of each month of a range. Skips months that are done, so it can be repeated.

    Each month is one run, the oldest first; on workers, as many at once as they have slots. If all families take part,
    it also makes the leaderboard. At the end comes the walk-forward report over all months. The champion does not
    change.
    """
    from cleverbetter_dagster.cli.models.launch import made_anything, run_job
    from cleverbetter_dagster.cli.models.queued import goes_through_queue
    from cleverbetter_dagster.defs.launches import walk_forward
    from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
    from cleverbetter_dagster.store.tracking.client import require_mlflow

    settings, console = load_settings(), progress_console(quiet=as_json)
    families = [get_family(name).name for name in family or FAMILIES]
    require_mlflow(settings)
    by_month = _requests(settings, (first, last), families, options or [], trials)
    if goes_through_queue(settings):
        results = _side_by_side(settings, by_month, again, console)
    else:
        results = []
        for month, requests in by_month.items():
            console.print(f"[bold]{month}[/]")
            results.append(_train_month(settings, month, requests, again, as_json))
    outcomes = [result.outcome for result in results]
    if as_json:
        print_json(results)
    else:
        table = ResultTable("Backfill", ("as_of", "outcome", "families", "why"))
        for result in results:
            table.add_row(result.as_of, result.outcome, ", ".join(result.families), Text(result.message))
        result_console().print(table)
    if "failed" in outcomes:
        raise typer.Exit(ExitCode.FAILED)
    if len(outcomes) > 1 and "done" in outcomes:
        console.print("[bold]all months together[/]")
        run_id = run_job(settings, walk_forward(), quiet=as_json)
        console.print(WALKED if made_anything(settings, run_id) else NOT_WALKED, highlight=False)


def _requests(
    settings: Settings, ends: tuple[str, str], families: Sequence[str], options: Sequence[str], trials: int | None
) -> dict[str, list["TrainingRequest"]]:
    """The requests of each month of the range. Refuses a wrong range or option before anything runs."""
    from cleverbetter_dagster.cli.models.training_runs import request_of
    from cleverbetter_dagster.dataset.as_of import month_keys
    from cleverbetter_dagster.errors import InvalidRequest, Problem
    from cleverbetter_dagster.services.ingest.loading import months_with_rows, this_month

    with_rows = months_with_rows(settings)
    for family in families:
        for month in ends:
            request_of(family, month, options, trials).month(with_rows, this_month())
    first, last = ends
    if first > last:
        raise InvalidRequest([Problem("--from", f"{first} is after --to {last}", "exchange them")])
    return {month: [request_of(name, month, options, trials) for name in families] for month in month_keys(first, last)}


def _side_by_side(
    settings: Settings, by_month: Mapping[str, Sequence["TrainingRequest"]], again: bool, console: Console
) -> list[MonthResult]:
    """Train the months on workers: first one run loads the rows that are not loaded, then all months at once."""
    from cleverbetter_dagster.cli.models.launch import RunFailed, run_job
    from cleverbetter_dagster.cli.models.side_by_side import Month, run_months

    work = {month: _missing(settings, month, requests, again) for month, requests in by_month.items()}
    waiting = {month: missing for month, (missing, compare) in work.items() if missing or compare}
    last = max((month for month, missing in waiting.items() if missing), default=None)
    for launch in _launches(settings, last, waiting[last], work[last][1])[:-1] if last else ():
        run_job(settings, launch, console)
    months = [
        Month(month, _launches(settings, month, missing, work[month][1], number)[-1], any(map(_searches, missing)))
        for number, (month, missing) in enumerate(waiting.items())
    ]

    def result(month: str, run: Callable[[], str]) -> MonthResult:
        families = tuple(request.model_type for request in waiting[month])
        try:
            return MonthResult(month, "done", families, run())
        except RunFailed as error:
            return MonthResult(month, "failed", families, message=message_of(error))

    done = run_months(settings, months, console, result) if months else []
    return sorted([*done, *(MonthResult(month, "skipped") for month in work if month not in waiting)], key=_as_of)


def _as_of(result: MonthResult) -> str:
    return result.as_of


def _searches(request: "TrainingRequest") -> bool:
    return request.hyperparameter_search


def _train_month(
    settings: Settings, month: str, requests: Sequence["TrainingRequest"], again: bool, quiet: bool
) -> MonthResult:
    from cleverbetter_dagster.cli.models.launch import RunFailed, run_job

    missing, compare = _missing(settings, month, requests, again)
    if not missing and not compare:
        return MonthResult(month, "skipped")
    families = tuple(request.model_type for request in missing)
    try:
        run_ids = [run_job(settings, one, quiet=quiet) for one in _launches(settings, month, missing, compare)]
    except RunFailed as error:
        return MonthResult(month, "failed", families, message=message_of(error))
    return MonthResult(month, "done", families, run_ids[-1])


def _missing(
    settings: Settings, month: str, requests: Sequence["TrainingRequest"], again: bool
) -> tuple[list["TrainingRequest"], bool]:
    """The requests that are not done, or all of them again; and whether to make the leaderboard after them."""
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.learning.catalogue import FAMILIES
    from cleverbetter_dagster.services.stored_assets import COMPARISON, is_stored

    as_of = AsOf.parse(month)
    missing = [one for one in requests if again or not is_stored(settings, f"{one.model_type}_evaluation", as_of)]
    has_all = {request.model_type for request in requests} == set(FAMILIES)
    return missing, has_all and (bool(missing) or not is_stored(settings, COMPARISON, as_of))


def _launches(
    settings: Settings, month: str, missing: Sequence["TrainingRequest"], compare: bool, number: int = 0
) -> Sequence["Launch"]:
    """One run for all families that are missing, and before it the run that loads rows, if any are not loaded.

    `number` tells apart requests that are made in the same millisecond.
    """
    from cleverbetter_dagster.cli.models.training_runs import joined, runs_of
    from cleverbetter_dagster.defs.jobs import RETRAIN
    from cleverbetter_dagster.defs.launches import Launch, job_id
    from cleverbetter_dagster.services.stored_assets import COMPARISON

    if not missing:
        return [Launch(RETRAIN, (COMPARISON,), (month, month), {}, {})]
    runs = [runs_of(settings, request, job_id(request.model_type, time.time() + number / 1000)) for request in missing]
    return [*runs[0][:-1], joined([family_runs[-1] for family_runs in runs], [COMPARISON] if compare else [])]
