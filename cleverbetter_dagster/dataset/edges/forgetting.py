"""How long results count: markets change, so old bets may say less of the next window than new ones.

The weight of a bet halves with time, at a pace that is chosen by how well what was remembered foretold the windows
that followed, all of them so far (prequential: Dawid, Journal of the Royal Statistical Society A 147, 1984). So the
edge of a strategy drifts back to that of its like (discounting: West, Harrison, Bayesian Forecasting, 1997).
"""

import numpy as np

HALF_LIVES_DAYS = np.array([182.6, 365.25, 730.5, 1461.0, np.inf])
"""Half a year to four years, or never. Until windows have been foretold nothing is forgotten."""


class Forgetting:
    """Discounted bets and returns of every strategy, at each pace.

    Args:
        strategies: how many there may be.
    """

    def __init__(self, strategies: int) -> None:
        self._bets, self._roi = np.zeros((2, len(HALF_LIVES_DAYS), strategies))
        self._foretold = np.zeros(len(HALF_LIVES_DAYS))
        self._days: float | None = None

    @property
    def best(self) -> int:
        """Position of the pace that foretold best; of equal ones the slowest."""
        return len(HALF_LIVES_DAYS) - 1 - int(np.argmax(self._foretold[::-1]))

    def judge(
        self, strategy: np.ndarray, roi: np.ndarray, bets: np.ndarray, deviation: np.ndarray, prior: float
    ) -> None:
        """Compare each pace with windows not added yet.

        Args:
            strategy: of each window, int64[n].
            roi, bets: of each window, float64[n].
            deviation: per bet of each window's strategy, float64[n].
            prior: bets that what all strategies have earned counts for.
        """
        window = roi / deviation
        for pace, score in enumerate(self._foretold):
            seen, earned = self._bets[pace][strategy], self._roi[pace][strategy] / deviation
            usual = earned.sum() / max(seen.sum(), 1.0)
            remembered = seen + prior
            error = window - bets * (earned + prior * usual) / remembered
            variance = np.where(bets > 0, bets + bets**2 / remembered, 1.0)
            self._foretold[pace] = score - 0.5 * float((np.log(variance) + error**2 / variance)[bets > 0].sum())

    def add(self, strategy: np.ndarray, roi: np.ndarray, bets: np.ndarray, days: float) -> None:
        """Let what was known age, and add windows.

        Args:
            strategy, roi, bets: of the windows.
            days: the time, in days from any moment; never less than before.
        """
        aged = 0.5 ** ((days - (days if self._days is None else self._days)) / HALF_LIVES_DAYS)
        self._bets *= aged[:, None]
        self._roi *= aged[:, None]
        self._days = days
        for pace in range(len(HALF_LIVES_DAYS)):
            np.add.at(self._bets[pace], strategy, bets)
            np.add.at(self._roi[pace], strategy, roi)

    def remembered(self, strategies: int) -> tuple[np.ndarray, np.ndarray]:
        """Bets and returns of the first strategies, by the pace that foretold best, float64[strategies] each."""
        return self._bets[self.best, :strategies], self._roi[self.best, :strategies]
