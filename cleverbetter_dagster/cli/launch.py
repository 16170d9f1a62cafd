"""Running one of our Dagster jobs from the command line, with its steps shown as they end."""

import os
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home

LAUNCH_TAG = "cleverbetter/launch"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
POLL_SECONDS = 0.5

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailed(CleverBetterError):
    """A Dagster run ended in failure."""


def load_rows_job() -> dg.JobDefinition:
    """For `reconstructable`: a step's process finds its job through this function."""
    from cleverbetter_dagster.definitions import defs

    return defs.resolve_job_def("load_rows")


def retrain_job() -> dg.JobDefinition:
    """For `reconstructable`, as `load_rows_job`."""
    from cleverbetter_dagster.definitions import defs

    return defs.resolve_job_def("retrain")


JOBS = {"load_rows": load_rows_job, "retrain": retrain_job}


def run_job(
    settings: Settings,
    job: str,
    months: tuple[str, str],
    console: Console,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Run a job over a range of months (both ends included) and wait for it.

    Returns:
        The id of the Dagster run; it is in the UI like any other.

    Raises:
        RunFailed: a step failed; the message is the step's own.
    """
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    launch = uuid.uuid4().hex
    tags = {LAUNCH_TAG: launch, RANGE_START_TAG: months[0], RANGE_END_TAG: months[1]}
    log = settings.state_folder / "logs" / "runs.log"
    with dg.DagsterInstance.get() as instance, _errors_to(log), _steps_shown(instance, launch, console):
        result = dg.execute_job(
            dg.reconstructable(JOBS[job]),
            instance=instance,
            tags=tags,
            run_config={**QUIET, **(config or {})},
            raise_on_error=False,
        )
        if not result.success:
            raise RunFailed(f"The run {result.run_id} of {job} failed.\n{_why(instance, result.run_id)}")
    return result.run_id


@contextmanager
def _errors_to(log: Path) -> Iterator[None]:
    """Send what this process and the steps' processes write to standard error to a file, below Python's own streams."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _steps_shown(instance: dg.DagsterInstance, launch: str, console: Console) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        shown: set[str] = set()
        with console.status("starting") as status:
            while not done.wait(POLL_SECONDS):
                _show_steps(instance, launch, shown, console, status)
        _show_steps(instance, launch, shown, console, None)

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _show_steps(instance: dg.DagsterInstance, launch: str, shown: set[str], console: Console, status: Any) -> None:
    runs = instance.get_runs(filters=dg.RunsFilter(tags={LAUNCH_TAG: launch}), limit=1)
    if not runs:
        return
    running = []
    for step in instance.get_run_step_stats(runs[0].run_id):
        if step.end_time is None or step.start_time is None:
            running.append(step.step_key)
        elif step.step_key not in shown:
            shown.add(step.step_key)
            mark = "[green]✓[/]" if step.status and step.status.value == "SUCCESS" else "[red]✗[/]"
            console.print(f"  {mark} {step.step_key:<24} {step.end_time - step.start_time:6.1f} s")
    if status is not None:
        status.update("running " + (", ".join(running) or "the next step"))


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the failed steps said, innermost cause included."""
    lines = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = entry.get_dagster_event().step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            lines.append(f"{entry.step_key}: {data.user_failure_data.description}")
        elif data.error is not None:
            cause = data.error.cause or data.error
            lines.append(f"{entry.step_key}: {cause.message.strip()}")
    return "\n".join(lines) or "Its log in the UI says why."
