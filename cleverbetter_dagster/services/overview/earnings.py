"""What the stakes that were advised would have earned, against equal stakes on the same strategies."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.open_stakes import replay
from cleverbetter_dagster.betting.staking import StakingSpec, equal_stakes
from cleverbetter_dagster.dataset.labels import LABEL_TIME, NEXT_ROI, windows_of
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult, simulate_allocation


@dataclass(frozen=True)
class Earnings:
    """The replay of the advice whose windows have closed.

    Attributes:
        advised: with the stakes as they were advised.
        equal: with the same stake on every strategy that was scored, within the same bounds.
        predictions: that have an outcome; `stakes` of them had a stake.
        late: stakes that were written after their window had closed, as by a backfill: nobody can have placed them.
    """

    advised: AllocationResult
    equal: AllocationResult
    predictions: int
    stakes: int
    late: int


def earnings(advice: pd.DataFrame, staking: StakingSpec) -> Earnings | None:
    """What `past.past_advice` would have earned; None if none of its windows has closed yet.

    Args:
        staking: bounds of the equal stakes.
    """
    closed = advice[advice[NEXT_ROI].notna()]
    if closed.empty:
        return None
    windows, roi = windows_of(closed), closed[NEXT_ROI].to_numpy(dtype=np.float64)
    same = replay(windows, roi, lambda rows, held: equal_stakes(len(rows), staking, held)).stake
    staked = closed["stake"] > 0
    return Earnings(
        advised=simulate_allocation(windows, closed["stake"], roi),
        equal=simulate_allocation(windows, same, roi),
        predictions=len(closed),
        stakes=int(staked.sum()),
        late=int((staked & (closed["created_at"] > closed[LABEL_TIME])).sum()),
    )
