"""A file's bytes, unpacked where its name says that it is compressed."""

import bz2
import gzip
import lzma
import tempfile
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from cleverbetter_dagster.errors import ImportFileError

COMPRESSIONS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
}
"""Ending of a compressed file -> what unpacks it while it is read."""

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
"""What reading a damaged file raises."""

PIECE_BYTES = 64 << 10
"""Bytes that are unpacked at once."""


def uncompressed_name(path: Path) -> str:
    """The file's name in lower case, without the ending of a compression.

    >>> uncompressed_name(Path("Runs.CSV.gz"))
    'runs.csv'
    """
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return name


class Source:
    """The bytes of one file from its beginning, and how much of it has been read. A byte order mark is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self._size = max(path.stat().st_size, 1)
        unpack = COMPRESSIONS.get(path.suffix.lower())
        self._stream = unpack(self._file) if unpack else self._file
        self._begun = b""
        self._damage: Exception | None = None

    def read(self, size: int) -> bytes:
        """About `size` further bytes; none at the end. Bytes before a damage are given before it is raised."""
        pieces, self._begun = [self._begun], b""
        missing = size
        while missing > 0 and self._damage is None:
            try:
                piece = bytes(self._stream.read(min(missing, PIECE_BYTES)))
            except DAMAGED as error:
                self._damage = error
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        text = b"".join(pieces)
        if self._damage is not None and not text:
            raise self._damage
        return text

    def skip_mark(self) -> None:
        """Leave out a UTF-8 byte order mark.

        Raises:
            ImportFileError: the text is UTF-16.
        """
        start = self.read(len(BOM_UTF8))
        if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise ImportFileError(f"{self.path} is UTF-16. Save it as UTF-8 (Excel: CSV UTF-8) and import that.")
        self._begun = b"" if start == BOM_UTF8 else start

    @property
    def done(self) -> float:
        """The fraction of the file, as it is on disk, that has been read."""
        return 1.0 if self._file.closed else min(self._file.tell() / self._size, 1.0)

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class UnpackedFile:
    """A file that can be read at any place: the file itself, or a temporary copy of it that is not compressed.

    The copy ends with this object.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._copy = path, None
        if path.suffix.lower() in COMPRESSIONS and path.is_file():
            self._copy = tempfile.NamedTemporaryFile(prefix="cleverbetter-import-")  # noqa: SIM115
            self.path = Path(self._copy.name)
            with Source(path) as source:
                while chunk := source.read(1 << 20):
                    self._copy.write(chunk)
            self._copy.flush()


@contextmanager
def text_source(path: Path) -> Iterator[Source]:
    """The bytes of a text file in UTF-8."""
    with Source(path) as source:
        source.skip_mark()
        yield source
