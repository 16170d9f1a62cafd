"""Rows that are the elements of one JSON array, which is split without being parsed and may have any length."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.readers import row_file
from cleverbetter_dagster.store.imports.readers.json_rows import JsonRows, Malformed, Texts, malformed_text
from cleverbetter_dagster.store.imports.readers.source import DAMAGED, Source, text_source

_STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+'
_FLAT_OBJECT = rb'\{[^][{}"]*+(?:' + _STRING + rb'"[^][{}"]*+)*+\}'
_TOKENS = re.compile(_FLAT_OBJECT + rb"|" + _STRING + rb'("?)|[][{},]')
_NEXT_ELEMENT = re.compile(rb"\}\s*,\s*(?=\{)")
_OPENED_BY = {b"}": ord("{"), b"]": ord("[")}

UNMATCHED = "its brackets or quotes do not match"
TOO_LONG = f"it is longer than {row_file.LONGEST_LINE >> 20} MiB: leave out what need not be imported"
CUT_OFF = "the file ends within it"


@dataclass(frozen=True)
class Element:
    """An element of an array; with a reason, the beginning of one that cannot be told from what follows."""

    text: bytes
    reason: str = ""


class JsonArray(JsonRows):
    """One JSON array of objects. The line of a row is the number of its element, from 1."""

    unit = "element"

    def _texts(self) -> Iterator[Texts]:
        first = 1
        with text_source(self.path) as source:
            for elements in _split(source, self.path.name):
                lines = range(first, first + len(elements))
                first += len(elements)
                texts = [(line, e.text) for line, e in zip(lines, elements, strict=True) if not e.reason]
                malformed: list[Malformed] = [
                    malformed_text(line, element.text, f"the element cannot be read: {element.reason}")
                    for line, element in zip(lines, elements, strict=True)
                    if element.reason
                ]
                block = b"\n".join(text for _, text in texts)
                yield Texts([text for _, text in texts], [line for line, _ in texts], block, source.done, malformed)


def _split(source: Source, name: str) -> Iterator[list[Element]]:
    splitter, count = ArraySplitter(), 0
    while True:
        try:
            chunk = source.read(row_file.BLOCK_BYTES)
        except DAMAGED as error:
            raise ImportFileError(
                f"{name} is damaged or incomplete after element {count:,}: {error}. Nothing of it was imported. Copy "
                "or write it again."
            ) from None
        elements = list(splitter.feed(chunk, last=not chunk))
        count += len(elements)
        yield elements
        if not chunk:
            return


class ArraySplitter:
    """Takes the bytes of an array bit by bit, and gives its elements.

    Libraries that stream JSON stop at the first damaged element and hold an element of any length. This goes on with
    the next element, and holds none that is longer than `LONGEST_LINE`.

    >>> [element.text for element in ArraySplitter().feed(b'[{"a": "],"}, {"a": [1]} ]', last=True)]
    [b'{"a": "],"}', b'{"a": [1]}']
    """

    def __init__(self) -> None:
        self._text = b""  # of the element that is not complete
        self._scanned = 0  # bytes of it whose brackets are counted
        self._opened = bytearray()
        self._searching = False  # for the next element, behind a damaged one

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[Element]:
        """The elements that end in `chunk`; with `last` also what is left."""
        self._text += chunk
        while not self._searching or self._found_next():
            yield from self._complete(last)
            if len(self._text) > row_file.LONGEST_LINE:
                yield self._damaged(TOO_LONG)
            if not self._searching:
                break
        if last and self._opened and not self._searching and self._text.strip():
            yield self._damaged(CUT_OFF)

    def _complete(self, last: bool) -> Iterator[Element]:
        start = 0
        for token in _TOKENS.finditer(self._text, self._scanned):
            kind, unclosed = token[0][:1], token[0][:1] == b'"' and not token[1]
            if unclosed and not last and self._text[token.end() :] in (b"", b"\\"):
                self._scanned = token.start()
                break
            if unclosed or not self._counted(kind, len(token[0])):
                yield self._damaged(UNMATCHED, start, token.start())
                return
            level = len(self._opened)
            if (kind, level) in ((b",", 1), (b"]", 0)) and (text := self._text[start : token.start()].strip()):
                yield Element(text)
            if (kind, level) in ((b"[", 1), (b",", 1), (b"]", 0)):
                start = token.end()
        else:
            self._scanned = len(self._text)
        self._text, self._scanned = self._text[start:], self._scanned - start

    def _counted(self, kind: bytes, length: int) -> bool:
        """Count a bracket. False if it closes another kind than the last that was opened."""
        if kind in _OPENED_BY:
            return bool(self._opened) and self._opened.pop() == _OPENED_BY[kind]
        if kind in b"[{" and length == 1:  # otherwise it is a whole object
            self._opened += kind
        return True

    def _damaged(self, reason: str, start: int = 0, fault: int | None = None) -> Element:
        """The element that begins at `start`, up to what looks like the next one; the search for that begins here."""
        rest = self._text[len(self._text) if fault is None else fault :]
        following = _NEXT_ELEMENT.search(rest)
        end = len(self._text) if following is None else len(self._text) - len(rest) + following.start() + 1
        damaged = Element(self._text[start : min(end, start + row_file.LONGEST_RAW)].strip(), reason)
        self._text, self._searching = rest, True
        return damaged

    def _found_next(self) -> bool:
        following = _NEXT_ELEMENT.search(self._text)
        if following is None:
            self._text = self._text[-row_file.LONGEST_RAW :]
            return False
        self._text, self._scanned, self._searching = self._text[following.end() :], 0, False
        self._opened = bytearray(b"[")
        return True
