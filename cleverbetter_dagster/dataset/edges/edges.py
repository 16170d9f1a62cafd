"""The edge of every row's strategy as known when the row is decided. Later rows change no bit of it.

The process over strategies is renewed at a decision time by which enough rows are new. In between a strategy's
own rows are added to what the renewal said of it, and a strategy that is new since then gets what those like it say.
The constants are fitted again only when as many bets were placed as before in all.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from cleverbetter_dagster.dataset.edges.constants import FIRST, fitted
from cleverbetter_dagster.dataset.edges.descriptions import LARGEST, MOST_COLUMNS, Descriptions, Scale
from cleverbetter_dagster.dataset.edges.forgetting import Forgetting
from cleverbetter_dagster.dataset.edges.gaussian_process import (
    LARGEST_COMMON,
    Basis,
    Posterior,
    Results,
    common_columns,
    farthest_first,
    posterior,
)
from cleverbetter_dagster.dataset.edges.spread import Moments, Spread, spread_of
from cleverbetter_dagster.dataset.history import History, ratio

RENEWAL_SHARE = 0.25
"""New rows, in units of the strategies seen, from which the process is renewed."""

DAY = np.timedelta64(1, "D")

REFIT_FACTOR = 2.0
"""Growth of the number of all bets from which the constants are fitted again."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Rows in order of decision time.

    Attributes:
        sequence: integer code of each row's strategy, by first appearance, int64[n].
        decided: when each row is decided, ascending, datetime64[n].
        roi: of its window, float64[n], finite.
        bets: in its window, float64[n], not negative; a window without bets has a roi of 0.
        described: columns that may describe strategies, float64[n, columns]; NaN where missing.
    """

    sequence: np.ndarray
    decided: np.ndarray
    roi: np.ndarray
    bets: np.ndarray
    described: np.ndarray


@dataclass(frozen=True, eq=False)
class Edges:
    """What is known of each row's strategy at the decision, float64[n] each, finite.

    Attributes:
        mean: of the return per bet.
        uncertainty: variance of that mean.
        variance: of the return of one bet around the mean.
    """

    mean: np.ndarray
    uncertainty: np.ndarray
    variance: np.ndarray


def edges_of(rows: Observed) -> Edges:
    """The edges of all rows' strategies, each as known at the row's decision."""
    if not len(rows.roi):
        return Edges(*np.zeros((3, 0)))
    mean, uncertainty, variance = np.empty((3, len(rows.roi)))
    history = History(rows.sequence, rows.decided)
    bets, roi = history.total(rows.bets), history.total(rows.roi)
    process = _Process(rows)
    with threadpool_limits(1, "blas"):
        for added, begin, end, until in _renewals(rows):
            process.renew(added, end)
            now, since = slice(begin, end), slice(end, until)
            mean[now], uncertainty[now], variance[now] = process.of_known(rows.sequence[now])
            mean[since], uncertainty[since], variance[since] = process.with_own(since, bets[since], roi[since])
    return Edges(mean, uncertainty, variance)


class _Process:
    """The process over strategies, renewed as rows are added in order of time."""

    def __init__(self, rows: Observed) -> None:
        self._rows, self._described = rows, _columns_looked_at(rows)
        strategies = int(rows.sequence.max()) + 1
        self._descriptions = Descriptions(strategies, self._described.shape[1])
        self._windows, self._bets, self._roi, self._squares = np.zeros((4, strategies))
        self._forgetting = Forgetting(strategies)
        self._constants, self._fitted_bets = FIRST, 0.0
        self._moved_together, self._could_move = 0.0, 0.0
        self._scale: Scale
        self._spread: Spread
        self._columns: np.ndarray
        self._deviation: np.ndarray
        self._posterior: Posterior

    def renew(self, begin: int, end: int) -> None:
        """Add the rows from `begin` to before `end`, and estimate anew."""
        added = slice(begin, end)
        strategy, roi, bets = self._rows.sequence[added], self._rows.roi[added], self._rows.bets[added]
        outcome = ratio(roi, np.sqrt(bets))
        if begin:
            self._judge_forgetting(strategy, roi, bets)
        self._forgetting.add(strategy, roi, bets, days=(self._rows.decided[end - 1] - self._rows.decided[0]) / DAY)
        self._descriptions.add(strategy, self._described[added], outcome)
        for total, part in (
            (self._windows, bets > 0),
            (self._bets, bets),
            (self._roi, roi),
            (self._squares, outcome**2),
        ):
            np.add.at(total, strategy, part)
        self._estimate(int(self._rows.sequence[:end].max()) + 1)
        self._learn_common_noise(strategy, outcome, np.sqrt(bets))

    def of_known(self, strategy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, its uncertainty and the variance per bet of strategies, as of the renewal."""
        deviation = self._deviation[strategy]
        known = self._posterior
        return known.mean[strategy] * deviation, known.variance[strategy] * deviation**2, deviation**2

    def with_own(self, rows: slice, bets: np.ndarray, roi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same for rows decided since, with what their own strategies have earned since.

        Args:
            rows: decided after the renewal and before the next.
            bets, roi: total of each row's strategy at its decision, float64[rows].
        """
        strategy = self._rows.sequence[rows]
        old = strategy < len(self._deviation)
        known = np.where(old, strategy, 0)
        edge, variance = self._posterior.mean[known], self._posterior.variance[known]
        deviation = self._deviation[known]
        new_bets = np.where(old, bets - self._bets[known], bets)
        new_roi = np.where(old, roi - self._roi[known], roi)
        if not old.all():
            edge[~old], variance[~old], deviation[~old] = self._of_new(rows, ~old)
        precision = 1.0 / variance + new_bets
        mean = (edge / variance + new_roi / deviation) / precision
        return mean * deviation, deviation**2 / precision, deviation**2

    def _of_new(self, rows: slice, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edge, its variance and the deviation per bet of strategies not seen at the renewal, by each row alone."""
        scores = self._scale.scores(self._described[rows][which])
        edge, variance = self._posterior.of_new(scores)
        return edge, variance, np.sqrt(self._spread.of_new(scores))

    def _estimate(self, strategies: int) -> None:
        descriptions = self._descriptions
        self._scale = descriptions.scale(strategies)
        scores = self._scale.scores(descriptions.means(strategies))
        moments = Moments(*(total[:strategies] for total in (self._windows, self._bets, self._roi, self._squares)))
        self._spread = spread_of(moments, scores)
        self._deviation = np.sqrt(self._spread.known)
        bets, roi = self._forgetting.remembered(strategies)
        results = Results(ratio(roi, bets * self._deviation), bets, self._common_noise)
        points = scores[farthest_first(scores)]
        total_bets = float(moments.bets.sum())
        if total_bets >= REFIT_FACTOR * self._fitted_bets:
            self._constants, self._fitted_bets = fitted(points, scores, results, self._constants), total_bets
        basis = Basis(points, self._constants.length)
        self._columns = basis.columns(scores)
        self._posterior = posterior(basis, self._columns, results, self._constants)

    def _judge_forgetting(self, strategy: np.ndarray, roi: np.ndarray, bets: np.ndarray) -> None:
        known = strategy < len(self._deviation)
        prior = 1.0 / (self._constants.smooth + self._constants.own)
        seen = strategy[known]
        self._forgetting.judge(seen, roi[known], bets[known], self._deviation[seen], prior)

    @property
    def _common_noise(self) -> float:
        """Share of the noise that strategies have in common, by the method of moments."""
        share = self._moved_together / self._could_move if self._could_move else 0.0
        return min(max(share, 0.0), LARGEST_COMMON)

    def _learn_common_noise(self, strategy: np.ndarray, outcome: np.ndarray, root_bets: np.ndarray) -> None:
        """Add the products of what any two windows, of those just added, deviate from what was to be expected."""
        surprise = outcome / self._deviation[strategy] - self._posterior.mean[strategy] * root_bets
        columns = common_columns(self._columns[strategy])
        alone = np.einsum("ij,ij->i", columns, columns)
        together = np.einsum("ij,i->j", columns, surprise)
        self._moved_together += float((together**2).sum() - (alone * surprise**2).sum())
        self._could_move += float(((columns.T @ columns) ** 2).sum() - (alone**2).sum())


def _renewals(rows: Observed) -> list[tuple[int, int, int, int]]:
    """Where the process is renewed: first row added, first row of the decision time, its end, and that of its use."""
    ends = np.flatnonzero(np.append(rows.decided[1:] != rows.decided[:-1], True)) + 1
    seen = np.maximum.accumulate(rows.sequence)[ends - 1] + 1
    chosen, added = [], 0
    for number, (end, strategies) in enumerate(zip(ends.tolist(), seen.tolist(), strict=True)):
        if end - added >= RENEWAL_SHARE * strategies:
            chosen.append((added, 0 if not number else int(ends[number - 1]), end))
            added = end
    until = [begin for _, begin, _ in chosen[1:]] + [len(rows.roi)]
    return [(*renewal, last) for renewal, last in zip(chosen, until, strict=True)]


def _columns_looked_at(rows: Observed) -> np.ndarray:
    """The columns that are measured earliest, `MOST_COLUMNS` at most, within what can be squared."""
    measured = ~np.isnan(rows.described)
    first = rows.decided[np.argmax(measured, axis=0)]
    order = np.lexsort((np.arange(len(first)), first, ~measured.any(axis=0)))[:MOST_COLUMNS]
    return np.clip(rows.described[:, np.sort(order)], -LARGEST, LARGEST)
