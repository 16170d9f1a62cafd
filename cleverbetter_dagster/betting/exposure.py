"""How much of the stakes of a round moves together."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cleverbetter_dagster.betting.covariance import Correlation


class Exposure(BaseModel):
    """How much of the stakes of one round moves together."""

    model_config = ConfigDict(frozen=True)

    staked: int = Field(0, ge=0, description="strategies with a stake")
    total_fraction: float = Field(0.0, ge=0, description="of the bankroll, in all of them")
    deviation: float = Field(0.0, ge=0, description="standard deviation of their return on the bankroll")
    common_share: float | None = Field(
        None, description="share of that variance that the first principal component of all factors carries, 0..1"
    )
    effective_bets: float | None = Field(
        None, description="independent strategies that would be as diversified: the squared diversification ratio"
    )
    months: int = Field(0, ge=0, description="of the correlation; 0 if the strategies were taken to be independent")

    @classmethod
    def of(cls, stakes: ArrayLike, variance: ArrayLike, correlation: Correlation | None) -> Self:
        """The exposure of stakes (n,) with the variances (n,) of their returns.

        The diversification ratio is Choueifaty's and Coignard's (2008), "Toward Maximum Diversification", Journal of
        Portfolio Management 35(1): the sum of the stakes' deviations over the deviation of their sum.

        >>> alike, apart = Correlation(np.ones((2, 1)), 12), Correlation(np.zeros((2, 1)), 12)
        >>> [Exposure.of([0.1, 0.1], [0.04, 0.04], each).effective_bets for each in (alike, apart)]
        [1.0, 2.0]
        """
        stake = np.asarray(stakes, dtype=np.float64)
        chosen = stake > 0
        if not chosen.any():
            return cls(months=correlation.months if correlation else 0)
        risk = stake[chosen] * np.sqrt(np.asarray(variance, dtype=np.float64)[chosen])
        loadings = np.zeros((len(risk), 1)) if correlation is None else correlation.loadings[chosen]
        own = np.ones(len(risk)) if correlation is None else correlation.own[chosen]
        variance_of_sum = float(((risk @ loadings) ** 2).sum() + (own * risk**2).sum())
        factors = risk[:, None] * loadings
        strongest = np.linalg.svd(factors, full_matrices=False)[2][0]
        return cls(
            staked=int(chosen.sum()),
            total_fraction=float(stake.sum()),
            deviation=float(np.sqrt(variance_of_sum)),
            common_share=float((factors @ strongest).sum() ** 2 / variance_of_sum),
            effective_bets=float(risk.sum() ** 2 / variance_of_sum),
            months=correlation.months if correlation else 0,
        )
