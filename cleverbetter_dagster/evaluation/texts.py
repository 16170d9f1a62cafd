"""Numbers and lists as text for people: what charts and reports write."""

import math
from collections.abc import Sequence

DASH = "–"
"""Stands where there is no number."""


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals.

    >>> decimal(0.12345), decimal(None)
    ('0.123', '–')
    """
    return DASH if value is None or not math.isfinite(value) else _with_minus(f"{value:.{digits}f}")


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction as a percentage.

    >>> percent(-0.0123), percent(0.5, 0), percent(0.5, 0, signed=True), percent(-0.0001)
    ('−1.2%', '50%', '+50%', '0.0%')
    """
    if value is None or not math.isfinite(value):
        return DASH
    sign = "+" if signed else ""
    return _with_minus(f"{value:{sign}.{digits}%}")


def whole_percent(value: float) -> str:
    """A fraction as a percentage without decimals."""
    return percent(value, 0)


def sentence_list(names: Sequence[str]) -> str:
    """Names joined for a sentence.

    >>> sentence_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _with_minus(text: str) -> str:
    """The text with a true minus sign, and without any sign where it rounds to zero."""
    return text.replace("-", "−") if any(digit in text for digit in "123456789") else text.lstrip("+-")
