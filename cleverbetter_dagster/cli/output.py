"""Output, questions and exit codes: the same for all commands.

Standard output is for what was asked for, standard error for progress, questions and errors.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from enum import IntEnum
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from cleverbetter_dagster.errors import (
    CleverBetterError,
    DatabaseUnavailable,
    GateRefused,
    InvalidRequest,
    ModelNotFound,
    NotStored,
    RowsRefused,
    TrackingUnavailable,
    UnknownFamily,
)
from cleverbetter_dagster.escaping import visible


class ExitCode(IntEnum):
    """What a command ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed; standard error says why and how to mend it",
    ExitCode.USAGE: "wrong usage",
    ExitCode.REFUSED: "refused by the gate, by the rules for rows (none could be loaded), or not confirmed",
    ExitCode.NOT_FOUND: "no such model, month or entry",
    ExitCode.UNAVAILABLE: "the database or MLflow does not answer; try again",
    ExitCode.INTERRUPTED: "interrupted",
}

_CODES: tuple[tuple[type[CleverBetterError], ExitCode], ...] = (
    (DatabaseUnavailable, ExitCode.UNAVAILABLE),
    (TrackingUnavailable, ExitCode.UNAVAILABLE),
    (GateRefused, ExitCode.REFUSED),
    (InvalidRequest, ExitCode.USAGE),
    (ModelNotFound, ExitCode.NOT_FOUND),
    (NotStored, ExitCode.NOT_FOUND),
    (RowsRefused, ExitCode.REFUSED),
    (UnknownFamily, ExitCode.NOT_FOUND),
)


class NotConfirmed(GateRefused):
    """Nobody said yes."""


def exit_code(error: CleverBetterError) -> ExitCode:
    """The exit code of a command that ends with `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def print_json(value: Any) -> None:
    """Write a value to standard output as JSON: dataclasses as objects, instants as ISO 8601."""
    typer.echo(json.dumps(_plain(value), indent=2, default=str, allow_nan=False))


def confirm(question: str, yes: bool) -> None:
    """Ask, unless `--yes` was given.

    Raises:
        NotConfirmed: the answer was no, or there was nobody to ask.
    """
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
        typer.echo(err=True)
    if not agreed:
        raise NotConfirmed("Nothing was changed. To go on, answer y, or add --yes.")


class VisibleConsole(Console):
    """A console of rich that shows control characters as signs: what is shown may come from others."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def progress_console(*, quiet: bool = False) -> Console:
    """Where progress is shown: standard error, so that standard output can be piped. `quiet` shows none."""
    return VisibleConsole(stderr=True, quiet=quiet)


def result_console() -> Console:
    """Where results are shown. As wide as they need where they are not read on a terminal."""
    return VisibleConsole() if sys.stdout.isatty() else VisibleConsole(width=200)


def plain_table(title: str, left: Mapping[str, str] | tuple[str, ...], right: tuple[str, ...] = ()) -> Table:
    """A table in the manner of all of ours: `left` are its text columns, `right` its numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return None
    return value
