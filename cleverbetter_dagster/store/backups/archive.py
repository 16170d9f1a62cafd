"""The archive: a tar of files, and at its end a manifest with the hash of each.

What is not in the manifest is not restored, and nothing is restored unless every hash is right.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleverbetter_dagster.errors import BackupError

FORMAT = 1
MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 20


def counted(count: int, thing: str) -> str:
    """A number of things, in words.

    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


class Member(BaseModel):
    """Size and SHA-256 of a file in the archive."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class Grant(BaseModel):
    """A right that a role has on a schema, or on a table of it."""

    model_config = ConfigDict(frozen=True)

    schema_name: str
    table: str | None
    role: str
    privilege: str = Field(pattern="^[A-Z]+$")


class Dump(BaseModel):
    """What of a purpose's database is in the archive. `file` is a member, in the custom format of pg_dump."""

    model_config = ConfigDict(frozen=True)

    file: str
    schema_name: str
    server_version: int
    grants: tuple[Grant, ...] = ()


class Manifest(BaseModel):
    """What an archive holds.

    Attributes:
        taken_at: the instant that all of it is of.
        dumps: by purpose.
        trees: by name, how many files the folder had.
        mlflow_address: where MLflow's records say that its files are.
        left_out: in sentences, what is not in it.
    """

    format: int = FORMAT
    release: str
    taken_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    dumps: dict[str, Dump] = {}
    trees: dict[str, int] = {}
    mlflow_address: str | None = None
    left_out: tuple[str, ...] = ()
    members: dict[str, Member] = {}


class ArchiveWriter:
    """Writes files into an archive and remembers their hashes; `close` writes the manifest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self._members: dict[str, Member] = {}

    def add(self, name: str, path: Path) -> None:
        """Add a file as it is now, up to the size it has now: a log may grow meanwhile."""
        with path.open("rb") as file:
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            info.mode = 0o600
            reader = _HashingReader(file)
            self._tar.addfile(info, reader)
        self._members[name] = Member(size=info.size, sha256=reader.sha256)

    def close(self, manifest: Manifest) -> Manifest:
        """Write the manifest with the members' hashes, and return it."""
        full = manifest.model_copy(update={"members": self._members})
        content = full.model_dump_json(indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(content), 0o600
        self._tar.addfile(info, BytesIO(content))
        self._tar.close()
        return full


class ArchiveReader:
    """Reads an archive whose manifest is whole.

    Raises:
        BackupError: it is no archive of ours, was cut off, or comes from a later release.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.open(path, "r:") as tar:
                stored = tar.extractfile(MANIFEST)
                content: Any = json.loads(stored.read()) if stored else None
            if isinstance(content, dict) and content.get("format", FORMAT) > FORMAT:
                raise BackupError(f"{path} was made by a later release; restore it with that one.")
            self.manifest = Manifest.model_validate(content)
        except OSError as error:
            raise BackupError(
                f"Cannot read {path}: {error.strerror or error}. Name one that `cleverbetter backup` made."
            ) from None
        except (tarfile.TarError, KeyError, ValueError, ValidationError):
            raise BackupError(f"{path} is no backup, or was cut off: no manifest is at its end. Use another.") from None

    def verify(self) -> None:
        """Read all of it and compare every hash.

        Raises:
            BackupError: a file is missing or was changed; the message names it.
        """
        for _ in self.extract(None):
            pass

    def extract(self, folder: Path | None) -> Iterator[str]:
        """Write its files below a folder, or only compare them, one after another; gives the name of each.

        Raises:
            BackupError: as `verify`.
        """
        wanted = dict(self.manifest.members)
        try:
            with tarfile.open(self._path, "r:") as tar:
                for info in tar:
                    member = wanted.pop(info.name, None)
                    if member is None:
                        continue  # the manifest itself, or nothing of ours
                    self._extract(tar, info, member, folder)
                    yield info.name
        except tarfile.TarError as error:
            raise BackupError(f"{self._path} cannot be read any further: {error}. Use another backup.") from None
        if wanted:
            raise BackupError(f"{self._path} lacks {next(iter(wanted))}. Use another backup.")

    def _extract(self, tar: tarfile.TarFile, info: tarfile.TarInfo, member: Member, folder: Path | None) -> None:
        path = PurePosixPath(info.name)
        if not info.isreg() or path.is_absolute() or ".." in path.parts:
            raise BackupError(f"{self._path} holds {info.name!r}, which is no file of a backup. Use another one.")
        stored = tar.extractfile(info)
        assert stored is not None  # it is a regular file
        reader = _HashingReader(stored)
        with _written(folder / path if folder else None) as write:
            while block := reader.read(BLOCK_BYTES):
                write(block)
        if (reader.size, reader.sha256) != (member.size, member.sha256):
            raise BackupError(f"{info.name} in {self._path} was changed: its hash differs. Use another backup.")


class _HashingReader:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.size = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._hash.update(block)
        self.size += len(block)
        return block

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def _written(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield lambda _: None
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as file:
        yield file.write
