"""Splits a file into blocks of whole lines; no line, however long, is held in memory beyond `LONGEST_LINE`."""

from collections.abc import Iterator
from dataclasses import dataclass

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.source import DAMAGED, Source

TOO_LONG = f"the line is longer than {row_file.LONGEST_LINE >> 20} MiB: leave out what need not be imported"


@dataclass(frozen=True)
class LineBlock:
    """Some lines of a file, one after another.

    Attributes:
        text: the lines, without the last line break.
        first: the number of the first line, from 1.
        too_long: the text is only the beginning of a line that is longer than `LONGEST_LINE`.
    """

    text: bytes
    first: int
    too_long: bool = False


def line_blocks(source: Source, *, cr_only: bool = False, blocks: int = 1) -> Iterator[LineBlock]:
    """All lines of a text file, in blocks of about so many times `BLOCK_BYTES`.

    Args:
        cr_only: lines end with a carriage return, which is given as a line feed.

    Raises:
        ImportFileError: the file is damaged; the message names the line.
    """
    first, rest, skipping = 1, b"", False
    while chunk := _read(source, first, blocks):
        if cr_only:
            chunk = chunk.replace(b"\r", b"\n")
        if skipping:
            _, newline, chunk = chunk.partition(b"\n")
            skipping, first = not newline, first + len(newline)
        text, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline and text.find(b"\n", 0, row_file.LONGEST_LINE + 1) < 0 and len(text) > row_file.LONGEST_LINE:
            long, newline, text = text.partition(b"\n")
            yield LineBlock(long[: row_file.LONGEST_RAW], first, too_long=True)
            first += 1
        if newline:
            yield LineBlock(text, first)
            first += text.count(b"\n") + 1
        if len(rest) > row_file.LONGEST_LINE:
            yield LineBlock(rest[: row_file.LONGEST_RAW], first, too_long=True)
            rest, skipping = b"", True
    if rest:
        yield LineBlock(rest, first)


def _read(source: Source, line: int, blocks: int) -> bytes:
    try:
        return source.read(blocks * row_file.BLOCK_BYTES)
    except DAMAGED as error:
        raise ImportFileError(
            f"{source.path} is damaged or incomplete after line {line - 1:,}: {error}. Nothing of it was imported. "
            "Copy or write it again."
        ) from None
