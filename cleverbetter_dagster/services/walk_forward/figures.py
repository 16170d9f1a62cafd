"""The figures of a walk-forward: from scored rows to a monthly frame and a record."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cleverbetter_dagster.dataset.schema import ID, METHOD, STRATEGY
from cleverbetter_dagster.evaluation.filter_effect import FilterEffect, filter_effect
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, compare
from cleverbetter_dagster.evaluation.intervals.bootstrap import BlockBootstrap, BootstrapSpec
from cleverbetter_dagster.evaluation.intervals.estimate import Estimate
from cleverbetter_dagster.evaluation.intervals.month_statistics import auc_statistic, mean_statistic, ratio_statistic
from cleverbetter_dagster.evaluation.leaderboard import leaderboard_row, rank_models
from cleverbetter_dagster.evaluation.metrics.allocation import allocation_of
from cleverbetter_dagster.evaluation.metrics.classification import brier_terms
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.evaluation.significance.backtest_overfitting import (
    most_blocks,
    overfitting_probability,
    rank_logits,
)
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
"""Most blocks of strategies resampled within one month: it bounds the cost."""


def figures_of(
    walk: Walk, monthly: pd.DataFrame, models: Mapping[str, Mapping[str, ModelRecord]], data_hash: str
) -> WalkForwardRecord:
    """Every figure of a walk-forward.

    Args:
        walk: what was scored and decided.
        monthly: `monthly_scores` of it.
        models: by family, then by as_of: their numbers of tuning trials.
        data_hash: of the rows it was made from.
    """
    fresh, contenders = walk.fresh, monthly[monthly[KIND] != POLICY]
    scored = by_model(fresh[fresh[KIND] != POLICY])
    families = [str(name) for name in fresh.loc[fresh[KIND] == FAMILY, MODEL].unique()]
    leaderboard = rank_models(scored)
    returns = contenders.pivot_table(index=MONTH, columns=MODEL, values="month_return").dropna()
    return WalkForwardRecord(
        as_ofs=tuple(walk.splits),
        windows={month: _window_of(split) for month, split in walk.splits.items()},
        data_hash=data_hash,
        leaderboard=tuple(leaderboard),
        decay=tuple(step for family in families for step in _decay_of(walk.scores, family)),
        stability=tuple(_stability_of(walk, contenders, family) for family in families),
        familiarity=tuple(part for family in families for part in _familiarity_of(fresh, family)),
        replays=tuple(_replay_of(name, walk) for name in walk.decisions),
        significance={family: _significance(fresh, family, models[family]) for family in families},
        filter_effects={family: _filter(walk.scores, family) for family in families},
        overfitting_of_models=_overfitting(returns.to_numpy()),
        overfitting_of_strategies=_overfitting(strategy_returns(fresh[fresh[MODEL] == families[0]])),
        lead=_lead([row.name for row in leaderboard], families, scored),
    )


def by_model(frame: pd.DataFrame) -> dict[str, ScoredRows]:
    """Every model's rows in order of decision."""
    return {
        str(name): scored_rows(rows.sort_values(["decision_time", ID]))
        for name, rows in frame.groupby(MODEL, sort=False)
    }


def monthly_scores(walk: Walk, spec: BootstrapSpec | None = None) -> pd.DataFrame:
    """One line per family, baseline or policy and month: how the models of the month before did in it.

    Intervals resample the strategies of the month. Those share its races, so the true uncertainty is larger; the
    intervals of the record resample months.

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


def _month(rows: pd.DataFrame, spec: BootstrapSpec | None) -> dict[str, float]:
    """The figures of one model in one month."""
    scored, strategy = scored_rows(rows), _strategies(rows)
    bootstrap = BlockBootstrap.over(strategy % MOST_BLOCKS_A_MONTH, spec)
    intervals = {
        "roc_auc": bootstrap.interval(auc_statistic(bootstrap, scored.label, scored.probability)),
        "brier": bootstrap.interval(mean_statistic(bootstrap, brier_terms(scored.label, scored.probability))),
        "roi": bootstrap.interval(ratio_statistic(bootstrap, scored.stake * scored.next_roi, scored.stake)),
    }
    figures = {
        "rows": len(rows),
        "strategies": int(strategy.max()) + 1,
        "base_rate": float(scored.label.mean()),
        "unseen_rows": int(rows[UNSEEN].sum()),
        "month_return": allocation_of(scored).growth,
        "staked": float(scored.stake.sum()),
    }
    for name, interval in intervals.items():
        for suffix, end in (("", "point"), ("_low", "low"), ("_high", "high")):
            value = getattr(interval, end)
            figures[name + suffix] = float("nan") if value is None else value
    return figures


def _strategies(rows: pd.DataFrame) -> np.ndarray:
    """Number of each row's strategy, 0.."""
    return rows.groupby([STRATEGY, METHOD], sort=False).ngroup().to_numpy()


def _window_of(split: SplitRecord) -> str:
    """The history an as_of learned from, for people."""
    months = split.spec.max_history_months
    return "expanding" if months is None else f"rolling {months} months"


def _decay_of(scores: pd.DataFrame, family: str) -> list[DecayStep]:
    """How a family's models do as they age, against models of age 1 on the same rows."""
    rows = scores[(scores[MODEL] == family) & (scores[KIND] == FAMILY) & scores[JUDGED]]
    fresh = rows[rows[AGE] == 1]
    return [_decay_step(family, int(str(age)), old, fresh) for age, old in rows.groupby(AGE)]


def _decay_step(family: str, age: int, old: pd.DataFrame, fresh: pd.DataFrame) -> DecayStep:
    both = old.merge(fresh[[ID, "probability"]], on=ID, suffixes=("", "_fresh")).sort_values(["decision_time", ID])
    row = leaderboard_row(family, scored_rows(old))
    brier = auc = None
    if age > 1 and len(both):
        aged, same = scored_rows(both), scored_rows(both.assign(probability=both["probability_fresh"]))
        brier = compare(aged, same, "age 1").difference
        loss = compare(aged, same, "age 1", PromotionPolicy(metric="roc_auc")).difference
        auc = -loss
    return DecayStep(
        family=family,
        age=age,
        months=row.n_months,
        rows=row.n_rows,
        auc_within_months=row.auc_within_months,
        brier_change=brier,
        auc_change=auc,
    )


def _stability_of(walk: Walk, monthly: pd.DataFrame, family: str) -> Stability:
    """How alike a family's months are."""
    own = monthly[monthly[MODEL] == family].set_index(MONTH)
    auc, returns = own["roc_auc"].dropna(), own["month_return"]
    baselines = monthly[monthly[KIND] == BASELINE].pivot_table(index=MONTH, columns=MODEL, values="brier")
    beaten = baselines.loc[own.index].gt(own["brier"], axis="index").all(axis="columns")
    scores = walk.scores
    return Stability(
        family=family,
        months=len(own),
        auc_deviation=float(auc.std()) if len(auc) > 1 else None,
        above_chance=float((auc > 0.5).mean()) if len(auc) else None,
        beating_baselines=float(beaten.mean()),
        worst_month=str(returns.idxmin()),
        worst_return=float(returns.min()),
        rank_agreement=_rank_agreement(scores[(scores[MODEL] == family) & scores[JUDGED] & (scores[AGE] <= 2)]),
    )


def _rank_agreement(rows: pd.DataFrame) -> float | None:
    """Mean over months of the rank correlation of the models of age 1 and 2 on the same rows."""
    pairs = rows.pivot_table(index=[MONTH, ID], columns=AGE, values="probability").dropna()
    if pairs.shape[1] < 2:
        return None
    agreement = [month[1].corr(month[2], method="spearman") for _, month in pairs.groupby(level=MONTH)]
    known = [value for value in agreement if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _familiarity_of(fresh: pd.DataFrame, family: str) -> list[Familiarity]:
    """A family on strategies it had learned from, and on those it had not."""
    rows = fresh[fresh[MODEL] == family]
    return [
        Familiarity(
            family=family,
            unseen=unseen,
            strategies=part[[STRATEGY, METHOD]].drop_duplicates().shape[0],
            row=leaderboard_row(family, scored_rows(part)) if len(part) else None,
        )
        for unseen in (False, True)
        for part in [rows[rows[UNSEEN] == unseen]]
    ]


def _replay_of(name: str, walk: Walk) -> ReplayRecord:
    """The decisions of a policy, and what its champions' stakes earned."""
    rows = walk.fresh[walk.fresh[MODEL] == name]
    row = leaderboard_row(name, scored_rows(rows)) if len(rows) else None
    return ReplayRecord(policy=name, decisions=tuple(walk.decisions[name]), row=row)


def _significance(fresh: pd.DataFrame, family: str, models: Mapping[str, ModelRecord]) -> SignificanceRecord:
    trials = max(model.trials for model in models.values())
    return significance_of(scored_table([fresh[fresh[MODEL] == family]]), family, trials)


def _filter(scores: pd.DataFrame, family: str) -> FilterEffect:
    rows = scores[(scores[MODEL] == family) & (scores[KIND] == FAMILY) & (scores[AGE] == 1)]
    return filter_effect(scored_rows(rows), rows[PASSES], _strategies(rows).tolist())


def _overfitting(returns: np.ndarray) -> float | None:
    """Probability of backtest overfitting of (periods, alternatives); None with too few of either."""
    blocks = most_blocks(len(returns))
    return overfitting_probability(rank_logits(returns, blocks)) if blocks and returns.shape[1] > 1 else None


def _lead(ranked: Sequence[str], families: Sequence[str], scored: Mapping[str, ScoredRows]) -> Estimate | None:
    """Brier score of the best family minus that of the best baseline; `ranked` has the best first."""
    ours = next(scored[name] for name in ranked if name in families)
    baseline = next(name for name in ranked if name not in families)
    return compare(ours, scored[baseline], baseline).difference if ours.same_rows_as(scored[baseline]) else None
