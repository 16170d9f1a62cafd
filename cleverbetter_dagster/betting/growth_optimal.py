"""Stakes of many strategies whose returns move together: the most growth within the bounds."""

import numpy as np
from numpy.typing import ArrayLike

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.covariance import Correlation
from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import InvalidInput

_SOLVED = ("Solved", "AlmostSolved")
_NEGLIGIBLE = 1e-5
"""Stakes below this share of the cap are an interior-point solver's way of saying 0."""


def allocate_jointly(
    mean: ArrayLike,
    variance: ArrayLike,
    correlation: Correlation,
    spec: StakingSpec | None = None,
    open_fraction: float = 0.0,
) -> FloatArray:
    """Fractional Kelly stakes of one round under a correlation: as `staking.allocate`, which is the case without any.

    Maximises k f'm - (f'S f + sum (f m)^2) / 2 within the cap on every stake and the bound on their sum, with the share
    k of full Kelly, means m and covariance S: the second-order expansion of the expected log growth where k is 1. It is
    solved by Clarabel's interior-point method, with the factors of S as variables, so that its cost grows with the
    number of strategies times months squared. Source: Goulart and Chen (2024), "Clarabel: An interior-point solver for
    conic programs with quadratic objectives".

    Args:
        mean: expected return of each strategy's next window, > 0, shape (n,).
        variance: of that return, > 0, shape (n,).
        correlation: of the n returns.
        spec: the bounds.
        open_fraction: share of the bankroll that earlier stakes hold; the bound on the sum is for both together.

    Returns:
        Fractions of the bankroll, shape (n,), >= 0.

    Raises:
        InvalidInput: the solver found no solution; the message has its status.

    >>> alike = Correlation(np.ones((2, 1)), months=12)
    >>> spec = StakingSpec(kelly_fraction=1.0, max_stake_fraction=1.0, max_total_fraction=1.0)
    >>> allocate_jointly([0.02, 0.02], [0.1, 0.1], alike, spec).round(3).tolist()  # together as much as one alone
    [0.1, 0.1]
    """
    bounds = spec or StakingSpec()
    m, v = np.asarray(mean, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    left = bounds.left_over(open_fraction)
    if not len(m) or left <= 0:
        return np.zeros(len(m))
    factors, own = np.sqrt(v)[:, None] * correlation.loadings, v * correlation.own + m**2
    stake = _solved(bounds.kelly_fraction * m, factors, own, bounds.max_stake_fraction, left)
    stake = np.where(stake < _NEGLIGIBLE * bounds.max_stake_fraction, 0.0, stake).clip(0.0, bounds.max_stake_fraction)
    return stake * min(1.0, left / max(stake.sum(), 1e-300))


def _solved(edge: FloatArray, factors: FloatArray, own: FloatArray, cap: float, total: float) -> FloatArray:
    """The stakes x within 0..cap, at most `total` together, with the largest edge'x - (|factors'x|^2 + own'x^2) / 2."""
    import clarabel
    from scipy import sparse

    n, rank = factors.shape
    # Variables: the stakes in units of the cap, then what they hold of each factor. The largest edge counts 1, or the
    # solver's tolerances would be coarse beside it.
    unit = 1.0 / (cap * edge.max())
    objective = sparse.diags_array(np.append(unit * own * cap**2, np.ones(rank)), format="csc")
    held = sparse.hstack([sparse.csc_array(np.sqrt(unit) * cap * factors.T), -sparse.eye_array(rank)])
    stakes = sparse.hstack([sparse.eye_array(n), sparse.csc_array((n, rank))])
    together = sparse.csc_array(np.append(np.full(n, cap), np.zeros(rank))[None, :])
    constraints = sparse.vstack([held, -stakes, stakes, together], format="csc")
    limits = np.concatenate([np.zeros(rank + n), np.ones(n), [total]])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    cones = [clarabel.ZeroConeT(rank), clarabel.NonnegativeConeT(2 * n + 1)]
    linear = np.append(-unit * cap * edge, np.zeros(rank))
    solution = clarabel.DefaultSolver(objective, linear, constraints, limits, cones, settings).solve()
    if str(solution.status) not in _SOLVED:
        raise InvalidInput(
            f"The stakes of {n} strategies could not be optimised: the solver ended with {solution.status}. "
            "Look for means or variances that are far from the others'."
        )
    return cap * np.asarray(solution.x[:n])
