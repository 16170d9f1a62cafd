"""What a mapping says: which column of another tool's export is which of ours, in which unit, and what it lacks."""

import re
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.dataset.schema import CREATED_AT, DATES, ROI, STRATEGY, TEXTS
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.source.column_names import CANONICAL

INDEX = "{index}"
"""Names the cells left of the first mapped column, such as a pandas index; or headings, or keys of JSON objects."""

FILE = "{file}"
"""Names the file's name without its endings."""

TOTAL_RETURN = "total_return"
RECOMMENDATION = "recommendation"
COLUMNS = tuple(name for name in (*CANONICAL, RECOMMENDATION) if name != ROI)
"""Our columns that a mapping may fill."""

INSTANTS = (*DATES, CREATED_AT)

NumberUnit = Literal["fraction", "percent", "basis points", "negative fraction", "negative percent", "currency"]
InstantUnit = Literal["epoch seconds", "epoch milliseconds"]
DurationUnit = Literal["duration in days", "duration in hours"]
Unit = NumberUnit | InstantUnit | DurationUnit

PART = re.compile(r"(\{\w+\})")
"""A part of a file's name, such as {strategy_id}."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileShape(_Strict):
    """How the export is laid out."""

    orientation: Literal["auto", "rows", "columns"] = Field(
        "auto", description="rows: a line is a backtest. columns: a line is a statistic, and a column a backtest."
    )
    objects: str = Field("", description="In JSON, the key of the object that has one object for each backtest.")
    name: str = Field("", description="Columns that the file's name holds, such as {strategy_id}_{start_date}.csv.")

    def parts(self, path: Path) -> dict[str, str]:
        """Our column -> its value in the file's name.

        Raises:
            ImportFileError: the name is of another form.
        """
        if not self.name:
            return {}
        pieces = (f"(?P<{p[1:-1]}>.+)" if PART.fullmatch(p) else re.escape(p) for p in PART.split(self.name))
        match = re.fullmatch("".join(pieces), path.name)
        if match is None:
            raise ImportFileError(f"The mapping takes columns from names like {self.name}, and {path.name} is not.")
        return match.groupdict()


class Dates(_Strict):
    """How the export writes instants."""

    timezone: str = Field("UTC", description="Zone of instants without one; of an hour that comes twice, the first.")
    format: str = Field("", description="As in strptime, such as %d/%m/%Y %H:%M. Without one: ISO 8601.")


class Bets(_Strict):
    """The columns of an export with a line for each bet. Such a mapping has no `columns` and `features`."""

    strategy: str = Field("", description="The strategy; without one, the constant strategy_id is.")
    placed: str = Field(description="When it was placed.")
    profit: str = Field(description="In money, negative if it lost.")
    stake: str = Field("", description="What was matched: an order without any is no bet.")
    window: Literal["month", "week"] = Field("month", description="Its bets become one row; in UTC.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The file's columns that are named."""
        return tuple(name for name in (self.strategy, self.placed, self.profit, self.stake) if name)


class ImportMapping(_Strict):
    """A mapping. `loading` reads one from TOML, `columns` applies it."""

    tool: str = Field("", description="What writes such files.")
    file: FileShape = FileShape()
    dates: Dates = Dates()
    columns: dict[str, str | tuple[str, ...]] = Field(
        default={}, description="Our column = that of the file, or several, of which the first that is there counts."
    )
    bets: Bets | None = Field(None, description="If each line is a bet.")
    units: dict[str, Unit] = Field(default={}, description="Our column or feature = the unit that the file has it in.")
    constants: dict[str, str | int | float] = Field(default={}, description="Our column = its value in all rows.")
    features: dict[str, str | tuple[str, ...]] = Field(
        default={}, description="Market feature = the file's column, for --features."
    )

    @property
    def named(self) -> frozenset[str]:
        """Every column of the file that the mapping names."""
        if self.bets:
            return frozenset(self.bets.columns)
        names = (source for name in (*self.columns, *self.features) for source in self.sources(name))
        return frozenset(names) - {INDEX, FILE}

    def sources(self, name: str) -> tuple[str, ...]:
        """Names that the file may use for one of `columns` or `features`, best first."""
        names = self.columns[name] if name in self.columns else self.features[name]
        return (names,) if isinstance(names, str) else names

    def units_of(self, name: str) -> tuple[str, ...]:
        """The units that one of `columns` or `features` may have."""
        if name in self.features:
            return (*get_args(NumberUnit)[:-1], *get_args(DurationUnit))
        if name in INSTANTS:
            return get_args(InstantUnit)
        if name in (*TEXTS, RECOMMENDATION):
            return ()
        return get_args(NumberUnit) if name == TOTAL_RETURN else get_args(NumberUnit)[:-1]

    def with_constants(self, constants: dict[str, str]) -> "ImportMapping":
        """The mapping with these values in all rows, whatever it said of their columns."""
        columns = {name: source for name, source in self.columns.items() if name not in constants}
        units = {name: unit for name, unit in self.units.items() if name in (*columns, *self.features)}
        bets = self.bets.model_copy(update={"strategy": ""}) if self.bets and STRATEGY in constants else self.bets
        changes = {"columns": columns, "units": units, "bets": bets, "constants": self.constants | constants}
        return self.model_copy(update=changes)
