"""One line of the doctor's report."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class DoctorLine:
    """What the doctor says about one thing. `remedy` is blank where all is well, or where the message names it."""

    name: str
    level: Level
    message: str
    remedy: str = ""
