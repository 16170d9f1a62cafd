"""Converts values of an export, given as texts, to ours. A text that cannot be read stays as it is.

The rules for all rows refuse it later, with the value that the file has.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import pandas as pd

from cleverbetter_dagster.store.imports.mapping.spec import Dates

_SECONDS = {"duration in days": 86_400, "duration in hours": 3_600}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_PER_SECOND = {"epoch seconds": 1, "epoch milliseconds": 1_000}

Texts = Sequence[str | None]


def as_returns(profits: Texts, capitals: Texts) -> list[str | None]:
    """Amounts of money as fractions of a capital in the same currency.

    >>> as_returns(["50", "n/a", "50"], ["1000", "1000", None])
    ['0.05', 'n/a', None]
    """
    return [_divided(profit, capital) for profit, capital in zip(profits, capitals, strict=True)]


def as_instants(texts: Texts, dates: Dates, unit: str = "") -> list[str | None]:
    """Instants in ISO 8601 and UTC. With a unit, numbers are counted from 1970; pandas writes such in JSON alone.

    >>> as_instants(["2023-07-01", "2023-07-01T00:00:00Z", "soon"], Dates(timezone="Europe/London"))
    ['2023-06-30T23:00:00+00:00', '2023-07-01T00:00:00+00:00', 'soon']
    >>> as_instants(["31/01/2023"], Dates(format="%d/%m/%Y"))
    ['2023-01-31T00:00:00+00:00']
    >>> as_instants(["1672531200000"], Dates(), "epoch milliseconds")
    ['2023-01-01T00:00:00+00:00']
    """
    return [None if text is None else _instant(text, dates, unit) for text in texts]


def as_durations(texts: Texts, unit: str) -> list[str | None]:
    """Lengths of time, as pandas writes them, as numbers of days or hours.

    >>> as_durations(["74 days 12:00:00", "long", None], "duration in days")
    ['74.5', 'long', None]
    """
    return [None if text is None else _duration(text, unit) for text in texts]


def _divided(profit: str | None, capital: str | None) -> str | None:
    if profit is None or capital is None:
        return None
    try:
        return str(Decimal(profit) / Decimal(capital))
    except (InvalidOperation, ZeroDivisionError):
        return profit


def _instant(text: str, dates: Dates, unit: str) -> str:
    try:
        if unit and _NUMBER.fullmatch(text):
            instant = datetime.fromtimestamp(float(text) / _PER_SECOND[unit], UTC)
        elif dates.format:
            instant = datetime.strptime(text, dates.format)
        else:
            instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=ZoneInfo(dates.timezone))
        return instant.astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return text


def _duration(text: str, unit: str) -> str:
    try:
        return repr(pd.Timedelta(text).total_seconds() / _SECONDS[unit])
    except ValueError:
        return text
