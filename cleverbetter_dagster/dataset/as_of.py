"""The month a model stands at: it may use only what was known before that month's end."""

import re
from dataclasses import dataclass
from typing import Self

import pandas as pd

from cleverbetter_dagster.errors import DataError

_KEY = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")


@dataclass(frozen=True, order=True)
class AsOf:
    """One calendar month in UTC. Ordered in time.

    >>> AsOf.parse("2023-12").end
    Timestamp('2024-01-01 00:00:00+0000', tz='UTC')
    >>> AsOf.parse("2023-12").next() > AsOf.parse("2023-12")
    True
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (1678 <= self.year <= 2261 and 1 <= self.month <= 12):
            raise DataError(
                f"No month {self.year}-{self.month}: "
                "take a year in 1678..2261 (what a timestamp holds) and a month in 1..12."
            )

    @classmethod
    def parse(cls, key: str) -> Self:
        """The month named `YYYY-MM`.

        Raises:
            DataError: `key` is not of that form.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise DataError(f"Cannot read {key!r} as a month: write YYYY-MM, for example 2023-12.")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: pd.Timestamp) -> Self:
        """The month, in UTC, in which `moment` (timezone-aware) falls.

        >>> AsOf.of(pd.Timestamp("2024-01-01 10:00", tz="Australia/Sydney")).key
        '2023-12'
        """
        if moment.tzinfo is None:
            raise DataError(f"{moment} has no timezone: give an aware timestamp, for example with tz='UTC'.")
        utc = moment.tz_convert("UTC")
        return cls(utc.year, utc.month)

    @property
    def key(self) -> str:
        """The month as `YYYY-MM`, also the partition key."""
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def start(self) -> pd.Timestamp:
        """First instant of the month."""
        return pd.Timestamp(year=self.year, month=self.month, day=1, tz="UTC")

    @property
    def end(self) -> pd.Timestamp:
        """First instant after the month; exclusive: what happens at it is not yet known."""
        return self.next().start

    def next(self) -> Self:
        """The month after."""
        return self._shifted(1)

    def previous(self) -> Self:
        """The month before."""
        return self._shifted(-1)

    def _shifted(self, months: int) -> Self:
        year, month_index = divmod(self.year * 12 + self.month - 1 + months, 12)
        return type(self)(year, month_index + 1)

    def __str__(self) -> str:
        return self.key
