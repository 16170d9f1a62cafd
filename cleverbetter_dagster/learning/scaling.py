"""Robust scaling of features: what medians and interquartile ranges of past rows say, NaN left out."""

import numpy as np


def median_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and spread of each feature, float[features] each; both 0 for a feature without a single value.

    The spread is the interquartile range. For a feature that is the same in most rows, such as a rare flag, it is the
    standard deviation instead; scikit-learn's RobustScaler would leave such a feature unscaled.

    Args:
        values: float[n >= 1, features], NaN where missing.
    """
    shown = np.where(np.isnan(values).all(axis=0), 0.0, values)
    low, median, high = np.nanquantile(shown, [0.25, 0.5, 0.75], axis=0)
    return median, np.where(high > low, high - low, np.nanstd(shown, axis=0))
