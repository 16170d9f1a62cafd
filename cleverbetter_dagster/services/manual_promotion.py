"""Promotion and rollback by a person, with a reason. The gate's refusal is overridden only where that is said."""

from typing import Any

from cleverbetter_dagster.errors import InvalidInput, RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store import ledger
from cleverbetter_dagster.store.registry import ModelVersion, Registry

HISTORY = 10_000


def promote_by_hand(
    settings: Settings, model: tuple[str, int], reason: str, actor: str, *, override: bool = False
) -> ledger.LedgerEntry:
    """Promote a registered version at its as_of.

    Args:
        model: family and version.
        reason: kept in the ledger, not blank.
        actor: who or what promotes.
        override: promote although the gate refused this version last, or a rollback withdrew it.

    Raises:
        InvalidInput: no reason.
        ModelNotFound: there is no such version.
        RegistryError: the gate refused it, a rollback withdrew it, or another was promoted meanwhile.
    """
    version = Registry(settings).get_version(*model)
    refusal = _standing_refusal(settings, model)
    if refusal and not override:
        raise RegistryError(
            f"{refusal} was refused by {refusal.actor} on {refusal.decided_at:%Y-%m-%d %H:%M} UTC: {refusal.reason} "
            "Train a better one, or override the gate explicitly; the ledger records that."
        )
    evidence: dict[str, Any] = {
        "by_hand": True,
        "gate_overridden": bool(refusal),
        "refusal": refusal.reason if refusal else None,
    }
    decision = _decision(version, reason, actor, evidence)
    standing = ledger.champion_at(settings, version.as_of)
    entry = ledger.promote(settings, Registry(settings), decision, standing, reinstate=override)
    if entry.action == "refused":
        raise RegistryError(f"{entry} was not promoted: {entry.reason}.")
    return entry


def roll_back_by_hand(
    settings: Settings, reason: str, actor: str, model: tuple[str, int] | None = None
) -> ledger.LedgerEntry:
    """Return to an earlier model: the one named, or the champion's predecessor.

    Raises:
        InvalidInput: no reason.
        RegistryError: there is no predecessor, or the model is the champion already.
    """
    before = ledger.predecessor(settings)
    target = model or (before.model if before else None)
    if target is None:
        raise RegistryError("There is no earlier champion to return to; promote a version instead.")
    version = Registry(settings).get_version(*target)
    return ledger.roll_back(settings, Registry(settings), _decision(version, reason, actor, {"by_hand": True}))


def _standing_refusal(settings: Settings, model: tuple[str, int]) -> ledger.LedgerEntry | None:
    """The newest decision on a model, where that is a refusal."""
    last = next((entry for entry in ledger.history(settings, HISTORY) if entry.model == model), None)
    return last if last and last.action == "refused" else None


def _decision(version: ModelVersion, reason: str, actor: str, evidence: dict[str, Any]) -> ledger.Decision:
    if not reason.strip():
        raise InvalidInput("The reason is empty; say why, the ledger keeps it.")
    return ledger.Decision(
        family=version.family,
        version=version.version,
        run_id=version.run_id,
        as_of=version.as_of,
        reason=reason.strip(),
        actor=actor,
        evidence=evidence,
    )
