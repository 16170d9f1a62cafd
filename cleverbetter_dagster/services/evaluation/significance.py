"""How likely the return of a model's stakes is skill: its Sharpe ratio, set against the number of trials."""

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, NEXT_ROI
from cleverbetter_dagster.dataset.schema import METHOD, STRATEGY
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.significance.effective_sample import effective_sample_size, independent_strategies
from cleverbetter_dagster.evaluation.significance.sharpe_ratio import (
    deflated_sharpe_ratio,
    probabilistic_sharpe_ratio,
    sharpe_estimate,
)
from cleverbetter_dagster.services.evaluation.scored_table import MODEL, scored_rows
from cleverbetter_dagster.services.records import SignificanceRecord


def significance_of(table: pa.Table, model: str, tuning_trials: int) -> SignificanceRecord:
    """The significance of what a model's stakes earned on its scored rows.

    Trials are counted as settings tried in tuning plus independent strategies it chose among. Neither was chosen by
    these rows, so the deflated ratio is cautious: it is what would be left had they been.

    Args:
        table: scored rows of `scored_table`.
        model: whose rows.
        tuning_trials: settings its parameters were chosen from.
    """
    frame = table.to_pandas()
    rows = frame[frame[MODEL] == model]
    allocation = allocation_of(scored_rows(rows))
    estimate = sharpe_estimate(allocation.monthly_return)
    returns = strategy_returns(rows)
    strategies = independent_strategies(returns) if returns.size else 1.0
    trials = max(tuning_trials, 1) + strategies
    return SignificanceRecord(
        months=estimate.periods if estimate else 0,
        monthly_sharpe=estimate.ratio if estimate else None,
        probabilistic_sharpe=probabilistic_sharpe_ratio(estimate) if estimate else None,
        deflated_sharpe=deflated_sharpe_ratio(estimate, trials) if estimate else None,
        tuning_trials=tuning_trials,
        independent_strategies=strategies,
        strategies=returns.shape[1],
        rows=len(rows),
        effective_rows=effective_sample_size(rows[LABEL], months_of(rows[DECISION_TIME])),
    )


def strategy_returns(rows: pd.DataFrame) -> FloatArray:
    """Next returns by month and strategy, shape (months, strategies): those that have one in every month."""
    dated = rows.assign(month=months_of(rows[DECISION_TIME]))
    by_month = dated.pivot_table(index="month", columns=[STRATEGY, METHOD], values=NEXT_ROI, aggfunc="mean")
    return np.asarray(by_month.dropna(axis="columns"), dtype=np.float64)
