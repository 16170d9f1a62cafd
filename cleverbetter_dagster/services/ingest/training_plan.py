"""What a training that nobody configures trains on, and which families it can only train from scratch.

A team that trains with another filter than the default gets its updates with that filter: the choices of the champion's
dataset are carried over. All of it stands in the tags of registered versions, so a look opens no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry, may_hold_versions


@dataclass(frozen=True)
class TrainingPlan:
    """How to train as of a month.

    Attributes:
        spec: choices of examples and split.
        example: version whose choices they are, for a person; None: nothing is registered, they are the defaults.
        without_parent: families without a version of that as_of, or an earlier one, made with those choices.
    """

    spec: DatasetSpec
    example: str | None
    without_parent: tuple[str, ...]

    def __str__(self) -> str:
        if self.example is None:
            return "Split as by default: no version is registered yet."
        return f"Split as for {self.example}."


def plan_training(settings: Settings, families: Sequence[str], as_of: str) -> TrainingPlan:
    """The plan as of a month: the champion's choices, else those of the newest version, else the defaults.

    Raises:
        CleverBetterError: as `Registry.list_versions`.
    """
    versions = Registry(settings).list_versions() if may_hold_versions(settings) else []
    known = {
        version: spec for version in versions if version.as_of <= as_of and (spec := version.dataset_spec) is not None
    }
    example = _champion(settings, as_of, list(known)) or max(known, key=_age, default=None)
    spec = known[example] if example else DatasetSpec()
    with_parent = {
        version.family for version, theirs in known.items() if theirs == spec and version.model_family == version.family
    }
    lacking = tuple(family for family in families if family not in with_parent)
    return TrainingPlan(spec, f"{example.family} v{example.version}" if example else None, lacking)


def _champion(settings: Settings, as_of: str, versions: Sequence[ModelVersion]) -> ModelVersion | None:
    entry = ledger.champion_at(settings, as_of)
    if entry is None:
        return None
    named = (entry.family, entry.version)
    return next((version for version in versions if (version.family, version.version) == named), None)


def _age(version: ModelVersion) -> tuple[str, object]:
    return version.as_of, version.created_at
