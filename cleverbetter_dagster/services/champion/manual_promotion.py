"""Promotion and rollback by hand: what a person decides, in which context, and what the ledger records of it.

The command line, the API and notebooks use it. First `review` or `plan_rollback`, which change nothing and return what
would happen; then `promote` or `roll_back`, which refuse if another decision was made in between. The new champion is
scored at once, so that its stakes are there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.errors import CleverBetterError, DataError, GateRefused, InvalidInput, NotStored
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, Verdict
from cleverbetter_dagster.services.champion.renewal import renew_stakes
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision, LedgerEntry
from cleverbetter_dagster.store.tracking.package import check_model, require_loadable
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry
from cleverbetter_dagster.store.tracking.runs import read_run_json

if TYPE_CHECKING:
    from cleverbetter_dagster.services.training.datasets import Dataset

GATE = "gate"
"""Key in a decision's evidence of what the gate said, and whether it was overridden."""


@dataclass(frozen=True)
class Review:
    """A model somebody wants to promote, and the gate's verdict on it.

    Attributes:
        incumbent: the champion of the model's own as_of, with which it is compared.
        champion: *the* champion, which stays if its as_of is later than the model's.
        verdict: the gate's; None if there is none, and `trouble` says why.
        source: whether the verdict was in the ledger or was computed for this review.
        sha256: hash of the model's files, which are unchanged since they were logged.
    """

    version: ModelVersion
    incumbent: LedgerEntry | None
    champion: LedgerEntry | None
    verdict: Verdict | None
    source: Literal["ledger", "computed", "none"]
    trouble: str | None
    sha256: str

    @property
    def is_incumbent(self) -> bool:
        """Whether it is the champion of its as_of already."""
        return self.incumbent is not None and self.incumbent.model == (self.version.family, self.version.version)

    @property
    def passes(self) -> bool:
        """Whether the gate lets it through."""
        return self.verdict is not None and self.verdict.promote

    @property
    def becomes_champion(self) -> bool:
        """Whether it would be *the* champion after a promotion: no later month has one."""
        return self.champion is None or self.champion.as_of <= self.version.as_of


@dataclass(frozen=True)
class DecisionContext:
    """Who decides, why, and how far the gate binds.

    Attributes:
        override_gate: promote although the gate refuses; the ledger records it.
        reinstate: promote also a model that a rollback withdrew.
    """

    reason: str
    actor: str
    override_gate: bool = False
    reinstate: bool = True

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise InvalidInput("A decision by hand needs a reason for the ledger; this one is blank.")


@dataclass(frozen=True)
class RollbackPlan:
    """The champion, and the earlier one to return to."""

    champion: LedgerEntry
    target: LedgerEntry


def review(settings: Settings, family: str, version: int, *, judge: bool = True) -> Review:
    """Look at a registered model without changing anything.

    Args:
        judge: compute the gate's verdict if the ledger has none that is still valid; it takes some seconds.

    Raises:
        ModelNotFound: there is no such model, or its files are gone.
        ModelTampered: its files were changed.
        ModelOutdated: another release trained it.
    """
    model = Registry(settings).get_version(family, version)
    require_loadable(model)
    sha256 = check_model(settings, model.model_uri)
    incumbent = ledger.champion_at(settings, model.as_of)
    unjudged = Review(model, incumbent, ledger.champion(settings), None, "none", "it was not judged", sha256)
    recorded = _verdict_in_ledger(settings, model, incumbent)
    if recorded is not None:
        return replace(unjudged, verdict=recorded, source="ledger", trouble=None)
    if not judge or unjudged.is_incumbent:
        return unjudged
    try:
        return replace(unjudged, verdict=_judge(settings, model, incumbent), source="computed", trouble=None)
    except CleverBetterError as error:
        return replace(unjudged, trouble=str(error))


def promote(settings: Settings, reviewed: Review, context: DecisionContext) -> LedgerEntry:
    """Promote a reviewed model. If it is the champion of its as_of already, only MLflow's alias is set again.

    Raises:
        GateRefused: the gate refuses it and is not overridden, or another model was promoted since the review.
    """
    if reviewed.is_incumbent and reviewed.incumbent is not None:
        ledger.restore_alias(settings, Registry(settings))
        renew_stakes(settings, reviewed.incumbent)
        return reviewed.incumbent
    decision = _decision(reviewed, context)
    if not (reviewed.passes or context.override_gate):
        if reviewed.source == "computed" and reviewed.verdict is not None:
            ledger.refuse(settings, replace(decision, reason=" ".join(reviewed.verdict.reasons)))
        raise GateRefused(_refusal(reviewed))
    entry = ledger.promote(settings, Registry(settings), decision, reviewed.incumbent, reinstate=context.reinstate)
    if entry.action == "refused":
        raise GateRefused(f"{decision} was not promoted: {entry.reason}")
    renew_stakes(settings, entry)
    return entry


def plan_rollback(settings: Settings, to: tuple[str, int] | None = None) -> RollbackPlan:
    """The model to return to: the champion's predecessor, or one that was promoted earlier.

    Raises:
        NotStored: there is no champion, no predecessor, or the model was never champion.
        ModelTampered: the files of the model to return to were changed.
        ModelOutdated: another release trained the model to return to.
    """
    champion = ledger.champion(settings)
    if champion is None:
        raise NotStored("There is no champion to roll back from; nothing was ever promoted.")
    target = ledger.promotion_of(settings, *to) if to else ledger.predecessor(settings)
    if target is None and to:
        raise NotStored(
            f"{to[0]} v{to[1]} was never promoted, so there is nothing to return to. `cleverbetter history` lists the "
            "champions; `cleverbetter promote --help` says how to make one."
        )
    if target is None:
        raise NotStored(f"{champion} is the first champion: it has no predecessor to return to.")
    version = Registry(settings).get_version(*target.model)
    require_loadable(version)
    check_model(settings, version.model_uri)
    return RollbackPlan(champion, target)


def roll_back(settings: Settings, plan: RollbackPlan, context: DecisionContext) -> LedgerEntry:
    """Return to the planned model; all models of later months are withdrawn.

    Raises:
        RegistryError: it is the champion already, or its month is later than the champion's.
    """
    target, evidence = plan.target, {"by_hand": True, "from": str(plan.champion)}
    decision = Decision(*target.model, target.run_id, target.as_of, context.reason, context.actor, evidence)
    entry = ledger.roll_back(settings, Registry(settings), decision)
    renew_stakes(settings, entry)
    return entry


def promote_by_hand(
    settings: Settings, model: tuple[str, int], reason: str, actor: str, *, override: bool = False
) -> LedgerEntry:
    """Review and promote in one call. A model that the gate refuses, or a rollback withdrew, needs `override`.

    The gate judges the model now if the ledger has no verdict that is still valid, which takes some seconds.

    Raises:
        InvalidInput: the reason is blank.
        RegistryError: as `review` and `promote`.
    """
    context = DecisionContext(reason, actor, override, reinstate=override)
    return promote(settings, review(settings, *model, judge=not override), context)


def roll_back_by_hand(settings: Settings, reason: str, actor: str) -> LedgerEntry:
    """Plan and roll back in one call, to the champion's predecessor.

    Raises:
        InvalidInput: the reason is blank.
        CleverBetterError: as `plan_rollback` and `roll_back`.
    """
    return roll_back(settings, plan_rollback(settings), DecisionContext(reason, actor))


def is_overridden(entry: LedgerEntry) -> bool:
    """Whether a decision was made against the gate."""
    gate = entry.evidence.get(GATE)
    return isinstance(gate, dict) and bool(gate.get("overridden"))


def recorded_verdict(evidence: Mapping[str, Any]) -> Verdict | None:
    """The gate's verdict in the evidence of a decision; None if it has none, or one of another release."""
    recorded = evidence[GATE].get("verdict") if GATE in evidence else evidence
    try:
        return Verdict.model_validate(recorded) if recorded else None
    except ValidationError:
        return None


def _decision(reviewed: Review, context: DecisionContext) -> Decision:
    version, verdict = reviewed.version, reviewed.verdict
    gate = {
        "overridden": context.override_gate and not reviewed.passes,
        "source": reviewed.source,
        "trouble": reviewed.trouble,
        "verdict": verdict.model_dump(mode="json") if verdict else None,
    }
    evidence = {"by_hand": True, GATE: gate, "sha256": reviewed.sha256}
    names = (version.family, version.version, version.run_id, version.as_of)
    return Decision(*names, context.reason, context.actor, evidence)


def _refusal(reviewed: Review) -> str:
    version = reviewed.version
    why = "\n  ".join(reviewed.verdict.reasons) if reviewed.verdict else f"it cannot be judged: {reviewed.trouble}"
    return (
        f"The gate refuses {version.family} v{version.version}:\n  {why}\n"
        "Override it only if you know more than the test rows show (--override-gate); the ledger records it."
    )


def _verdict_in_ledger(settings: Settings, version: ModelVersion, incumbent: LedgerEntry | None) -> Verdict | None:
    """The verdict of the last decision on a model, if it was compared with the champion that is there now."""
    last = ledger.last_judged(settings, version.family, version.version, version.as_of)
    against = incumbent.model if incumbent else None
    if last is None or last.previous != against or last.evidence.get(ledger.OUTDATED):
        return None
    return recorded_verdict(last.evidence)


def _judge(settings: Settings, version: ModelVersion, incumbent: LedgerEntry | None) -> Verdict:
    """The gate's verdict on the test rows of the split that the model's run recorded."""
    # Imported late: scikit-learn and matplotlib come with it, and most decisions by hand do not need it.
    from cleverbetter_dagster.services.champion.promotion import judge_model

    return judge_model(settings, version, incumbent, _dataset_of(settings, version), PromotionPolicy())


def _dataset_of(settings: Settings, version: ModelVersion) -> "Dataset":
    """The rows a model was trained on: as `training_rows` stored them, else as the database has them now.

    A notebook trains on the database's rows, which may be stored nowhere.

    Raises:
        DataError: neither are those rows.
    """
    from cleverbetter_dagster.services.ingest.loading import load_history
    from cleverbetter_dagster.services.records import SplitRecord
    from cleverbetter_dagster.services.stored_assets import stored_rows
    from cleverbetter_dagster.services.training.datasets import rebuild, rows_until

    split = read_run_json(settings, version.run_id, "split.json")
    record = SplitRecord.read(split, f"The split of {version}", "Train the model again.")
    as_of = AsOf.parse(version.as_of)
    try:
        return rebuild(rows_until(stored_rows(settings, as_of), as_of), record)
    except DataError as stored:
        try:
            return rebuild(load_history(settings, as_of.key), record)
        except CleverBetterError:
            raise stored from None
