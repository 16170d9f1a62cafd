"""Scored rows made up for the tests of this room."""

import numpy as np
import pandas as pd

from cleverbetter_dagster.evaluation.scored_rows import ScoredRows


def decision_months(n_months: int, per_month: int, first: str = "2022-01-31") -> pd.DatetimeIndex:
    months = pd.date_range(first, periods=n_months, freq="ME", tz="UTC")
    return pd.DatetimeIndex(np.repeat(months, per_month))


def scored_rows(probability, label, next_roi=None, stake=None, months=None) -> ScoredRows:
    label = np.asarray(label, dtype=float)
    return ScoredRows(
        decision_time=decision_months(1, len(label)) if months is None else months,
        label=label,
        next_roi=np.where(label == 1, 0.1, -0.05) if next_roi is None else next_roi,
        probability=probability,
        stake=np.zeros(len(label)) if stake is None else stake,
    )


def simulated_models(n_months: int = 12, per_month: int = 200, seed: int = 0) -> dict[str, ScoredRows]:
    """The same rows as scored by models that know the truth (`good`), half of it (`fair`) and nothing (`blind`)."""
    rng = np.random.default_rng(seed)
    months = decision_months(n_months, per_month)
    logit = rng.normal(-0.7, 1.0, len(months))
    truth = 1 / (1 + np.exp(-logit))
    label = (rng.random(len(months)) < truth).astype(float)
    roi = np.where(label == 1, 0.05, -0.04) * rng.exponential(1, len(months))
    blurred = 1 / (1 + np.exp(-(0.5 * (logit + 0.7) - 0.6 + rng.normal(0, 0.5, len(months)))))
    stake = np.where(truth > 0.6, 0.01, 0.0)
    return {
        "good": scored_rows(truth, label, roi, stake, months),
        "fair": scored_rows(blurred, label, roi, stake / 2, months),
        "blind": scored_rows(np.full(len(months), label.mean()), label, roi, None, months),
    }
