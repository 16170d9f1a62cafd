"""What was known of a sequence, or of all rows, when a row was decided. Arithmetic only.

The rule: the history of a row is the row itself and the rows of the same sequence with a *strictly* earlier decision
time. Rows of one sequence that were decided at the same moment do not see each other, so they need no order among
themselves. Every number depends on earlier rows only, to the last bit: sums run forward and start again in each
sequence.
"""

import numpy as np
import pandas as pd


class History:
    """Running numbers of each row's own sequence. Rows are in order of decision time.

    Args:
        sequence: integer code of each row's sequence, int64[n].
        decision_time: when each row is decided, ascending, datetime64[n].

    All methods take and return arrays in the order of the rows, and expect finite values.

    >>> january, february = np.array(["2023-01", "2023-02"], dtype="datetime64[M]")
    >>> history = History(np.array([0, 1, 0]), np.array([january, january, february]))
    >>> history.total(np.array([1.0, 10.0, 100.0])).tolist()
    [1.0, 10.0, 101.0]
    """

    def __init__(self, sequence: np.ndarray, decision_time: np.ndarray) -> None:
        self._order = np.argsort(sequence, kind="stable")
        self._sequence = sequence[self._order]
        moment = decision_time[self._order]
        new_sequence = _changes(self._sequence)
        self._start = _last_true(new_sequence)
        self._earlier_end = _last_true(new_sequence | _changes(moment))
        self._has_earlier = self._earlier_end > self._start
        self.windows_seen = self._restore(self._earlier_end - self._start + 1).astype(float)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the history."""
        own = values[self._order]
        running = pd.Series(own).groupby(self._sequence, sort=False).cumsum().to_numpy()
        return self._restore(own + np.where(self._has_earlier, running[self._earlier_end - 1], 0.0))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the history."""
        return self.total(values) / self.windows_seen

    def variance(self, values: np.ndarray) -> np.ndarray:
        """Population variance (divisor n) over the history: 0 for one row."""
        # Measured from the first value of the sequence, so that equal values have a variance of exactly 0.
        centred = values - self._restore(values[self._order][self._start])
        return np.maximum(self.mean(centred**2) - self.mean(centred) ** 2, 0.0)

    def recent(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted mean over the last `len(weights)` rows of the history, the row's own weight first."""
        own = values[self._order]
        weighted, weight_sum = weights[0] * own, np.full(len(own), weights[0])
        for back, weight in enumerate(weights[1:], start=1):
            position = self._earlier_end - back
            there = position >= self._start
            weighted += np.where(there, weight * own[np.where(there, position, 0)], 0.0)
            weight_sum += np.where(there, weight, 0.0)
        return self._restore(weighted / weight_sum)

    def streak(self, condition: np.ndarray) -> np.ndarray:
        """Length of the newest run of rows with the same `condition`: positive where it holds, negative where not.

        >>> history = History(np.zeros(4, dtype=int), np.arange(4))
        >>> history.streak(np.array([True, True, False, True])).tolist()
        [1.0, 2.0, -1.0, 1.0]
        """
        own = condition[self._order]
        run_start = _last_true(_changes(self._sequence) | _changes(own))
        before = self._earlier_end - 1
        run_before = np.where(self._has_earlier & (own[before] == own), before - run_start[before] + 1, 0)
        return self._restore((run_before + 1) * np.where(own, 1.0, -1.0))

    def _restore(self, in_sequence_order: np.ndarray) -> np.ndarray:
        restored = np.empty_like(in_sequence_order)
        restored[self._order] = in_sequence_order
        return restored


class Population:
    """Running numbers of all rows known when a row is decided, including those decided at the same moment.

    Args:
        decision_time: when each row is decided, ascending, datetime64[n].
    """

    def __init__(self, decision_time: np.ndarray) -> None:
        self._known_end = np.searchsorted(decision_time, decision_time, side="right")

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the known rows.

        >>> Population(np.array([1, 1, 2])).total(np.array([1.0, 10.0, 100.0])).tolist()
        [11.0, 11.0, 111.0]
        """
        return np.cumsum(values)[self._known_end - 1] if len(values) else values

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the known rows."""
        return self.total(values) / self._known_end


def ratio(numerator: np.ndarray, denominator: np.ndarray, undefined: np.ndarray | float = 0.0) -> np.ndarray:
    """`numerator / denominator`, or `undefined` where the denominator is not positive.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    out = np.broadcast_to(undefined, numerator.shape).astype(float)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _changes(values: np.ndarray) -> np.ndarray:
    changed = np.ones(len(values), dtype=bool)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _last_true(flags: np.ndarray) -> np.ndarray:
    """Position of the last True at or before each position. The first flag must be True."""
    return np.maximum.accumulate(np.where(flags, np.arange(len(flags)), 0))
