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
def run_progress(instance: "dg.DagsterInstance", tags: Mapping[str, str], console: Console) -> Iterator[None]:
    """The steps of the newest run with `tags` as they end; on a terminal also what those at work said last.

    A study says how many trials are done, the best so far, and about how long it will take yet.
    """
    done, steps = threading.Event(), _Steps(instance, tags, console)

    def watch() -> None:
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

    def __init__(self, instance: "dg.DagsterInstance", tags: Mapping[str, str], console: Console) -> None:
        self._instance, self._tags, self._console = instance, dict(tags), console
        self._shown: set[str] = set()
        self._last_line: dict[str, str] = {}
        self._cursor: str | None = None

    def look(self) -> str:
        """Print the steps that ended since the last look; what the others are at, as one line."""
        import dagster as dg

        runs = self._instance.get_runs(filters=dg.RunsFilter(tags=self._tags), limit=1)
        if not runs:
            return "starting"
        self._listen(runs[0].run_id)
        working = []
        for step in self._instance.get_run_step_stats(runs[0].run_id):
            if step.end_time is None or step.start_time is None:
                line = self._last_line.get(step.step_key)
                working.append(f"{step.step_key}: {line}" if line else step.step_key)
            elif step.step_key not in self._shown:
                self._shown.add(step.step_key)
                sign = "[green]✓[/]" if step.status and step.status.value == "SUCCESS" else "[red]✗[/]"
                self._console.print(f"  {sign} {step.step_key:<24} {step.end_time - step.start_time:6.1f} s")
        return "running " + ("; ".join(working) or "the next step")

    def _listen(self, run_id: str) -> None:
        """Take in what was logged since the last look."""
        page = self._instance.get_records_for_run(run_id, self._cursor)
        self._cursor = page.cursor
        for entry in (record.event_log_entry for record in page.records):
            if entry.step_key and not entry.is_dagster_event:
                self._last_line[entry.step_key] = entry.user_message
