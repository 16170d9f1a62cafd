"""Promotion and rollback by hand: what a person decides, on which grounds, and what the ledger records of it.

The command line and the API both come through here. First `review` or `plan_rollback`, which change nothing and say
what would happen; then `promote` or `roll_back`, which are refused where another decision came in between.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import CleverBetterError, GateRefused, InvalidInput, NotStored
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, Verdict
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision, LedgerEntry
from cleverbetter_dagster.store.tracking.package import check_model, require_loadable
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking.runs import read_run_json

GATE = "gate"
"""Key of a decision's evidence under which the gate's part in it is kept."""

Source = Literal["ledger", "anew", "none"]


@dataclass(frozen=True)
class Review:
    """A model somebody wants to promote, and how the gate sees it.

    Attributes:
        standing: the champion of the model's own as_of, against which it is judged.
        champion: *the* champion, which stays where its as_of is later than the model's.
        verdict: the gate's; None where there is none, and `trouble` says why.
        source: whether the verdict is the ledger's or was computed anew.
        sha256: of the model's files, which are those that were logged.
    """

    version: ModelVersion
    standing: LedgerEntry | None
    champion: LedgerEntry | None
    verdict: Verdict | None
    source: Source
    trouble: str | None
    sha256: str

    @property
    def is_standing(self) -> bool:
        """Whether it is the champion of its as_of already."""
        return self.standing is not None and self.standing.model == (self.version.family, self.version.version)

    @property
    def passes(self) -> bool:
        """Whether the gate lets it through."""
        return self.verdict is not None and self.verdict.promote

    @property
    def becomes_champion(self) -> bool:
        """Whether, once promoted, it would be *the* champion: no other stands at a later as_of."""
        return self.champion is None or self.champion.as_of <= self.version.as_of


@dataclass(frozen=True)
class Grounds:
    """Who decides, why, and how far the gate binds.

    Attributes:
        override_gate: promote although the gate refuses; the ledger records it.
        accept_unjudged: promote what nobody judged yet; the ledger records that too.
        reinstate: promote also what a rollback withdrew.
    """

    reason: str
    actor: str
    override_gate: bool = False
    accept_unjudged: bool = False
    reinstate: bool = True

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise InvalidInput("A decision by hand needs a reason, which the ledger keeps; this one is blank.")


@dataclass(frozen=True)
class Outcome:
    """What became of it: the ledger's row by which the model stands, and *the* champion now."""

    action: Literal["promoted", "kept"]
    entry: LedgerEntry
    champion: LedgerEntry


@dataclass(frozen=True)
class RollbackPlan:
    """The champion, and the earlier one to return to."""

    champion: LedgerEntry
    target: LedgerEntry


def review(settings: Settings, family: str, version: int, *, judge: bool = True) -> Review:
    """Look at a registered model without changing anything.

    Args:
        judge: compute the gate's verdict where the ledger has none that still holds; it takes some seconds.

    Raises:
        ModelNotFound: there is no such model, or its files are gone.
        ModelTampered: its files are not those that were logged.
        ModelOutdated: another release trained it.
    """
    found = Registry(settings).get_version(family, version)
    require_loadable(found)
    sha256 = check_model(settings, found.model_uri)
    standing = ledger.champion_at(settings, found.as_of)
    looked_at = Review(found, standing, ledger.champion(settings), None, "none", "it was not judged", sha256)
    known = _verdict_in_ledger(settings, found, standing)
    if known is not None:
        return replace(looked_at, verdict=known, source="ledger", trouble=None)
    if not judge or looked_at.is_standing:
        return looked_at
    try:
        verdict = _judged(settings, found, standing)
    except CleverBetterError as error:
        return replace(looked_at, trouble=str(error))
    return replace(looked_at, verdict=verdict, source="anew", trouble=None)


def promote(settings: Settings, reviewed: Review, grounds: Grounds) -> Outcome:
    """Promote what was reviewed. The champion of its as_of already: nothing is added, MLflow's alias is put right.

    Raises:
        GateRefused: the gate is against it and is not overridden, or another was promoted since the review.
    """
    if reviewed.is_standing and reviewed.standing is not None:
        ledger.reconcile(settings, Registry(settings))
        return _outcome(settings, "kept", reviewed.standing)
    decision = _decision(reviewed, grounds)
    if not _allowed(reviewed, grounds):
        if reviewed.source == "anew" and reviewed.verdict is not None:
            ledger.refuse(settings, replace(decision, reason=" ".join(reviewed.verdict.reasons)))
        raise GateRefused(_refusal(reviewed))
    entry = ledger.promote(settings, Registry(settings), decision, reviewed.standing, reinstate=grounds.reinstate)
    if entry.action == "refused":
        raise GateRefused(f"{decision} was not promoted: {entry.reason}")
    return _outcome(settings, "promoted", entry)


def plan_rollback(settings: Settings, to: tuple[str, int] | None = None) -> RollbackPlan:
    """What to return to: the champion's predecessor, or a model that was promoted once.

    Raises:
        NotStored: there is no champion, no predecessor, or the model never was champion.
        ModelTampered: the files of the model to return to are not those that were logged.
        ModelOutdated: another release trained the model to return to.
    """
    champion = ledger.champion(settings)
    if champion is None:
        raise NotStored("There is no champion to roll back from; nothing was ever promoted.")
    target = ledger.promotion_of(settings, *to) if to else ledger.predecessor(settings)
    if target is None and to:
        raise NotStored(
            f"{to[0]} v{to[1]} was never promoted, so there is nothing to return to. `cleverbetter history` lists who "
            "was champion; `cleverbetter promote` makes one."
        )
    if target is None:
        raise NotStored(f"{champion} is the first champion: it has no predecessor to return to.")
    version = Registry(settings).get_version(*target.model)
    require_loadable(version)
    check_model(settings, version.model_uri)
    return RollbackPlan(champion, target)


def roll_back(settings: Settings, plan: RollbackPlan, grounds: Grounds) -> LedgerEntry:
    """Return to the planned model; all that stand at later months are withdrawn.

    Raises:
        RegistryError: it is the champion already, or stands at a later month than the champion.
    """
    decision = Decision(
        family=plan.target.family,
        version=plan.target.version,
        run_id=plan.target.run_id,
        as_of=plan.target.as_of,
        reason=grounds.reason,
        actor=grounds.actor,
        evidence={"by_hand": True, "from": str(plan.champion)},
    )
    return ledger.roll_back(settings, Registry(settings), decision)


def promote_by_hand(
    settings: Settings, model: tuple[str, int], reason: str, actor: str, *, override: bool = False
) -> LedgerEntry:
    """Review and promote in one call, as from a notebook: only what the gate refused needs `override`.

    Raises:
        InvalidInput: no reason.
        RegistryError: as `review` and `promote`; also where a rollback withdrew the model and `override` is not given.
    """
    grounds = Grounds(reason, actor, override, accept_unjudged=True, reinstate=override)
    return promote(settings, review(settings, *model, judge=False), grounds).entry


def roll_back_by_hand(settings: Settings, reason: str, actor: str, model: tuple[str, int] | None = None) -> LedgerEntry:
    """Plan and roll back in one call: to the model named, or to the champion's predecessor.

    Raises:
        InvalidInput: no reason.
        CleverBetterError: as `plan_rollback` and `roll_back`.
    """
    return roll_back(settings, plan_rollback(settings, model), Grounds(reason, actor))


def is_overridden(entry: LedgerEntry) -> bool:
    """Whether a row of the ledger was decided against the gate."""
    gate = entry.evidence.get(GATE)
    return isinstance(gate, dict) and bool(gate.get("overridden"))


def _allowed(reviewed: Review, grounds: Grounds) -> bool:
    if reviewed.verdict is None:
        return grounds.override_gate or grounds.accept_unjudged
    return grounds.override_gate or reviewed.passes


def _decision(reviewed: Review, grounds: Grounds) -> Decision:
    verdict = reviewed.verdict.model_dump(mode="json") if reviewed.verdict else None
    overridden = grounds.override_gate and not reviewed.passes
    gate = {"overridden": overridden, "source": reviewed.source, "trouble": reviewed.trouble, "verdict": verdict}
    version = reviewed.version
    return Decision(
        family=version.family,
        version=version.version,
        run_id=version.run_id,
        as_of=version.as_of,
        reason=grounds.reason,
        actor=grounds.actor,
        evidence={"by_hand": True, GATE: gate, "sha256": reviewed.sha256},
    )


def _refusal(reviewed: Review) -> str:
    version = reviewed.version
    found = "\n  ".join(reviewed.verdict.reasons) if reviewed.verdict else f"it cannot be judged: {reviewed.trouble}"
    return (
        f"The gate refuses {version.family} v{version.version}:\n  {found}\n"
        "Override it only if you know better than the test rows do (--override-gate); the ledger will say so."
    )


def _verdict_in_ledger(settings: Settings, version: ModelVersion, standing: LedgerEntry | None) -> Verdict | None:
    """The verdict of the last decision on a model, where it was judged against the champion that stands there now."""
    last = ledger.last_judged(settings, version.family, version.version, version.as_of)
    against = standing.model if standing else None
    if last is None or last.previous != against or last.evidence.get(ledger.OUTDATED):
        return None
    evidence: Any = last.evidence
    found = evidence[GATE].get("verdict") if GATE in evidence else evidence
    try:
        return Verdict.model_validate(found) if found else None
    except ValidationError:  # recorded by another version, or no verdict at all
        return None


def _judged(settings: Settings, version: ModelVersion, standing: LedgerEntry | None) -> Verdict:
    """The gate's verdict on the test rows of the split that the model's run recorded."""
    # Imported late: scikit-learn and matplotlib come with them, and most decisions by hand need neither.
    from cleverbetter_dagster.services.champion.promotion import judge_anew
    from cleverbetter_dagster.services.records import SplitRecord
    from cleverbetter_dagster.services.stored_assets import stored_rows
    from cleverbetter_dagster.services.training.datasets import rebuild, rows_until

    record = SplitRecord.read(
        read_run_json(settings, version.run_id, "split.json"), f"The split of {version}", "Train the model again."
    )
    as_of = AsOf.parse(version.as_of)
    dataset = rebuild(rows_until(stored_rows(settings, as_of), as_of), record)
    return judge_anew(settings, version.model_uri, standing, dataset, PromotionPolicy())


def _outcome(settings: Settings, action: Literal["promoted", "kept"], entry: LedgerEntry) -> Outcome:
    return Outcome(action, entry, ledger.champion(settings) or entry)
