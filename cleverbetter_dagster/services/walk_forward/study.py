"""The walk-forward study: every as_of's models judged on the months after it. Each model is loaded once.

A model of as_of M is judged on rows decided from M + 1 on, all of them after everything it learned from. In the first
of these months its age is 1; it is judged up to the age `OLDEST`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf, months_of
from cleverbetter_dagster.dataset.examples import Examples
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL
from cleverbetter_dagster.dataset.panel import SEQUENCE, build_panel
from cleverbetter_dagster.dataset.selection import passes_filter
from cleverbetter_dagster.dataset.spec import GUIDE_MIN_COMPOSITE_SCORE, DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, apply_split
from cleverbetter_dagster.errors import NothingToJudge
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.evaluation.scored_rows import ScoredRows
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.evaluation.compare import Candidate
from cleverbetter_dagster.services.evaluation.evaluate import baseline_parts, score_test_rows
from cleverbetter_dagster.services.evaluation.past_returns import PastReturns
from cleverbetter_dagster.services.evaluation.scored_table import (
    MODEL,
    ScoredPart,
    scored_by_model,
    scored_part,
    staked,
)
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.walk_forward.promotion_replay import LoadedModel, PromotionReplay
from cleverbetter_dagster.services.walk_forward.records import ReplayedDecision

OLDEST = 12
"""Age in months up to which a model is judged."""

AS_OF, MONTH, AGE, KIND = "as_of", "month", "age", "kind"
UNSEEN, PASSES, JUDGED = "unseen", "passes_filter", "judged"
FAMILY, BASELINE, POLICY = "family", "baseline", "policy"
OVERALL_POLICY = "promotion policy"
EQUAL_STAKES = "base_rate"
"""The baseline that gives every strategy the same probability, and so the same stake."""

Load = Callable[[ModelRecord], LoadedModel]


@dataclass(frozen=True)
class Walk:
    """The results of a walk-forward.

    Attributes:
        scores: one line per model, as_of and row: the columns of `scored_table`, then `as_of`, `month` decided in,
            `age` in months, `kind` (family, baseline or policy), `unseen` (no row of that strategy was learned from),
            `passes_filter` (of quality), `judged` (false: the quality filter removed it, so it has no stake).
        decisions: of each promotion policy by name, in order of time.
        splits: of the as_of months that were judged.
    """

    scores: pd.DataFrame
    decisions: Mapping[str, Sequence[ReplayedDecision]]
    splits: Mapping[str, SplitRecord]

    @property
    def fresh(self) -> pd.DataFrame:
        """The judged rows of models of age 1."""
        return self.scores[(self.scores[AGE] == 1) & self.scores[JUDGED]]


def walk_forward(
    rows: pd.DataFrame,
    splits: Mapping[str, SplitRecord],
    models: Mapping[str, Mapping[str, ModelRecord]],
    load: Load,
    policy: PromotionPolicy,
) -> Walk:
    """Judge every model on the months after its own, and replay the promotion policy.

    Months without a split or without any model are left out, and so are families without a model of a month.

    Args:
        rows: all canonical rows there are.
        splits: by as_of.
        models: by family, then by as_of.
        load: loads a model; called once for each.
        policy: what a challenger has to show.

    Raises:
        NothingToJudge: there is no model, or no row decided after the month of one has an outcome yet.
    """
    panel_of = _panels(rows)
    parts: list[ScoredPart] = []
    judged: dict[str, SplitRecord] = {}
    policies = {OVERALL_POLICY: tuple(models)}
    if len(models) > 1:
        policies |= {alone(family): (family,) for family in models}
    replays = [PromotionReplay(name, families, policy) for name, families in policies.items()]
    for as_of in sorted(splits):
        loaded = {family: load(records[as_of]) for family, records in models.items() if as_of in records}
        if not loaded:
            continue
        month = _month(AsOf.parse(as_of), splits[as_of], panel_of(splits[as_of].spec))
        candidates, scored = _score_test_rows(month.known, loaded, replays)
        for replay in replays:
            replay.add_month(month.known, loaded, candidates, scored)
        scores = list(_score_following_rows(month, loaded, replays))
        if scores:
            judged[as_of] = splits[as_of]
            parts += scores
    if not parts:
        raise NothingToJudge(
            f"There is nothing to walk forward over: {len(splits)} as_of months with a split, "
            f"{sum(map(len, models.values()))} models, and no row decided after one of them has its outcome yet. "
            "Materialise temporal_split and a family's model for earlier months (a backfill over a range)."
        )
    decisions = {replay.name: tuple(replay.decisions) for replay in replays}
    return Walk(_staked(parts), decisions, judged)


def alone(family: str) -> str:
    """Name of the promotion policy in which a family has no rival."""
    return f"{family} alone"


@dataclass(frozen=True)
class _Month:
    """What is known at the end of an as_of month, and the labelled rows decided in the `OLDEST` months after it."""

    as_of: AsOf
    known: Dataset
    following: pd.DataFrame


def _panels(rows: pd.DataFrame) -> Callable[[DatasetSpec], pd.DataFrame]:
    """The panel over all rows, built once for each decision time and return threshold."""

    @cache
    def build(spec: DatasetSpec) -> pd.DataFrame:
        panel = build_panel(rows, None, spec)
        return panel.assign(**{MONTH: months_of(panel[DECISION_TIME]).astype(str)})

    return lambda spec: build(DatasetSpec(decision_time=spec.decision_time, return_threshold=spec.return_threshold))


def _month(as_of: AsOf, record: SplitRecord, panel: pd.DataFrame) -> _Month:
    """Cut the panel of all rows at an as_of. A label in it is the same as it was then, or was not known yet."""
    parts = apply_split(panel, record.split)
    test = parts.test.frame[parts.test.label_time < as_of.end]
    known = Dataset(record, panel, replace(parts, test=Examples(test)))
    age = (months_of(panel[DECISION_TIME]) - np.datetime64(as_of.key)).astype(np.int64)
    rows = panel.assign(**{AGE: age})[(age >= 1) & (age <= OLDEST) & panel[LABEL].notna().to_numpy()]
    minimum = record.spec.min_composite_score
    # Without a filter, the report shows what the guide's filter would have removed.
    passes = passes_filter(rows, GUIDE_MIN_COMPOSITE_SCORE if minimum is None else minimum)
    flags: dict[str, Any] = {PASSES: passes, JUDGED: passes_filter(rows, minimum), UNSEEN: ~_seen(rows, parts)}
    return _Month(as_of, known, rows.assign(**flags))


def _seen(rows: pd.DataFrame, parts: Partition) -> np.ndarray:
    learned = pd.MultiIndex.from_frame(parts.past.frame[SEQUENCE])
    return pd.MultiIndex.from_frame(rows[SEQUENCE]).isin(learned)


def _score_test_rows(
    dataset: Dataset, loaded: Mapping[str, LoadedModel], replays: Iterable[PromotionReplay]
) -> tuple[dict[str, Candidate], dict[str, ScoredRows]]:
    """The test rows of a month as its models, the baselines and the champion of each replay score them.

    Returns:
        The candidates by family; and the scored rows by family, baseline and name of a replay.
    """
    groups: dict[StakingSpec, dict[str, FittedModel]] = {}
    champions = {replay.name: replay.champion for replay in replays if replay.champion}
    for name, model in {**loaded, **champions}.items():
        groups.setdefault(model.staking, {})[name] = model.fitted
    tables = {staking: score_test_rows(fitted, dataset, staking) for staking, fitted in groups.items()}
    candidates = {}
    for family, model in loaded.items():
        rows = rows_of(tables[model.staking], family)
        candidates[family] = Candidate(rows, model.staking, judge_staking(rows, rows, model.staking))
    return candidates, scored_by_model(list(tables.values()))


def _score_following_rows(
    month: _Month, loaded: Mapping[str, LoadedModel], replays: Iterable[PromotionReplay]
) -> Iterator[ScoredPart]:
    """Parts of `Walk.scores`, not yet staked: families on all following rows, others on those of the next month."""
    parts, rows = month.known.parts, month.following
    next_rows = rows[rows[AGE] == 1]
    if next_rows.empty:
        return

    returns = PastReturns.of(month.known.panel)

    def scored(name: str, model: LoadedModel, rows: pd.DataFrame) -> ScoredPart:
        return scored_part(name, rows, model.fitted.predict_frame(rows), model.staking, rows[JUDGED], returns)

    scores = {FAMILY: [scored(family, model, rows) for family, model in loaded.items()]}
    # As in a comparison of families, baselines stake within the bounds of the first.
    staking = next(iter(loaded.values())).staking
    scores[BASELINE] = baseline_parts(parts.past, next_rows, staking, returns, next_rows[JUDGED])
    scores[POLICY] = [scored(replay.name, replay.champion, next_rows) for replay in replays if replay.champion]
    flags = rows[[MONTH, AGE, UNSEEN, PASSES, JUDGED]].assign(**{AS_OF: month.as_of.key})
    for kind, named in scores.items():
        yield from (replace(part, frame=part.frame.join(flags).assign(**{KIND: kind})) for part in named)


def _staked(parts: Sequence[ScoredPart]) -> pd.DataFrame:
    """`Walk.scores`. Fresh rows of a family, baseline or policy share one bankroll over all months, since each month
    stakes what the months before have left. The older rows of one model share a bankroll of their own.
    """
    fresh: dict[tuple[str, str], list[ScoredPart]] = {}
    frames = []
    for part in parts:
        is_fresh = (part.frame[AGE] == 1).to_numpy()
        frames.append(staked([part])[~is_fresh])
        first = part.frame.iloc[0]
        fresh.setdefault((first[KIND], first[MODEL]), []).append(part.take(is_fresh))
    return pd.concat([*map(staked, fresh.values()), *frames], ignore_index=True)
