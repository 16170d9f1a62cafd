"""Output, questions and exit codes: the same for all commands.

Standard output is for what was asked for, standard error for progress, questions and errors.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import IntEnum
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cleverbetter_dagster.errors import (
    ArtefactsUnavailable,
    CleverBetterError,
    DatabaseUnavailable,
    GateRefused,
    InvalidInput,
    InvalidRequest,
    ModelNotFound,
    NotStored,
    RowsRefused,
    TrackingUnavailable,
    UnknownFamily,
    WorkersUnavailable,
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
    ExitCode.USAGE: "wrong usage: an option, a month or a value that cannot be used",
    ExitCode.REFUSED: "refused by the gate, by the rules for rows (none could be loaded), or not confirmed",
    ExitCode.NOT_FOUND: "no such model, month or entry",
    ExitCode.UNAVAILABLE: (
        "the database, MLflow, the storage of artefacts, Redis or an alert channel does not answer, or lets nobody in; "
        "`cleverbetter status` or the command says which"
    ),
    ExitCode.INTERRUPTED: "interrupted",
}

_CODES: tuple[tuple[type[CleverBetterError], ExitCode], ...] = (
    (DatabaseUnavailable, ExitCode.UNAVAILABLE),
    (TrackingUnavailable, ExitCode.UNAVAILABLE),
    (ArtefactsUnavailable, ExitCode.UNAVAILABLE),
    (WorkersUnavailable, ExitCode.UNAVAILABLE),
    (GateRefused, ExitCode.REFUSED),
    (InvalidRequest, ExitCode.USAGE),
    (InvalidInput, ExitCode.USAGE),
    (ModelNotFound, ExitCode.NOT_FOUND),
    (NotStored, ExitCode.NOT_FOUND),
    (RowsRefused, ExitCode.REFUSED),
    (UnknownFamily, ExitCode.NOT_FOUND),
)

LEAST_TEXT = 24
"""Characters below which a column of texts is not folded further."""


class NotConfirmed(GateRefused):
    """Nobody said yes."""


def exit_code(error: CleverBetterError) -> ExitCode:
    """The exit code of a command that ends with `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def print_json(value: Any) -> None:
    """Write a value to standard output as JSON: dataclasses as objects, instants as ISO 8601."""
    typer.echo(json.dumps(plain(value), indent=2, default=str, allow_nan=False))


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


class ResultTable:
    """A table in the manner of all of ours. What it names is whole at every width of the terminal.

    Where the table is too wide, intervals go below their figure, then texts are folded; where even that does not fit,
    each row is a paragraph of its own.

    Args:
        title: above it.
        left: its text columns; the first holds the names of the rows. Without any name there is no header.
        right: its columns of figures.

    Attributes:
        caption: below it.
    """

    def __init__(self, title: str, left: Sequence[str], right: Sequence[str] = ()) -> None:
        self.title, self._left, self._columns = title, len(left), (*left, *right)
        self._rows: list[tuple[list[Text], str]] = []
        self.caption = ""

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row, a cell for each column; what is no `Text` is markup."""
        self._rows.append(([cell if isinstance(cell, Text) else Text.from_markup(cell) for cell in cells], style))

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        rows = [cells for cells, _ in self._rows]
        folded = [rows, self._folded(1), self._folded(2)]
        candidates = [(each, most_text) for most_text in (None, LEAST_TEXT) for each in folded]
        fitting = (each for each, most_text in candidates if self._width(each, most_text) <= options.max_width)
        if (candidate := next(fitting, None)) is not None:
            yield self._table(candidate)
        else:
            yield from self._paragraphs()
        if self.caption:
            yield Text(self.caption, style="dim")

    def _paragraphs(self) -> Iterator[RenderableType]:
        yield Text(self.title, style="italic")
        for cells, style in self._rows:
            yield Text()
            yield Text.assemble(cells[0], style=style or "bold")
            facts = Table.grid(padding=(0, 2, 0, 0))
            facts.add_column(no_wrap=True)
            facts.add_column(overflow="fold")
            for name, cell in zip(self._columns[1:], cells[1:], strict=True):
                if cell.plain:
                    facts.add_row(Text(f"  {name}", style="dim"), cell)
            yield facts

    def _folded(self, breaks: int) -> list[list[Text]]:
        """The rows with an interval below its figure, and with a second break also its ends below each other."""
        folded = []
        for cells, _ in self._rows:
            figures = [cell.plain for cell in cells[self._left :]]
            for at, broken in ((" [", "\n["), (", ", ",\n"))[:breaks]:
                figures = [figure.replace(at, broken) for figure in figures]
            styled = (Text(figure, cell.style) for figure, cell in zip(figures, cells[self._left :], strict=True))
            folded.append([*cells[: self._left], *styled])
        return folded

    def _table(self, rows: Sequence[Sequence[Text]]) -> Table:
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.show_header = any(name.strip() for name in self._columns)
        for position, name in enumerate(self._columns):
            is_figure = position >= self._left
            unbroken = is_figure or position == 0
            table.add_column(
                name,
                justify="right" if is_figure else "left",
                no_wrap=unbroken,
                overflow="fold",
                min_width=None if unbroken else min(LEAST_TEXT, self._widest(rows, position)),
            )
        for cells, (_, style) in zip(rows, self._rows, strict=True):
            table.add_row(*cells, style=style)
        return table

    def _width(self, rows: Sequence[Sequence[Text]], most_text: int | None = None) -> int:
        """The width it needs if text columns but the first take at most so many characters."""
        widths = [self._widest(rows, position) for position in range(len(self._columns))]
        if most_text is not None:
            widths[1 : self._left] = [min(width, most_text) for width in widths[1 : self._left]]
        return sum(widths) + 2 * len(widths) + 1  # a space of padding, a divider or an edge

    def _widest(self, rows: Sequence[Sequence[Text]], position: int) -> int:
        lines = [line for cells in rows for line in cells[position].plain.split("\n")]
        return max(map(cell_len, [self._columns[position], *lines]))


def plain(value: Any) -> Any:
    """A value that JSON and tables can hold: dataclasses as objects; NaN and infinity, which JSON lacks, as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return None
    return value
