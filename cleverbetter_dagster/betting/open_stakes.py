"""Stakes that are open at the same time share one bankroll: when they are decided, opened and settled.

- *Round*: the decisions a team takes together. A round gathers decisions for as long as none of its windows has begun,
  or for `ROUND_HOURS` from its first, whichever is longer, and never beyond the end of one of its windows. It is
  decided at its last decision. So strategies whose windows end some hours or days apart, but whose next windows begin
  together, are sized together, and no stake is opened before what it is sized by is known.
- A stake is *open* from its round to the end of its window. Its profit reaches the bankroll then, not earlier.
- A stake is a fraction of the *realised* bankroll at its round; a round may stake what earlier stakes have left.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray, IntArray
from cleverbetter_dagster.errors import InvalidInput

ROUND_HOURS = 12
"""Decisions up to so long after the first of a round join it even if its windows have begun: predictions are renewed
once a day, so decisions half a day apart meet in the same run."""

Size = Callable[[IntArray, float], ArrayLike]
"""Sizes a round: from the positions of its rows and the share of the bankroll that is open, fractions of the
bankroll, one per row."""


@dataclass(frozen=True, eq=False)
class Windows:
    """What n stakes are decided for.

    Attributes:
        decided: when each decision is known, datetime64[us], shape (n,), in UTC.
        opens: when the window begins that is staked on, likewise.
        closes: when that window has ended and its return is known, after `decided`, likewise.

    Raises:
        InvalidInput: lengths differ, a time is missing, or a window closes before it was decided on.
    """

    decided: np.ndarray
    opens: np.ndarray
    closes: np.ndarray

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, np.asarray(getattr(self, field.name), dtype="datetime64[us]"))
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise InvalidInput(f"Lengths differ ({lengths}): give one of each per row.")
        for name in lengths:
            if np.isnat(getattr(self, name)).any():
                raise InvalidInput(f"{name} has a missing time: leave rows without a known next window out.")
        wrong = np.flatnonzero(self.closes <= self.decided)
        if len(wrong):
            row = wrong[0]
            raise InvalidInput(
                f"Window {row} closes at {self.closes[row]}, and was decided on at {self.decided[row]}: "
                "a stake must be decided before its outcome is known."
            )

    def __len__(self) -> int:
        return len(self.decided)

    @classmethod
    def consecutive(cls, decided: ArrayLike) -> Self:
        """Windows that each last from their decision to the next later one, the last for a month.

        >>> Windows.consecutive(["2023-01", "2023-01", "2023-03"]).closes.astype("datetime64[D]").tolist()[1:]
        [datetime.date(2023, 3, 1), datetime.date(2023, 3, 31)]
        """
        times, index = np.unique(np.asarray(decided, dtype="datetime64[us]"), return_inverse=True)
        following = np.append(times[1:], times[-1:] + np.timedelta64(30, "D"))
        return cls(times[index], times[index], following[index])

    def take(self, rows: np.ndarray) -> Self:
        """The windows at these positions, or where this mask is true."""
        return type(self)(self.decided[rows], self.opens[rows], self.closes[rows])

    @cached_property
    def round(self) -> IntArray:
        """Number of each row's round, 0.. in order of time, int[n]."""
        times, index = np.unique(self.decided, return_inverse=True)
        opens, closes = (np.full(len(times), np.datetime64("9999-12-31", "us")) for _ in range(2))
        np.minimum.at(opens, index, self.opens)
        np.minimum.at(closes, index, self.closes)
        return _rounds(times.astype(np.int64), opens.astype(np.int64), closes.astype(np.int64))[index]

    @cached_property
    def instants(self) -> np.ndarray:
        """When each round is decided: at its last decision, datetime64[us], ascending, one per round."""
        instants = np.full(self.round.max(initial=-1) + 1, np.datetime64("0001-01-01", "us"))
        np.maximum.at(instants, self.round, self.decided)
        return instants

    @cached_property
    def settled(self) -> IntArray:
        """Number of the first round at which each row is settled; the number of rounds if none, int[n]."""
        return np.searchsorted(self.instants, self.closes, side="left")

    @cached_property
    def members(self) -> list[IntArray]:
        """Positions of the rows of each round, ascending."""
        order = np.argsort(self.round, kind="stable")
        return (
            np.split(order, np.searchsorted(self.round[order], np.arange(1, len(self.instants)))) if len(self) else []
        )


@dataclass(frozen=True, eq=False)
class Replay:
    """Stakes of r rounds, settled in the order of events.

    Attributes:
        stake: of each row, a fraction of the realised bankroll at its round, shape (n,).
        bankroll: realised at each round, and when all windows have closed; it starts at 1 and is 0 after ruin,
            shape (r + 1,).
        open_fraction: share of the bankroll that is open right after each round, shape (r,); 0 after ruin.
    """

    stake: FloatArray
    bankroll: FloatArray
    open_fraction: FloatArray


def replay(windows: Windows, next_roi: ArrayLike, size: Size) -> Replay:
    """Size every round in order of time, and settle every stake when its window closes.

    Args:
        windows: what is staked on, n rows of r rounds.
        next_roi: return of each window, a fraction of its stake, shape (n,). It is used once the window has closed.
        size: called once a round, in order.

    While no return is below -1, no `size` that stays within a bound on the sum less what is open ever has more than
    the bound open, at any instant: a loss takes at least as much from what is open as from the bankroll.

    >>> windows = Windows(["2023-01", "2023-02"], ["2023-01", "2023-02"], ["2023-03", "2023-03"])
    >>> result = replay(windows, [0.1, -0.5], lambda rows, open_fraction: [0.8 - open_fraction] * len(rows))
    >>> result.stake.tolist(), result.bankroll.tolist()
    ([0.8, 0.0], [1.0, 1.0, 1.08])
    """
    roi, rounds = np.asarray(next_roi, dtype=np.float64), len(windows.instants)
    stake, bankroll, open_fraction = np.zeros(len(windows)), np.ones(rounds + 1), np.zeros(rounds)
    due_stake, due_profit = np.zeros(rounds + 1), np.zeros(rounds + 1)
    for number, rows in enumerate(windows.members):
        wealth = bankroll[number] = _settled(bankroll[number - 1] if number else 1.0, due_profit[number])
        still_open = due_stake[number + 1 :].sum()
        stake[rows] = size(rows, still_open / wealth if wealth > 0 else 1.0)
        money = stake[rows] * wealth
        np.add.at(due_stake, windows.settled[rows], money)
        np.add.at(due_profit, windows.settled[rows], money * roi[rows])
        open_fraction[number] = (still_open + money.sum()) / wealth if wealth > 0 else 0.0
    bankroll[rounds] = _settled(bankroll[rounds - 1], due_profit[rounds])
    return Replay(stake, bankroll, open_fraction)


def open_at(windows: Windows, stakes: ArrayLike, next_roi: ArrayLike, instant: np.datetime64) -> float:
    """Share of the bankroll that is open at an instant, of stakes that were placed before it.

    Args:
        windows: what was staked on; those that have not closed yet close after the instant.
        stakes: fractions of the bankroll at their rounds, shape (n,).
        next_roi: of the windows that have closed by the instant, shape (n,); others may be NaN.
        instant: in UTC.
    """
    if not len(windows):
        return 0.0
    now, given = instant.astype("datetime64[us]"), np.append(np.asarray(stakes, dtype=np.float64), 0.0)
    # A row that stakes nothing, decided now, whose round tells what is open.
    end = np.append(windows.closes, now + np.timedelta64(1, "D"))
    extended = Windows(np.append(windows.decided, now), np.append(windows.opens, now), end)
    roi = np.append(np.where(windows.closes <= now, next_roi, 0.0), 0.0)
    return float(replay(extended, roi, lambda rows, _: given[rows]).open_fraction[-1])


def _settled(bankroll: float, profit: float) -> float:
    return max(bankroll + profit, 0.0) if bankroll > 0 else 0.0


def _rounds(times: IntArray, opens: IntArray, closes: IntArray) -> IntArray:
    """Number of the round of each of the ascending times, all in microseconds."""
    grace = ROUND_HOURS * 3_600_000_000
    rounds, number = np.empty(len(times), dtype=np.int64), -1
    until = first_open = first_close = 0
    for position, (time, begins, ends) in enumerate(zip(times.tolist(), opens.tolist(), closes.tolist(), strict=True)):
        if number < 0 or time >= first_close or time > max(until, first_open):
            number, until, first_open, first_close = number + 1, time + grace, begins, ends
        first_open, first_close = min(first_open, begins), min(first_close, ends)
        rounds[position] = number
    return rounds
