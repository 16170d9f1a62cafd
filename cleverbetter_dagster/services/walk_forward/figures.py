"""The walk-forward study in figures: from scored rows to a record, a monthly frame and pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.as_of import months_of
from cleverbetter_dagster.dataset.schema import ID, METHOD, STRATEGY
from cleverbetter_dagster.evaluation.filter_effect import FilterEffect, filter_effect
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, compare
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec, Interval
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic, mean_statistic, ratio_statistic
from cleverbetter_dagster.evaluation.leaderboard import leaderboard, leaderboard_row
from cleverbetter_dagster.evaluation.metrics.allocation import AllocationResult, allocation_of, monthly_returns
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.significance.backtest_overfitting import backtest_overfitting, most_blocks
from cleverbetter_dagster.services.evaluation.scored_table import MODEL, scored_rows, scored_table
from cleverbetter_dagster.services.evaluation.significance import significance_of, strategy_returns
from cleverbetter_dagster.services.records import ModelRecord, SignificanceRecord, SplitRecord
from cleverbetter_dagster.services.walk_forward.records import (
    DecayStep,
    Familiarity,
    ReplayRecord,
    Stability,
    WalkForwardRecord,
)
from cleverbetter_dagster.services.walk_forward.study import (
    AGE,
    BASELINE,
    FAMILY,
    JUDGED,
    KIND,
    MONTH,
    PASSES,
    POLICY,
    UNSEEN,
    Walk,
)

MOST_BLOCKS_A_MONTH = 100
"""Blocks of strategies resampled within one month; more than so many strategies share blocks, at bounded cost."""


def figures_of(walk: Walk, models: Mapping[str, Mapping[str, ModelRecord]], data_hash: str) -> WalkForwardRecord:
    """Every figure of a walk-forward.

    Args:
        walk: what was scored and decided.
        models: by family, then by as_of: their numbers of tuning trials.
        data_hash: of the rows it was made from.
    """
    young = walk.fresh
    contenders = by_model(young[young[KIND] != POLICY])
    families = [str(name) for name in young.loc[young[KIND] == FAMILY, MODEL].unique()]
    monthly = returns_by_month(young[young[KIND] != POLICY])
    board = leaderboard(contenders)
    return WalkForwardRecord(
        as_ofs=tuple(walk.splits),
        windows={month: window_of(split) for month, split in walk.splits.items()},
        data_hash=data_hash,
        board=tuple(board),
        decay=tuple(step for family in families for step in decay_of(walk.scores, family)),
        stability=tuple(stability_of(walk.scores, family, monthly[family]) for family in families),
        familiarity=tuple(part for family in families for part in familiarity_of(young, family)),
        replays=tuple(replay_of(name, walk) for name in walk.decisions),
        significance={family: _significance(young, family, models[family]) for family in families},
        filter_effects={family: _filter(walk.scores, family) for family in families},
        overfitting_of_models=overfitting(monthly.dropna().to_numpy()),
        overfitting_of_strategies=overfitting(strategy_returns(young[young[MODEL] == families[0]])),
        lead=_lead([row.name for row in board], families, contenders),
    )


def by_model(frame: pd.DataFrame) -> dict[str, ScoredRows]:
    """Every model's rows in order of decision."""
    return {
        str(name): scored_rows(rows.sort_values(["decision_time", ID]))
        for name, rows in frame.groupby(MODEL, sort=False)
    }


def monthly_scores(walk: Walk, spec: BootstrapSpec | None = None) -> pd.DataFrame:
    """One line a family, baseline or policy and month: what the models of the month before were worth in it.

    Intervals resample the strategies of the month. They share its races, so take them as the least uncertainty there
    is; between months see the record.

    Returns:
        `model`, `kind`, `as_of`, `month`, `rows`, `strategies`, `base_rate`, `unseen_rows`, `month_return` (on the
        whole bankroll), `staked` (its fraction); and `roc_auc`, `brier`, `roi` (profit over stakes) with `..._low` and
        `..._high`, NaN where not defined.
    """
    lines = [
        {MODEL: model, MONTH: month, KIND: rows[KIND].iloc[0], "as_of": rows["as_of"].iloc[0], **_month(rows, spec)}
        for (model, month), rows in walk.fresh.groupby([MODEL, MONTH], sort=True)
    ]
    return pd.DataFrame(lines)


def returns_by_month(young: pd.DataFrame) -> pd.DataFrame:
    """Return on the bankroll, months by models; NaN where a model was not judged in a month."""
    return pd.DataFrame({name: _returns(allocation_of(rows)) for name, rows in by_model(young).items()})


def window_of(split: SplitRecord) -> str:
    """The window of history an as_of learned from, for people."""
    months = split.spec.max_history_months
    return "expanding" if months is None else f"rolling {months} months"


def decay_of(scores: pd.DataFrame, family: str) -> list[DecayStep]:
    """What becomes of a family's models as they age, against fresh ones on the same rows."""
    rows = scores[(scores[MODEL] == family) & (scores[KIND] == FAMILY) & scores[JUDGED]]
    young = rows[rows[AGE] == 1]
    return [_decay_step(family, int(str(age)), old, young) for age, old in rows.groupby(AGE)]


def stability_of(scores: pd.DataFrame, family: str, returns: pd.Series) -> Stability:
    """How alike a family's months are; `returns` are those of its months."""
    judged = scores[scores[JUDGED] & (scores[KIND] != POLICY)]
    young = judged[judged[AGE] == 1]
    auc = np.array([_auc(month) for _, month in young[young[MODEL] == family].groupby(MONTH)])
    known = auc[np.isfinite(auc)]
    losses = young.assign(loss=brier_terms(young["label"], young["probability"]))
    brier = losses.pivot_table(index=MONTH, columns=MODEL, values="loss", aggfunc="mean")
    baselines = losses.loc[losses[KIND] == BASELINE, MODEL].unique()
    ours = brier[family].dropna()
    months = returns.dropna()
    return Stability(
        family=family,
        months=len(ours),
        auc_deviation=float(known.std(ddof=1)) if len(known) > 1 else None,
        above_chance=float(np.mean(known > 0.5)) if len(known) else None,
        beating_baselines=float((brier.loc[ours.index, baselines].gt(ours, axis="index")).all(axis=1).mean()),
        worst_month=str(months.idxmin()),
        worst_return=float(months.min()),
        rank_agreement=_rank_agreement(judged[(judged[MODEL] == family) & (judged[AGE] <= 2)]),
    )


def familiarity_of(young: pd.DataFrame, family: str) -> list[Familiarity]:
    """A family on strategies it had learned from, and on those it had not."""
    rows = young[young[MODEL] == family]
    return [
        Familiarity(
            family=family,
            unseen=unseen,
            strategies=part[[STRATEGY, METHOD]].drop_duplicates().shape[0],
            board=leaderboard_row(family, scored_rows(part)) if len(part) else None,
        )
        for unseen in (False, True)
        for part in [rows[rows[UNSEEN] == unseen]]
    ]


def replay_of(name: str, walk: Walk) -> ReplayRecord:
    """The decisions of a policy and what its champions' stakes earned."""
    rows = walk.scores[(walk.scores[KIND] == POLICY) & (walk.scores[MODEL] == name) & walk.scores[JUDGED]]
    board = leaderboard_row(name, scored_rows(rows)) if len(rows) else None
    return ReplayRecord(policy=name, decisions=tuple(walk.decisions[name]), board=board)


def overfitting(returns: np.ndarray) -> float | None:
    """Probability of backtest overfitting of (periods, alternatives); None with too few of either."""
    blocks = most_blocks(len(returns))
    return backtest_overfitting(returns, blocks).probability if blocks and returns.shape[1] > 1 else None


def _lead(ranked: Sequence[str], families: Sequence[str], scored: Mapping[str, ScoredRows]) -> Interval | None:
    """Of the best family over the best baseline, the best first in `ranked`."""
    ours = next(scored[name] for name in ranked if name in families)
    baseline = next(name for name in ranked if name not in families)
    return compare(ours, scored[baseline], baseline).difference if ours.same_rows_as(scored[baseline]) else None


def _decay_step(family: str, age: int, old: pd.DataFrame, young: pd.DataFrame) -> DecayStep:
    both = old.merge(young[[ID, "probability"]], on=ID, suffixes=("", "_young")).sort_values(["decision_time", ID])
    board = leaderboard_row(family, scored_rows(old))
    brier = auc = None
    if age > 1 and len(both):
        aged, fresh = scored_rows(both), scored_rows(both.assign(probability=both["probability_young"]))
        brier = compare(aged, fresh, "age 1").difference
        loss = compare(aged, fresh, "age 1", PromotionPolicy(metric="roc_auc")).difference
        auc = loss and Interval(point=-loss.point, low=-loss.high, high=-loss.low, level=loss.level)
    return DecayStep(
        family=family,
        age=age,
        months=board.n_months,
        rows=board.n_rows,
        roc_auc=board.roc_auc,
        brier_change=brier,
        auc_change=auc,
    )


def _month(rows: pd.DataFrame, spec: BootstrapSpec | None) -> dict[str, float]:
    """The figures of one model in one month."""
    scored = scored_rows(rows)
    strategy = rows.groupby([STRATEGY, METHOD], sort=False).ngroup().to_numpy()
    bootstrap = BlockBootstrap.over(strategy % MOST_BLOCKS_A_MONTH, spec)
    intervals = {
        "roc_auc": bootstrap.interval(auc_statistic(bootstrap, scored.label, scored.probability)),
        "brier": bootstrap.interval(mean_statistic(bootstrap, brier_terms(scored.label, scored.probability))),
        "roi": bootstrap.interval(ratio_statistic(bootstrap, scored.stake * scored.next_roi, scored.stake)),
    }
    found = {
        "rows": len(rows),
        "strategies": int(strategy.max()) + 1,
        "base_rate": float(scored.label.mean()),
        "unseen_rows": int(rows[UNSEEN].sum()),
        "month_return": float(_returns(allocation_of(scored)).iloc[0]),
        "staked": float(scored.stake.sum()),
    }
    for name, interval in intervals.items():
        for suffix, end in (("", "point"), ("_low", "low"), ("_high", "high")):
            found[name + suffix] = getattr(interval, end, float("nan"))
    return found


def _returns(allocation: AllocationResult) -> pd.Series:
    """Compounded return of every month in which anything was decided, by `2023-12`."""
    months = np.unique(months_of(allocation.decision_time)).astype(str)
    return pd.Series(monthly_returns(allocation.decision_time, allocation.period_return), index=months)


def _auc(rows: pd.DataFrame) -> float:
    scored = scored_rows(rows)
    bootstrap = BlockBootstrap(scored.decision_time)
    return float(auc_statistic(bootstrap, scored.label, scored.probability)(np.ones((1, bootstrap.n_months)))[0])


def _rank_agreement(rows: pd.DataFrame) -> float | None:
    """Mean over months of the rank correlation of the models of age 1 and 2 on the same rows."""
    said = rows.pivot_table(index=[MONTH, ID], columns=AGE, values="probability").dropna()
    if said.shape[1] < 2:
        return None
    found = [part[1].corr(part[2], method="spearman") for _, part in said.groupby(level=MONTH)]
    known = [value for value in found if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _significance(young: pd.DataFrame, family: str, models: Mapping[str, ModelRecord]) -> SignificanceRecord:
    trials = max(model.trials for model in models.values())
    return significance_of(scored_table([young[young[MODEL] == family]]), family, trials)


def _filter(scores: pd.DataFrame, family: str) -> FilterEffect:
    rows = scores[(scores[MODEL] == family) & (scores[KIND] == FAMILY) & (scores[AGE] == 1)]
    strategy = rows.groupby([STRATEGY, METHOD], sort=False).ngroup()
    return filter_effect(scored_rows(rows), rows[PASSES], strategy.tolist())
