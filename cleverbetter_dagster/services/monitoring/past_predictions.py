"""Past predictions with their outcomes."""

import pandas as pd

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL, LABEL_TIME, NEXT_ROI, NEXT_START
from cleverbetter_dagster.dataset.schema import METHOD, STRATEGY
from cleverbetter_dagster.services.records import StrategyDecay
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.predictions import read_predictions

YEAR = 12
KEY = [STRATEGY, METHOD, DECISION_TIME]
BACKTEST_RETURN = "mean_roi"
FEWEST_PREDICTIONS = 3
"""A strategy with fewer closed predictions is not called decayed."""

SHOWN_STRATEGIES = 10


def closed_predictions(settings: Settings, panel: pd.DataFrame, as_of: AsOf) -> pd.DataFrame:
    """Predictions whose windows closed in the year up to the end of `as_of`, with outcomes.

    A row that was predicted in several months counts once, with the first month's prediction; of several predictions
    in one month, the last counts.

    Args:
        panel: everything known at the end of `as_of`.

    Returns:
        Columns of the predictions table, and `label`, `next_roi`, `next_start`, `label_time` and `mean_roi` (the mean
        return of the strategy's windows by then), by decision time. `stake` is the stake that was recommended.
    """
    first = counted(read_predictions(settings, as_of.plus(-YEAR - 2).key, as_of.key))
    outcomes = panel.loc[panel[LABEL].notna(), [*KEY, LABEL, LABEL_TIME, NEXT_START, NEXT_ROI, BACKTEST_RETURN]]
    joined = first.merge(outcomes, on=KEY)
    recent = joined[LABEL_TIME] >= as_of.plus(1 - YEAR).start
    return joined[recent].sort_values(KEY, ignore_index=True)


def counted(predictions: pd.DataFrame) -> pd.DataFrame:
    """Of the predictions of each row, the one that counts: that of the first month, and of several there the last."""
    newest = predictions.sort_values("created_at").drop_duplicates(["as_of", STRATEGY, METHOD], keep="last")
    first = newest.sort_values("as_of").drop_duplicates(KEY, keep="first")
    return first.assign(**{DECISION_TIME: first[DECISION_TIME].dt.as_unit("us"), "stake": first["recommended_stake"]})


def most_decayed(closed: pd.DataFrame) -> tuple[StrategyDecay, ...]:
    """The strategies whose live returns are furthest below their backtests', worst first."""
    means = closed.groupby([STRATEGY, METHOD], as_index=False).agg(
        predictions=(NEXT_ROI, "size"),
        backtest_return=(BACKTEST_RETURN, "mean"),
        expected_return=("expected_return", "mean"),
        live_return=(NEXT_ROI, "mean"),
    )
    often = means[means["predictions"] >= FEWEST_PREDICTIONS]
    decays = [StrategyDecay.model_validate(row) for row in often.to_dict("records")]
    return tuple(sorted(decays, key=lambda one: (one.decay, one.strategy_id))[:SHOWN_STRATEGIES])
