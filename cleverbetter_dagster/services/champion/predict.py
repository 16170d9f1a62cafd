"""Predictions of the champion for every strategy's next window, and the stakes that follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.arrays import FloatArray
from cleverbetter_dagster.betting.exposure import Exposure
from cleverbetter_dagster.betting.staking import StakingSpec, return_moments
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.estimates import SHRUNK_GAIN, SHRUNK_LOSS
from cleverbetter_dagster.dataset.labels import DECISION_TIME
from cleverbetter_dagster.dataset.quality.categories import indicators
from cleverbetter_dagster.dataset.schema import END_DATE, ID, METHOD, START_DATE, STRATEGY, market_columns
from cleverbetter_dagster.dataset.selection import live_rows, passes_filter
from cleverbetter_dagster.learning.model import CONFIDENCE, KELLY_SHARE, PROBABILITY, SCORE, feature_matrix
from cleverbetter_dagster.services.champion.open_predictions import open_stake_fraction
from cleverbetter_dagster.services.champion.stake_inputs import STEPS, ScoringFacts, StakeInputs, save_inputs
from cleverbetter_dagster.services.champion.staking_options import staking_of_version
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.stakes import Sizing, sizing_of
from cleverbetter_dagster.services.records import PredictionsRecord
from cleverbetter_dagster.services.training.datasets import PanelOf
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import COLUMNS, ScoredBy, write_predictions
from cleverbetter_dagster.store.tracking.package import StrategyModel, load_model


@dataclass(frozen=True)
class Predictions:
    """What was written, largest stake first, and how much of the stakes moves together.

    Empty if there was no champion at that as_of.
    """

    record: PredictionsRecord
    frame: pd.DataFrame
    exposure: Exposure = field(default_factory=Exposure)


def predict_and_write(
    settings: Settings, panel_of: PanelOf, as_of: AsOf, staking_options: Mapping[str, float]
) -> Predictions:
    """Score every live strategy with the champion of `as_of` and write the predictions to PostgreSQL.

    Running it again for the same as_of and model version replaces what it wrote.

    Args:
        panel_of: what is known at `as_of`.
        staking_options: bounds on stakes to set on the champion, which keeps them; the others stay as they are.
    """
    champion = ledger.champion_at(settings, as_of.key)
    if champion is None:
        empty = PredictionsRecord(
            as_of=as_of.key, family=None, version=None, strategies=0, staked=0, total_stake_fraction=0.0
        )
        return Predictions(empty, pd.DataFrame(columns=COLUMNS))
    model = load_model(settings, f"models:/{champion.family}/{champion.version}")
    staking = staking_of_version(settings, champion.family, champion.version, staking_options)
    panel = panel_of(model.spec)
    newest = live_rows(panel, as_of)
    open_fraction = open_stake_fraction(settings, panel, as_of)
    staked = _predicted(newest, panel, model, staking, open_fraction)
    frame, exposure = staked.frame, staked.exposure
    facts = ScoringFacts(
        as_of=as_of.key,
        family=champion.family,
        version=champion.version,
        staking=staking,
        open_fraction=open_fraction,
        covariance_months=exposure.months,
        spec=model.spec,
    )
    # Stored first: whoever reads them compares them with the predictions, and a failure leaves those as they were.
    save_inputs(settings, _inputs(facts, newest, model, staked))
    scored_by = ScoredBy(as_of.key, champion.family, champion.version, champion.run_id, staking, exposure)
    write_predictions(settings, frame, scored_by)
    stake = frame["recommended_stake"]
    record = PredictionsRecord(
        as_of=as_of.key,
        family=champion.family,
        version=champion.version,
        strategies=len(frame),
        staked=int((stake > 0).sum()),
        total_stake_fraction=float(stake.sum()),
        open_stake_fraction=open_fraction,
        newest_decision=None if frame.empty else frame["decision_time"].max(),
        staking=staking,
        unmeasured_features=unmeasured_features(newest, model),
    )
    return Predictions(record, frame, exposure)


def predict(panel_of: PanelOf, as_of: AsOf, model: StrategyModel, staking: StakingSpec) -> pd.DataFrame:
    """Probability, confidence and stake of every live strategy's next window.

    A row the quality filter of the model's training would have kept out gets a probability but no stake: the model
    never learned from such rows.

    Returns:
        One row per strategy and method: `strategy_id`, `method`, `backtest_result_id`, `decision_time`,
        `probability`, `score`, `confidence`, `expected_return` (fraction of the stake), `recommended_stake`
        (fraction of the bankroll, all together at most `staking.max_total_fraction`). Largest stake first.
    """
    panel = panel_of(model.spec)
    return _predicted(live_rows(panel, as_of), panel, model, staking).frame


def unmeasured_features(newest: pd.DataFrame, model: StrategyModel) -> list[str]:
    """Market features of the model that not one live row has, such as one that became a text."""
    names = market_columns(model.feature_names)
    values = newest.reindex(columns=names).assign(**indicators(newest, names))
    return [name for name in names if values[name].isna().all()] if len(newest) else []


def predict_supposing(
    settings: Settings, panel_of: PanelOf, as_of: AsOf, model: StrategyModel, staking: StakingSpec
) -> pd.DataFrame:
    """What `predict_and_write` would write if the model staked so. Changes nothing."""
    panel = panel_of(model.spec)
    open_fraction = open_stake_fraction(settings, panel, as_of)
    return _predicted(live_rows(panel, as_of), panel, model, staking, open_fraction).frame


@dataclass(frozen=True, eq=False)
class _Staked:
    """Predictions as `predict` gives them, how much of the stakes moves together, and what the stakes were made of: in
    the order of the live rows, as are the scores and the moments of the next return, also of rows that get no stake.
    """

    frame: pd.DataFrame
    exposure: Exposure
    scores: pd.DataFrame
    mean: FloatArray
    variance: FloatArray
    sizing: Sizing
    stake: FloatArray


def _predicted(
    newest: pd.DataFrame, panel: pd.DataFrame, model: StrategyModel, staking: StakingSpec, open_fraction: float = 0.0
) -> _Staked:
    """As `predict`, of the live rows of a panel, while earlier stakes hold `open_fraction`."""
    scores = model.fitted.predict_frame(newest)
    mean, variance = return_moments(scores[PROBABILITY], newest[SHRUNK_GAIN], newest[SHRUNK_LOSS])
    sizing = sizing_of(
        scores, newest, staking, passes_filter(newest, model.spec.min_composite_score), PastReturns.of(panel)
    )
    rows = np.arange(len(newest))
    stake = sizing.size(rows, open_fraction)
    predictions = pd.DataFrame(
        {
            "strategy_id": newest[STRATEGY],
            "method": newest[METHOD],
            "backtest_result_id": newest[ID],
            "decision_time": newest[DECISION_TIME],
            **{column: scores[column] for column in (PROBABILITY, SCORE, CONFIDENCE)},
            "recommended_stake": stake,
            "expected_return": mean,
        }
    )
    largest_first = predictions.sort_values(["recommended_stake", "probability"], ascending=False, ignore_index=True)
    return _Staked(largest_first, sizing.exposure(rows, stake), scores, mean, variance, sizing, stake)


def _inputs(facts: ScoringFacts, newest: pd.DataFrame, model: StrategyModel, staked: _Staked) -> StakeInputs:
    """What the stakes were made of."""
    scores, names = staked.scores, list(model.feature_names)
    steps = staked.sizing.steps(np.arange(len(newest)), staked.stake, facts.open_fraction)
    rows = newest[[STRATEGY, METHOD, START_DATE, END_DATE]].assign(
        probability=scores[PROBABILITY],
        mean=staked.mean,
        variance=staked.variance,
        passes_filter=passes_filter(newest, facts.spec.min_composite_score),
        kelly_share=scores.get(KELLY_SHARE, np.nan),
        **{step: getattr(steps, step) for step in STEPS},
    )
    features = pd.DataFrame(feature_matrix(newest, names), columns=names)
    return StakeInputs(facts, rows.reset_index(drop=True), features)
