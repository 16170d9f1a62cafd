"""The error tree. Every message names the value, the bound and the remedy.

CleverBetterError
├── SettingsError          an environment variable cannot be used
├── InvalidRequest         a request that cannot be carried out, with the fields at fault
├── DatabaseError          the database cannot serve us
│   ├── DatabaseUnavailable    not reachable (worth trying again)
│   ├── EmbeddedServerError    the embedded PostgreSQL cannot be started or used
│   └── SchemaError            a table or column is missing or of the wrong kind
├── DataError              rows that cannot be used
│   ├── ImportFileError        a file cannot be read at all
│   ├── NotEnoughRows          fewer examples than a model needs
│   ├── NotStored              what was asked for was never stored
│   └── InvalidInput           numbers handed to a calculation that it cannot use
├── LearningError          a model cannot be fitted or applied
│   └── UnknownFamily          no such model family in the catalogue
└── RegistryError          the model registry refuses
    ├── ModelNotFound          no such model, version or champion
    ├── ModelTampered          a stored model differs from its recorded hash
    ├── ModelOutdated          another release trained the model, and this one cannot load it
    └── GateRefused            a model may not become champion
"""

from collections.abc import Sequence
from dataclasses import dataclass


class CleverBetterError(Exception):
    """Root of every error this package raises on purpose."""


class SettingsError(CleverBetterError):
    """An environment variable or configuration value cannot be used."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field of a request, and what to do about it."""

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}; {self.remedy}"


class InvalidRequest(CleverBetterError, ValueError):
    """A request that cannot be carried out. `problems` has every field at fault.

    A `ValueError` as well, so that Pydantic gathers it with what else is wrong.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        # A name that was given may hold half of a surrogate pair, on which printing fails, and Pydantic as well.
        super().__init__("\n".join(map(str, problems)).encode(errors="replace").decode())
        self.problems = tuple(problems)


class DatabaseError(CleverBetterError):
    """The database cannot serve us."""


class DatabaseUnavailable(DatabaseError):
    """The database does not answer; trying again later may help."""


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL cannot be started or used."""


class SchemaError(DatabaseError):
    """A table or column is missing or of the wrong kind."""


class DataError(CleverBetterError):
    """Rows that cannot be used."""


class ImportFileError(DataError):
    """A file cannot be read at all."""


class NothingToJudge(DataError):
    """No model has rows after it whose outcomes are known yet; there will be some by waiting, or for earlier models."""


class NotEnoughRows(DataError):
    """Fewer examples than a model needs."""


class NotStored(DataError):
    """What was asked for was never stored: an evaluation, predictions, an entry of the quarantine."""


class InvalidInput(DataError):
    """Numbers handed to a calculation that it cannot use: wrong length, not finite, out of bounds."""


class LearningError(CleverBetterError):
    """A model cannot be fitted or applied."""


class UnknownFamily(LearningError):
    """No such model family in the catalogue."""


class RegistryError(CleverBetterError):
    """The model registry refuses."""


class ModelNotFound(RegistryError):
    """No such model, version or champion."""


class ModelTampered(RegistryError):
    """A stored model differs from its recorded hash."""


class ModelOutdated(RegistryError):
    """Another release trained the model, and this one cannot load it."""


class GateRefused(RegistryError):
    """A model may not become champion: the gate, or a decision made meanwhile, stands against it."""
