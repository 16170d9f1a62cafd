"""Months: `AsOf`, the month a model stands at, and the months of a column. Only this module calculates with months.

A month closes when it is over in every time zone: at 13:00 UTC of the next 1st, an hour after it ended in the last of
them. So a window that ends at midnight of the 1st, of whichever zone, belongs to the month it covers. Rows do not say
their zone, and a model has one instant up to which it knows everything; so the instant is the same for all rows.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
import pandas as pd

from cleverbetter_dagster.errors import DataError, InvalidInput

MONTH_CLOSES = pd.Timedelta(hours=13)
"""How long after its last midnight in UTC a month closes. It ends last in UTC-12, at 12:00 UTC."""

_KEY = re.compile(r"^([0-9]{4})-(0[1-9]|1[0-2])$")


@dataclass(frozen=True, order=True)
class AsOf:
    """One calendar month, ordered in time. A model of it may use only what was known before its end.

    >>> december = AsOf.parse("2023-12")
    >>> december.end
    Timestamp('2024-01-01 13:00:00+0000', tz='UTC')
    >>> december.plus(2).key, december.plus(2) - december
    ('2024-02', 2)
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (1678 <= self.year <= 2261 and 1 <= self.month <= 12):
            raise InvalidInput(
                f"No month {self.year}-{self.month}: "
                "give a year in 1678..2261 (the range of a timestamp) and a month in 1..12."
            )

    @classmethod
    def parse(cls, key: str) -> Self:
        """The month named `YYYY-MM`.

        Raises:
            InvalidInput: `key` is not of that form.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise InvalidInput(f"Cannot read {key!r} as a month: write YYYY-MM, for example 2023-12.")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The month that is open at `moment` (timezone-aware).

        >>> AsOf.of(pd.Timestamp("2024-01-01", tz="America/New_York")).key
        '2023-12'
        """
        if moment.tzinfo is None:
            raise DataError(f"{moment} has no timezone: give an aware timestamp, for example with tz='UTC'.")
        day = pd.Timestamp(moment).tz_convert("UTC") - MONTH_CLOSES
        return cls(day.year, day.month)

    @property
    def key(self) -> str:
        """The month as `YYYY-MM`, also the partition key."""
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def first_day(self) -> pd.Timestamp:
        """Midnight, in UTC, at which the calendar month begins."""
        return pd.Timestamp(year=self.year, month=self.month, day=1, tz="UTC")

    @property
    def start(self) -> pd.Timestamp:
        """First instant that belongs to the month: when the month before closes."""
        return self.first_day + MONTH_CLOSES

    @property
    def end(self) -> pd.Timestamp:
        """First instant after the month. What happens at this instant is not known yet."""
        return self.plus(1).start

    @classmethod
    def range(cls, first: Self, last: Self) -> list[Self]:
        """Every month from `first` to `last`, both included; empty where `last` is earlier.

        >>> [month.key for month in AsOf.range(AsOf(2023, 12), AsOf(2024, 1))]
        ['2023-12', '2024-01']
        """
        return [first.plus(months) for months in range(last - first + 1)]

    def plus(self, months: int) -> Self:
        """The month `months` later, or earlier where negative."""
        year, month_index = divmod(self.year * 12 + self.month - 1 + months, 12)
        return type(self)(year, month_index + 1)

    def __sub__(self, earlier: "AsOf") -> int:
        """Months from `earlier` to this one."""
        return (self.year - earlier.year) * 12 + self.month - earlier.month

    def __str__(self) -> str:
        return self.key


def month_keys(first: str, last: str) -> list[str]:
    """The keys of `AsOf.range`, from the keys of its ends.

    Raises:
        DataError: a key is not of the form `YYYY-MM`.

    >>> month_keys("2023-11", "2024-01")
    ['2023-11', '2023-12', '2024-01']
    """
    return [month.key for month in AsOf.range(AsOf.parse(first), AsOf.parse(last))]


def months_of(times: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """Month, as `AsOf.of`, of each time (timezone-aware), datetime64[M], shape (n,).

    Differences count months, `.astype(str)` gives the keys.

    >>> months = months_of(pd.DatetimeIndex(["2024-01-01", "2024-02-29 23:00"], tz="UTC"))
    >>> months.astype(str).tolist(), int((months[1] - months[0]).astype(int))
    (['2023-12', '2024-02'], 2)
    """
    return (pd.DatetimeIndex(times).tz_convert(None) - MONTH_CLOSES).to_numpy().astype("datetime64[M]")
