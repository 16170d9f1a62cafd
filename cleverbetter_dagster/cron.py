"""Cron expressions: whether one can be read. Dagster reads them; it is slow to import, and settings are read first."""

import re
from typing import Annotated

from pydantic import AfterValidator

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"
_VALUES = (
    "[0-5]?[0-9]",
    "[01]?[0-9]|2[0-3]",
    "0?[1-9]|[12][0-9]|3[01]|l",
    f"0?[1-9]|1[0-2]|{_MONTHS}",
    f"[0-7]|{_DAYS}",
)
"""Minute, hour, day of the month, month, day of the week."""


def is_cron(text: str) -> bool:
    """Whether a text is a cron expression of five fields, or a name such as `@daily`.

    >>> is_cron("0 5 * * 1"), is_cron("*/15 8-18 * * mon-fri"), is_cron("0 25 * * 1"), is_cron("0 5 * *")
    (True, True, False, False)
    """
    if text.strip().lower() in ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"):
        return True
    fields = text.lower().split()
    return len(fields) == len(_VALUES) and all(map(_is_field, fields, _VALUES))


def _is_field(text: str, value: str) -> bool:
    item = rf"(\*|({value})(-({value}))?)(/[1-9][0-9]*)?"
    return re.fullmatch(rf"{item}(,{item})*", text) is not None


def _readable(text: str) -> str:
    if not is_cron(text):
        raise ValueError("no cron expression; write five fields, such as '0 5 * * 1' for Mondays at five")
    return text


Cron = Annotated[str, AfterValidator(_readable)]
"""A cron expression as a field of settings."""
