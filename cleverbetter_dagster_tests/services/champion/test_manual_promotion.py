"""A model nobody judged yet is judged where it is promoted by hand: on its own test rows, against who stands there."""

import pytest

from cleverbetter_dagster.errors import GateRefused
from cleverbetter_dagster.evaluation.leaks import HIGHEST_MODEL_AUC
from cleverbetter_dagster.model_registry import ModelRegistry
from cleverbetter_dagster.services.champion.manual_promotion import (
    DecisionContext,
    Review,
    is_overridden,
    promote,
    review,
)
from cleverbetter_dagster.services.stored_assets import ROWS
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster_tests.services.champion.conftest import KNOWN_SHARE, registered
from cleverbetter_dagster_tests.services.conftest import AS_OF

CONTEXT = DecisionContext("nobody judged it yet", "a test")


def looked_at(settings: Settings, version: int) -> Review:
    return review(settings, "ensemble", version)


def test_a_model_above_every_baseline_is_promoted_by_hand(empty_registry: Settings, as_stored: Dataset) -> None:
    version = registered(empty_registry, as_stored, KNOWN_SHARE)
    reviewed = looked_at(empty_registry, version)
    assert (reviewed.source, reviewed.passes, reviewed.trouble) == ("computed", True, None), reviewed
    assert reviewed.verdict is not None
    assert reviewed.verdict.n_rows == len(as_stored.parts.test)
    assert ledger.history(empty_registry) == []  # looking changes nothing
    entry = promote(empty_registry, reviewed, CONTEXT)
    assert entry == ledger.champion(empty_registry)
    assert entry.model == ("ensemble", version)
    assert not is_overridden(entry)
    gate = entry.evidence["gate"]
    assert (gate["source"], gate["verdict"]["promote"]) == ("computed", True)


def test_the_guides_call_promotes_what_the_gate_accepts(empty_registry: Settings, as_stored: Dataset) -> None:
    version = registered(empty_registry, as_stored, KNOWN_SHARE)
    registry = ModelRegistry()
    registry._settings = empty_registry
    message = registry.promote_model(model_name="ensemble", version=version, stage="Production")
    assert f"ensemble v{version} was promoted" in message
    entry = ledger.champion(empty_registry)
    assert entry is not None
    assert (entry.evidence["gate"]["source"], is_overridden(entry)) == ("computed", False)


def test_the_next_model_is_judged_against_the_incumbent(empty_registry: Settings, as_stored: Dataset) -> None:
    better, worse = (registered(empty_registry, as_stored, share) for share in (KNOWN_SHARE, 0.15))
    promote(empty_registry, looked_at(empty_registry, better), CONTEXT)
    reviewed = looked_at(empty_registry, worse)
    assert (reviewed.source, reviewed.passes) == ("computed", False)
    assert reviewed.verdict is not None
    assert reviewed.verdict.comparisons[0].against == "champion"
    with pytest.raises(GateRefused, match="not shown to be as good as the champion"):
        promote(empty_registry, reviewed, CONTEXT)
    # The refusal is kept, and not computed again: the next look finds it in the ledger.
    assert [entry.action for entry in ledger.history(empty_registry)] == ["refused", "promoted"]
    assert (looked_at(empty_registry, worse).source, looked_at(empty_registry, worse).passes) == ("ledger", False)


def test_what_knows_too_much_is_refused_as_a_leak(empty_registry: Settings, as_stored: Dataset) -> None:
    reviewed = looked_at(empty_registry, registered(empty_registry, as_stored, 1.0))
    assert (reviewed.source, reviewed.passes) == ("computed", False)
    with pytest.raises(GateRefused, match=f"at most {HIGHEST_MODEL_AUC} is believable"):
        promote(empty_registry, reviewed, CONTEXT)
    assert ledger.champion(empty_registry) is None


def test_changed_rows_give_no_verdict_but_a_remedy(empty_registry: Settings, as_stored: Dataset) -> None:
    version = registered(empty_registry, as_stored, KNOWN_SHARE)
    store = ArtefactStore(empty_registry.artefacts_base)
    path = f"{ROWS}/{AS_OF.key}.parquet"
    kept = store.read_tables([path])
    store.write_table(path, kept.slice(1))
    reviewed = looked_at(empty_registry, version)
    store.write_table(path, kept)
    assert (reviewed.source, reviewed.verdict) == ("none", None)
    assert "Materialise temporal_split" in str(reviewed.trouble)
    with pytest.raises(GateRefused, match="cannot be judged"):
        promote(empty_registry, reviewed, CONTEXT)
