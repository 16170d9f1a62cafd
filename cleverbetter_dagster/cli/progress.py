"""Progress, drawn while it is made: of an import, and of a Dagster run's steps."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    import dagster as dg

POLL_SECONDS = 0.5

STATES = ("PIPELINE_ENQUEUED", "PIPELINE_START", "PIPELINE_FAILURE")
"""Dagster's events of a whole run that matter here: it waits, works, or failed and may be launched again."""

SIGNS = {"STEP_SUCCESS": "[green]✓[/]", "STEP_FAILURE": "[red]✗[/]"}
"""Of the events that end a step."""


@contextmanager
def import_progress(console: Console) -> Iterator[Callable[[str, float], None]]:
    """Receives the progress of `store.imports.importer.import_files`: one bar for each step, removed at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        steps: dict[str, TaskID] = {}

        def show(step: str, done_fraction: float) -> None:
            if step not in steps:
                steps[step] = bars.add_task(step, total=1.0)
            bars.update(steps[step], completed=done_fraction)

        yield show


@contextmanager
def run_progress(
    instance: "dg.DagsterInstance", tags: Mapping[str, str], console: Console, label: str | None = None
) -> Iterator[None]:
    """The steps of the newest run with `tags` as they end; on a terminal also what those at work said last.

    A study says how many trials are done, the best so far, and about how long it will take yet. With a `label`, which
    tells runs apart that are shown at once, ended steps alone are shown.
    """
    if console.quiet:
        yield
        return
    done, steps = threading.Event(), _Steps(instance, tags, console, label)

    def watch() -> None:
        if label:
            while not done.wait(POLL_SECONDS):
                steps.look()
            steps.look()
            return
        with console.status("starting") as status:
            while not done.wait(POLL_SECONDS):
                status.update(Text(steps.look(), no_wrap=True, overflow="ellipsis"))
        steps.look()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


class _Steps:
    """What is known of a run's steps: which were shown, and the last line each of them logged."""

    def __init__(
        self, instance: "dg.DagsterInstance", tags: Mapping[str, str], console: Console, label: str | None = None
    ) -> None:
        self._instance, self._tags, self._console = instance, dict(tags), console
        self._label = f"{label} " if label else ""
        self._run_id: str | None = None
        self._state = ""
        self._started: dict[str, float] = {}
        self._last_line: dict[str, str] = {}
        self._cursor: str | None = None

    def look(self) -> str:
        """Print the steps that ended since the last look; what the others are at, as one line."""
        import dagster as dg

        if self._run_id is None or self._state == "PIPELINE_FAILURE":
            runs = self._instance.get_runs(filters=dg.RunsFilter(tags=self._tags), limit=1)
            if not runs:
                return "starting"
            if runs[0].run_id != self._run_id:  # the first, or one in the place of a run whose worker was lost
                self._run_id, self._cursor = runs[0].run_id, None
                self._started.clear()
        page = self._instance.get_records_for_run(self._run_id, self._cursor)
        self._cursor = page.cursor
        for entry in (record.event_log_entry for record in page.records):
            if entry.step_key is not None:
                self._take_in(entry.step_key, entry)
            elif entry.dagster_event and entry.dagster_event.event_type_value in STATES:
                self._state = entry.dagster_event.event_type_value
        if self._state == "PIPELINE_ENQUEUED":
            return "waiting in the queue for a free place"
        lines = {step: self._last_line.get(step) for step in self._started}
        working = [f"{step}: {line}" if line else step for step, line in lines.items()]
        return "running " + ("; ".join(working) or "the next step")

    def _take_in(self, step: str, entry: "dg.EventLogEntry") -> None:
        """What a step logged: its start, a line, or its end."""
        if not entry.is_dagster_event:
            self._last_line[step] = entry.user_message
            return
        kind = entry.get_dagster_event().event_type_value
        if kind == "STEP_START":
            self._started.setdefault(step, entry.timestamp)
        elif kind in SIGNS:
            seconds = entry.timestamp - self._started.pop(step, entry.timestamp)
            self._console.print(f"  {self._label}{SIGNS[kind]} {step:<24} {seconds:6.1f} s")
