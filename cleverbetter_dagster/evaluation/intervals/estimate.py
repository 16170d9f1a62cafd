"""What is said about a figure: its value, and an interval or the reason why there is none."""

import math
from collections.abc import Callable, Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class IntervalSpec(BaseModel):
    """How sure intervals are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Share of repetitions in which an interval covers the true value; between 0.5 and 1, default 0.95.",
    )


class Estimate(BaseModel):
    """A figure, with an interval that covers the truth in a share `level` of repetitions.

    Attributes:
        point: None if the rows do not define the figure.
        low, high: ends of the interval; both None without one.
        reason: why there is no interval; empty if there is one.
    """

    model_config = ConfigDict(frozen=True)

    point: float | None
    low: float | None = None
    high: float | None = None
    level: float
    reason: str = ""

    @classmethod
    def without(cls, reason: str, level: float, point: float | None = None) -> Self:
        """A figure without an interval, or none at all. A point that is not finite is none."""
        known = point if point is not None and math.isfinite(point) else None
        return cls(point=known, level=level, reason=reason)

    @property
    def ends(self) -> tuple[float, float] | None:
        """Low and high; None without an interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def span(self, shown: Callable[[float], str]) -> str:
        """The interval for people, its ends as `shown`, or why there is none.

        >>> Estimate(point=0.2, low=0.1, high=0.3, level=0.95).span("{:.0%}".format)
        '10% to 30%'
        >>> Estimate.without("no stakes", 0.95).span(str)
        'no interval: no stakes'
        """
        return " to ".join(map(shown, self.ends)) if self.ends else f"no interval: {self.reason}"

    def __neg__(self) -> Self:
        """The estimate of the figure with the other sign."""
        point, low, high = (None if value is None else -value for value in (self.point, self.high, self.low))
        return self.model_copy(update={"point": point, "low": low, "high": high})

    def minus(self, other: Self) -> Self:
        """The estimate of the difference to an independent one, from the ends of both.

        Source: Zou and Donner (2008), "Construction of confidence limits about effect measures", Statistics in Medicine
        27(10): the distances of the ends from the points add in squares.
        """
        if self.point is None or other.point is None or self.ends is None or other.ends is None:
            return self.without(self.reason or other.reason, self.level)
        point = self.point - other.point
        down = math.hypot(self.point - self.ends[0], other.ends[1] - other.point)
        up = math.hypot(self.ends[1] - self.point, other.point - other.ends[0])
        return self.model_copy(update={"point": point, "low": point - down, "high": point + up})

    def __str__(self) -> str:
        if self.ends is None:
            return "none" * (self.point is None) + _number(self.point) + f" (no interval: {self.reason})"
        return f"{_number(self.point)} [{_number(self.low)}, {_number(self.high)}]"


def missing_intervals(estimates: Iterable[Estimate | None]) -> list[str]:
    """Why figures have no interval, a line for each reason."""
    return list(dict.fromkeys(f"no interval: {one.reason}" for one in estimates if one is not None and one.reason))


def fewest_months(level: float) -> int:
    """Fewest months that can give an interval of this level.

    No interval made of the months' own values covers the truth more often than 1 - 2^(1 - months): all months may lie
    on one side of it. Source: David and Nagaraja (2003), "Order Statistics", section 7.1.

    >>> [fewest_months(level) for level in (0.8, 0.95, 0.99)]
    [4, 6, 8]
    """
    return math.ceil(1 - math.log2(1 - level) - 1e-9)


def too_few(months: int, level: float) -> str | None:
    """The reason why so many months give no interval of this level; None if they do."""
    fewest = fewest_months(level)
    if months >= fewest:
        return None
    return f"{months} {'month' if months == 1 else 'months'}; {level:.0%} needs {fewest}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
