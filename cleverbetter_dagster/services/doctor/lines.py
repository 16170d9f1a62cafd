"""What the doctor says of one thing it looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cleverbetter_dagster.settings import Settings

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` is blank where all is well, or where `told` says what to do."""

    name: str
    level: Level
    told: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]
