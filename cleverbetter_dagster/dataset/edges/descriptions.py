"""What describes a strategy: running means of the columns of its rows, as normal scores among all strategies.

Which columns describe is found, not named: a column is left out if luck can make up a part of what strategies differ
in, as in a profit by Monte Carlo, which follows the outcome of its own window. Strategies would be alike because
they were lucky alike. The share of winners follows outcomes too, but tells backing from laying by more than luck.
While no strategy has two windows nothing tells yet, and no column is used.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

MOST_LUCK = 0.002
"""Largest share that outcomes may have in the variance of a column's means over strategies."""

MOST_COLUMNS = 200
"""Columns that are looked at: those measured earliest, then by name."""

MOST_USED = 32
"""Columns that describe: those that differ most between strategies, next to how they vary within one."""

LARGEST = 1e100
"""Values are kept within this, so that their squares are finite."""


@dataclass(frozen=True, eq=False)
class Scale:
    """Turns means of columns into normal scores, by rank among the strategies there were.

    Attributes:
        columns: positions of the columns used.
        sorted_means: of each of them, ascending, without missing ones.
    """

    columns: tuple[int, ...]
    sorted_means: tuple[np.ndarray, ...]

    def scores(self, means: np.ndarray) -> np.ndarray:
        """Normal scores of strategies, float64[n, used]; 0, the middle, where a mean is missing.

        Args:
            means: of all columns, float64[n, columns], NaN where missing.
        """
        scores = np.zeros((len(means), len(self.columns)))
        for position, (column, known) in enumerate(zip(self.columns, self.sorted_means, strict=True)):
            values, n = means[:, column], len(known)
            middle = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / (2.0 * n)
            rank = np.clip(middle, 0.5 / n, 1.0 - 0.5 / n)
            scores[:, position] = np.where(np.isnan(values), 0.0, ndtri(rank))
        return scores


class Descriptions:
    """Running sums of the columns of every strategy; rows are added in order of time.

    Args:
        strategies: how many there may be.
        columns: how many columns rows have.
    """

    def __init__(self, strategies: int, columns: int) -> None:
        shape = (strategies, columns)
        self._count, self._sum, self._squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._products, self._outcomes, self._outcome_squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._origin = np.full(shape, np.nan)

    def add(self, strategy: np.ndarray, values: np.ndarray, outcome: np.ndarray) -> None:
        """Add rows.

        Args:
            strategy: code of each row's strategy, int64[n].
            values: of the columns, float64[n, columns]; NaN where missing, nothing infinite.
            outcome: of the row's window, float64[n].
        """
        measured = ~np.isnan(values)
        self._begin(strategy, values, measured)
        # Measured from the strategy's first value, so that a constant varies by exactly 0.
        value = np.where(measured, values - self._origin[strategy], 0.0)
        result = np.where(measured, outcome[:, None], 0.0)
        for total, part in (
            (self._count, measured),
            (self._sum, value),
            (self._squares, value**2),
            (self._products, value * result),
            (self._outcomes, result),
            (self._outcome_squares, result**2),
        ):
            np.add.at(total, strategy, part)

    def means(self, strategies: int) -> np.ndarray:
        """Mean of each column of the first strategies so far, float64[strategies, columns]; NaN where not measured."""
        count = self._count[:strategies]
        share = np.divide(self._sum[:strategies], count, out=np.full(count.shape, np.nan), where=count > 0)
        return self._origin[:strategies] + share

    def scale(self, strategies: int) -> Scale:
        """How the first strategies are compared: by the columns that describe more than luck."""
        means = self.means(strategies)
        apart: dict[int, float] = {}
        for column in range(means.shape[1]):
            known, within = _known(means[:, column]), self._within(strategies, column)
            between = float(known.var()) if len(known) else 0.0
            if within and between > 0.0 and within.luck <= MOST_LUCK * between:
                apart[column] = between / (between + within.variance)
        used = sorted(sorted(apart, key=lambda column: -apart[column])[:MOST_USED])
        return Scale(tuple(used), tuple(np.sort(_known(means[:, column])) for column in used))

    def _begin(self, strategy: np.ndarray, values: np.ndarray, measured: np.ndarray) -> None:
        """Set the origin of columns that a strategy has for the first time."""
        row, column = np.nonzero(measured & np.isnan(self._origin[strategy]))
        # Assigned backwards, since the last assignment to an element stays.
        self._origin[strategy[row[::-1]], column[::-1]] = values[row[::-1], column[::-1]]

    def _within(self, strategies: int, column: int) -> "_Within | None":
        """How a column varies within strategies; None while none of them has two rows with it."""
        count, values, squares, products, outcomes, outcome_squares = (
            total[:strategies, column].copy()
            for total in (
                self._count,
                self._sum,
                self._squares,
                self._products,
                self._outcomes,
                self._outcome_squares,
            )
        )
        several, seen = count > 1, count > 0
        if not several.any():
            return None
        per = np.where(several, 1.0 / np.maximum(count, 1.0), 0.0)
        spread = float(np.maximum(squares - values**2 * per, 0.0)[several].sum())
        results = float(np.maximum(outcome_squares - outcomes**2 * per, 0.0)[several].sum())
        together = float((products - values * outcomes * per)[several].sum())
        variance = spread / float((count - 1.0)[several].sum())
        follows = (together / np.sqrt(spread)) ** 2 / results if spread > 0.0 and results > 0.0 else 0.0
        return _Within(variance, follows * variance * float((1.0 / count[seen]).mean()))


@dataclass(frozen=True)
class _Within:
    """Variance of a column within strategies, and the variance of a strategy's mean that goes with its outcomes."""

    variance: float
    luck: float


def _known(means: np.ndarray) -> np.ndarray:
    return means[~np.isnan(means)]
