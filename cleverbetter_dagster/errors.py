"""The error tree. Each message says what is wrong, with the value and the bound, and what to do.

CleverBetterError
├── SettingsError
├── InvalidRequest
├── DatabaseError
│   ├── DatabaseUnavailable
│   │   └── TablesInUse
│   ├── EmbeddedServerError
│   └── SchemaError
├── TrackingUnavailable
├── ArtefactsUnavailable
├── BackupError
├── WorkersUnavailable
├── DataError
│   ├── ImportFileError
│   ├── RowsRefused
│   ├── NothingToJudge
│   ├── NotEnoughRows
│   ├── NotStored
│   └── InvalidInput
├── LearningError
│   └── UnknownFamily
└── RegistryError
    ├── ModelNotFound
    ├── ModelTampered
    ├── ModelOutdated
    └── GateRefused
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class CleverBetterError(Exception):
    """Root of all errors that this package raises on purpose."""


class SettingsError(CleverBetterError):
    """An environment variable or configuration value cannot be used."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field of a request, and the remedy."""

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}; {self.remedy}"


class InvalidRequest(CleverBetterError, ValueError):
    """A request that cannot be carried out. `problems` lists every wrong field.

    It is also a `ValueError`, so that Pydantic reports it together with other errors.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        # A name in a request may contain half of a surrogate pair. Printing it fails, and so does Pydantic.
        super().__init__("\n".join(map(str, problems)).encode(errors="replace").decode())
        self.problems = tuple(problems)


class DatabaseError(CleverBetterError):
    """The database cannot be used."""


class DatabaseUnavailable(DatabaseError):
    """The database does not answer. It may help to try again later."""


class TablesInUse(DatabaseUnavailable):
    """Others alter the tables, and reading them gave way."""


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL cannot be started or used."""


class SchemaError(DatabaseError):
    """A table or column is missing or of the wrong kind."""


class TrackingUnavailable(CleverBetterError):
    """MLflow does not answer. It may help to try again later."""


class ArtefactsUnavailable(CleverBetterError):
    """The storage of the artefacts does not answer. It may help to try again later."""


class BackupError(CleverBetterError):
    """A backup cannot be made, read or restored. Nothing was changed."""


class WorkersUnavailable(CleverBetterError):
    """Redis, or the queue of runs, does not answer. It may help to try again later."""


class DataError(CleverBetterError):
    """Rows that cannot be used."""


class ImportFileError(DataError):
    """A file cannot be read at all."""


class RowsRefused(DataError):
    """A file was read, and none of its rows may be loaded as they are."""


class NothingToJudge(DataError):
    """No outcome is known yet of rows after any model. Wait for more rows, or train models of earlier months."""


class NotEnoughRows(DataError):
    """Fewer examples than a model needs."""


class NotStored(DataError):
    """The requested evaluation, predictions or quarantine entry was never stored."""


class InvalidInput(DataError):
    """A calculation cannot use its input: wrong length, not finite, or out of bounds."""


class LearningError(CleverBetterError):
    """A model cannot be fitted or applied."""


class UnknownFamily(LearningError):
    """The catalogue has no such model family."""


class RegistryError(CleverBetterError):
    """The model registry cannot do what was requested."""


class ModelNotFound(RegistryError):
    """There is no such model, version or champion."""


class ModelTampered(RegistryError):
    """A stored model differs from its recorded hash."""


class ModelOutdated(RegistryError):
    """Another release trained the model, and this one cannot load it."""


class GateRefused(RegistryError):
    """A model may not become champion: the gate refuses it, or another decision was made meanwhile."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name most like an unknown one, and a blank after it; empty if none is like it.

    >>> did_you_mean("min_composit_score", ["min_composite_score", "seed"])
    'did you mean min_composite_score? '
    """
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}? " if close else ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the first cause last."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
