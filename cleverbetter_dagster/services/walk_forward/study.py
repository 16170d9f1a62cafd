"""The walk-forward study: every as_of's models on the months after it, each model loaded once.

A model of as_of M says something about rows decided from M + 1 on, all of them after everything it learned from. In
the first of these months it is at age 1; up to `OLDEST` it is judged as it ages.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf, months_of
from cleverbetter_dagster.dataset.examples import Examples, pooled
from cleverbetter_dagster.dataset.labels import DECISION_TIME, LABEL
from cleverbetter_dagster.dataset.panel import SEQUENCE, build_panel
from cleverbetter_dagster.dataset.selection import passes_filter
from cleverbetter_dagster.dataset.spec import GUIDE_MIN_COMPOSITE_SCORE, DatasetSpec
from cleverbetter_dagster.dataset.splits import Partition, apply_split
from cleverbetter_dagster.errors import NothingToJudge
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.learning.model import FittedModel
from cleverbetter_dagster.services.evaluation.compare import Candidate
from cleverbetter_dagster.services.evaluation.evaluate import score_test_rows
from cleverbetter_dagster.services.evaluation.scored_table import CARRIED, MODEL, scored_by_model, scored_frame
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import ModelRecord, SplitRecord
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.walk_forward.promotion_replay import LoadedModel, PromotionReplay, ReplayedMonth
from cleverbetter_dagster.services.walk_forward.records import ReplayedDecision

OLDEST = 12
"""Age in months up to which a model is judged."""

AS_OF, MONTH, AGE, KIND = "as_of", "month", "age", "kind"
UNSEEN, PASSES, JUDGED = "unseen", "passes_filter", "judged"
FAMILY, BASELINE, POLICY = "family", "baseline", "policy"
OVERALL_POLICY = "promotion policy"
EQUAL_STAKES = "base_rate"
"""The baseline that says the same of every strategy, and so stakes equally on all."""

Load = Callable[[ModelRecord], FittedModel]


@dataclass(frozen=True)
class Walk:
    """What came out of a walk-forward.

    Attributes:
        scores: one line a model, as_of and row: the columns of `scored_table`, then `as_of`, `month` decided in, `age`
            in months, `kind` (family, baseline or policy), `unseen` (no row of that strategy was learned from),
            `passes_filter` (of quality), `judged` (false: only there to show what the filter removed).
        decisions: of the promotion policy, by policy, in order of time.
        splits: of the as_of months that were judged.
    """

    scores: pd.DataFrame
    decisions: Mapping[str, Sequence[ReplayedDecision]]
    splits: Mapping[str, SplitRecord]


def walk_forward(
    rows: pd.DataFrame,
    splits: Mapping[str, SplitRecord],
    models: Mapping[str, Mapping[str, ModelRecord]],
    load: Load,
    policy: PromotionPolicy | None = None,
) -> Walk:
    """Judge every model there is on the months after its own, and replay the promotion policy beside it.

    Months without a split or without any model are left out, and so are families without a model of a month.

    Args:
        rows: all canonical rows there are.
        splits: by as_of.
        models: by family, then by as_of.
        load: fetches a fitted model; called once for each.
        policy: what a challenger has to show.

    Raises:
        NothingToJudge: no model can be judged: none is there, or nothing was decided and labelled after its month.
    """
    panels = _Panels(rows)
    frames: list[pd.DataFrame] = []
    judged: dict[str, SplitRecord] = {}
    policies = {OVERALL_POLICY: tuple(models)}
    if len(models) > 1:
        policies |= {alone(family): (family,) for family in models}
    replays = [PromotionReplay(name, families, policy or PromotionPolicy()) for name, families in policies.items()]
    for month in sorted(splits):
        records = {family: known[month] for family, known in models.items() if month in known}
        loaded = {family: LoadedModel(record, load(record)) for family, record in records.items()}
        if not loaded:
            continue
        stand = _stand(AsOf.parse(month), splits[month], panels.of(splits[month].spec))
        decided = _replayed_month(stand.known, loaded, replays)
        for replay in replays:
            replay.add_month(decided)
        found = list(_looking_ahead(stand, loaded, replays))
        if found:
            judged[month] = splits[month]
            frames += found
    if not frames:
        raise NothingToJudge(
            f"There is nothing to walk forward over: {len(splits)} as_of months with a split, "
            f"{sum(map(len, models.values()))} models, and no row decided after one of them has its outcome yet. "
            "Materialise temporal_split and a family's model for earlier months (a backfill over a range)."
        )
    scores = pd.concat(frames, ignore_index=True)
    return Walk(scores, {replay.name: tuple(replay.decisions) for replay in replays}, judged)


def alone(family: str) -> str:
    """Name of the promotion policy in which a family has no rival."""
    return f"{family} alone"


@dataclass(frozen=True)
class _Stand:
    """What is known at the end of an as_of month, and what came after."""

    as_of: AsOf
    known: Dataset
    ahead: pd.DataFrame
    """Labelled rows decided in the `OLDEST` months that follow."""


class _Panels:
    """The panel over all rows, built once for each way of deciding and labelling."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows
        self._built: dict[tuple[str, float], pd.DataFrame] = {}

    def of(self, spec: DatasetSpec) -> pd.DataFrame:
        key = (spec.decision_time, spec.return_threshold)
        if key not in self._built:
            panel = build_panel(self._rows, None, spec)
            self._built[key] = panel.assign(**{MONTH: months_of(panel[DECISION_TIME]).astype(str)})
        return self._built[key]


def _stand(as_of: AsOf, record: SplitRecord, panel: pd.DataFrame) -> _Stand:
    """Cut the panel of all rows at an as_of. A label there is the same as it was then, or was not known yet."""
    parts = apply_split(panel, record.split)
    then = parts.test.frame[parts.test.label_time < as_of.end]
    known = Dataset(record, panel, replace(parts, test=Examples(then)))
    age = (months_of(panel[DECISION_TIME]) - np.datetime64(as_of.key)).astype(np.int64)
    rows = panel.assign(**{AGE: age})[(age >= 1) & (age <= OLDEST) & panel[LABEL].notna().to_numpy()]
    minimum = record.spec.min_composite_score
    # Where no filter was used, what the guide's would have removed is shown.
    passes = passes_filter(rows, GUIDE_MIN_COMPOSITE_SCORE if minimum is None else minimum)
    flags: dict[str, Any] = {PASSES: passes, JUDGED: passes_filter(rows, minimum), UNSEEN: ~_seen(rows, parts)}
    return _Stand(as_of, known, rows.assign(**flags))


def _seen(rows: pd.DataFrame, parts: Partition) -> np.ndarray:
    learned = pd.MultiIndex.from_frame(pooled(parts.train, parts.validation).frame[SEQUENCE])
    return pd.MultiIndex.from_frame(rows[SEQUENCE]).isin(learned)


def _replayed_month(
    dataset: Dataset, loaded: Mapping[str, LoadedModel], replays: Iterable[PromotionReplay]
) -> ReplayedMonth:
    """The test rows of a month, as all its models, the baselines and the champion of each replay score them."""
    fitted = {family: model.fitted for family, model in loaded.items()}
    champions = {replay.name: replay.champion.fitted for replay in replays if replay.champion}
    table, staking = score_test_rows(fitted | champions, dataset, StakingSpec()), StakingSpec()
    candidates = {}
    for family in loaded:
        rows = rows_of(table, family)
        candidates[family] = Candidate(rows, staking, judge_staking(rows, rows, staking))
    return ReplayedMonth(dataset, loaded, candidates, scored_by_model([table]))


def _looking_ahead(
    stand: _Stand, loaded: Mapping[str, LoadedModel], replays: Iterable[PromotionReplay]
) -> Iterator[pd.DataFrame]:
    """What families, baselines and policies say of the months ahead."""
    following = stand.ahead[stand.ahead[AGE] == 1]
    if following.empty:
        return
    for family, model in loaded.items():
        yield _scored(stand, FAMILY, family, stand.ahead, model.fitted.predict_frame(stand.ahead))
    past = pooled(stand.known.parts.train, stand.known.parts.validation)
    for name, baseline in BASELINES.items():
        probability = baseline.fit(past).predict_proba(following)[:, 1]
        said = pd.DataFrame({"probability": probability}, index=following.index)
        yield _scored(stand, BASELINE, name, following, said)
    for replay in replays:
        if replay.champion is not None:
            yield _scored(stand, POLICY, replay.name, following, replay.champion.fitted.predict_frame(following))


def _scored(stand: _Stand, kind: str, name: str, rows: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """Scored rows as `Walk.scores` has them; those that are not judged have no stake and share no bankroll."""
    judged = rows[JUDGED].to_numpy()
    frames = [scored_frame(name, Examples(rows[judged]), said[judged], StakingSpec())]
    if not judged.all():
        without: dict[str, Any] = {MODEL: name, "stake": 0.0, "probability": said["probability"][~judged]}
        frames.append(rows.loc[~judged, CARRIED].assign(**without))
    flags = rows[[MONTH, AGE, UNSEEN, PASSES, JUDGED]]
    whence: dict[str, Any] = {AS_OF: stand.as_of.key, KIND: kind}
    return pd.concat(frames).join(flags).assign(**whence)
