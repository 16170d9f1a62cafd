"""Calibration: from a model's raw score to a probability.

The rows of a calibrator must be decided later than those its model was fitted on; the caller ensures that.
scikit-learn's CalibratedClassifierCV has no identity to fall back on for few rows, and takes in no later ones.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from sklearn.isotonic import IsotonicRegression

from cleverbetter_dagster.learning.model import Report
from cleverbetter_dagster.learning.shrunk_logistic import ShrunkLogistic, log_odds

ISOTONIC_ROWS_PER_CLASS = 1000
"""With fewer than about 1,000 rows isotonic regression overfits (Niculescu-Mizil, Caruana, ICML 2005)."""

IDENTITY_PULL = 10.0

Method = Literal["sigmoid", "isotonic"]


@dataclass(frozen=True)
class Calibrator:
    """A strictly increasing map of raw scores in (0, 1) to probabilities in (0, 1).

    `sigmoid` is Platt scaling of the log-odds. `isotonic` is the mean of the sigmoid and an isotonic
    regression: the steps of the second alone would give equal probabilities to different scores, and some of 0 or 1.

    Attributes:
        score: scores of the rows it was fitted on, in order of time, float[n]; `y` their labels, [n].
    """

    method: Method
    sigmoid: ShrunkLogistic
    isotonic: IsotonicRegression | None
    score: np.ndarray = field(compare=False, repr=False)
    y: np.ndarray = field(compare=False, repr=False)

    @property
    def rows(self) -> int:
        """How many rows it was fitted on."""
        return len(self.y)

    def updated(self, score: np.ndarray, y: np.ndarray) -> "Calibrator":
        """The calibrator after later rows, which replace as many of the oldest.

        Args:
            score: of rows decided later than all before, by a model that had not seen their labels; float[n].
            y: their labels, [n].
        """
        if not len(y):
            return self
        first = min(len(y), self.rows)
        return fit_calibrator(np.concatenate([self.score[first:], score]), np.concatenate([self.y[first:], y]))

    def probability(self, score: np.ndarray) -> np.ndarray:
        """Probabilities of raw scores, float[n]."""
        smooth = self.sigmoid.probability(log_odds(score)[:, None])
        if self.isotonic is None:
            return smooth
        return 0.5 * (smooth + self.isotonic.predict(score))


CALIBRATOR_TYPES: tuple[type, ...] = (Calibrator, ShrunkLogistic, IsotonicRegression)
"""The classes a calibrator consists of; see `Family.stored_types`."""


def calibration_facts(calibrator: Calibrator, updated_rows: int) -> Report:
    """What every calibrated model reports of its calibrator, and of how many rows it was updated with."""
    return {
        "updated_rows": updated_rows,
        "calibration_method": calibrator.method,
        "calibration_rows": calibrator.rows,
    }


def fit_calibrator(score: np.ndarray, y: np.ndarray) -> Calibrator:
    """Fit a calibrator: isotonic from `ISOTONIC_ROWS_PER_CLASS` rows of each class, sigmoid with fewer.

    The sigmoid is shrunk a little toward the identity, so that no rows, or rows of one class, give a calibrator too.

    Args:
        score: raw scores in (0, 1), float[n], of rows their model was not fitted on.
        y: labels 0 or 1, [n].
    """
    y = np.asarray(y, dtype=np.float64)
    sigmoid = ShrunkLogistic.fit(log_odds(score)[:, None], y, guess=[1.0], penalty=IDENTITY_PULL)
    positives = int(y.sum())
    if min(positives, len(y) - positives) < ISOTONIC_ROWS_PER_CLASS:
        return Calibrator("sigmoid", sigmoid, None, score, y)
    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, y)
    return Calibrator("isotonic", sigmoid, isotonic, score, y)
