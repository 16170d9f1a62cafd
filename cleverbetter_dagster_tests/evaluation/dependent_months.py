"""Monthly values with a known mean and a known dependence, for tests and benchmarks of intervals."""

import numpy as np
from scipy.linalg import toeplitz

Shape = str
"""`independent`; `AR(1) 0.6`; `3-month windows`: values of windows of three months, begun every month."""

SHAPES: tuple[Shape, ...] = ("independent", "AR(1) 0.3", "AR(1) 0.6", "3-month windows")


def correlation(shape: Shape, n_months: int) -> np.ndarray:
    """Correlation matrix of n months."""
    lag = np.arange(n_months)
    if shape == "independent":
        return np.eye(n_months)
    if shape.startswith("AR(1) "):
        return toeplitz(float(shape.removeprefix("AR(1) ")) ** lag)
    windows = int(shape.split("-")[0])
    return toeplitz(np.maximum(0.0, 1.0 - lag / windows))


def dependent_months(
    shape: Shape, n_months: int, repeats: int, rng: np.random.Generator, *, skewed: bool = False
) -> np.ndarray:
    """Values of mean 0 and variance 1, float[repeats, n_months]; exponential instead of normal if skewed."""
    size = (repeats, n_months)
    shocks = rng.exponential(size=size) - 1.0 if skewed else rng.normal(size=size)
    return shocks @ np.linalg.cholesky(correlation(shape, n_months)).T
