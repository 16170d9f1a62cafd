"""Plans an automatic training: its dataset options, and the families that must train from scratch.

A team that trains with another filter than the default gets updates with that filter, because the champion's dataset
options are carried over. All of it is read from the tags of registered versions; no model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.services.champion.staking_options import version_to_follow
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.package import is_loadable
from cleverbetter_dagster.store.tracking.registry import Registry, may_hold_versions


@dataclass(frozen=True)
class TrainingPlan:
    """How to train as of a month.

    Attributes:
        spec: the dataset options.
        example: the version whose options they are, for a person; None: the defaults, because nothing is registered.
        without_parent: families without a version of that as_of, or an earlier one, made with these options.
    """

    spec: DatasetSpec
    example: str | None
    without_parent: tuple[str, ...]

    def __str__(self) -> str:
        text = (
            f"Dataset options of {self.example}." if self.example else "Default dataset options: nothing is registered."
        )
        if self.without_parent:
            text += f" Full training: no version with these options to update: {', '.join(self.without_parent)}."
        return text


def plan_training(settings: Settings, families: Sequence[str], as_of: str) -> TrainingPlan:
    """The plan as of a month: the champion's options, else those of the newest version, else the defaults.

    Raises:
        CleverBetterError: as `Registry.list_versions`.
    """
    versions = Registry(settings).list_versions() if may_hold_versions(settings) else []
    known = {
        version: spec for version in versions if version.as_of <= as_of and (spec := version.dataset_spec) is not None
    }
    example = version_to_follow(settings, as_of, list(known))
    spec = known[example] if example else DatasetSpec()
    with_parent = {
        version.family
        for version, theirs in known.items()
        if theirs == spec and version.model_family == version.family and is_loadable(version)
    }
    without_parent = tuple(family for family in families if family not in with_parent)
    return TrainingPlan(spec, f"{example.family} v{example.version}" if example else None, without_parent)
