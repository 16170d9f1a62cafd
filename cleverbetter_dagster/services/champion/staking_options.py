"""The bounds on stakes that a model carries. They are set once and kept with its version until they are set again.

A training sets them, or `strategy_predictions` does. An option that is left out stays as the champion has it.
"""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import InvalidInput, did_you_mean
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.registry import STAKING_TAG, ModelVersion, Registry


def staking_of_training(settings: Settings, as_of: str, options: Mapping[str, float]) -> StakingSpec:
    """The bounds for a training as of a month: its own options, and the rest as the version it follows has them.

    Raises:
        InvalidInput: an option is unknown or out of range.
    """
    versions = [version for version in Registry(settings).list_versions() if version.staking_spec is not None]
    followed = version_to_follow(settings, as_of, versions)
    return changed_options(followed.staking_spec if followed else None, options)


def record_staking(settings: Settings, family: str, version: int, options: Mapping[str, float]) -> None:
    """Record on a new version the bounds for its training.

    Raises:
        InvalidInput, ModelNotFound: as `staking_of_training` and `staking_of_version`.
    """
    as_of = Registry(settings).get_version(family, version).as_of
    staking_of_version(settings, family, version, staking_of_training(settings, as_of, options).model_dump())


def staking_of_version(settings: Settings, family: str, version: int, options: Mapping[str, float]) -> StakingSpec:
    """The bounds a registered version carries, after these options are set on it.

    Raises:
        InvalidInput: an option is unknown or out of range.
        ModelNotFound: there is no such version.
    """
    registry = Registry(settings)
    staking = changed_options(registry.get_version(family, version).staking_spec, options)
    if options:
        registry.set_tags(family, version, {STAKING_TAG: staking.model_dump_json()})
    return staking


def check_options(options: Mapping[str, float]) -> None:
    """Refuse options that cannot be set.

    Raises:
        InvalidInput: an option is unknown or out of range.
    """
    changed_options(None, options)


def version_to_follow(settings: Settings, as_of: str, versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Whose options a training as of a month takes over: the champion's of that month, else the newest version's.

    Args:
        versions: those that record the options in question; later months are passed over.
    """
    champion = ledger.champion_at(settings, as_of)
    by_then = [version for version in versions if version.as_of <= as_of]
    for version in by_then:
        if champion is not None and (version.family, version.version) == champion.model:
            return version
    return max(by_then, key=lambda version: (version.as_of, version.created_at), default=None)


def _did_you_mean(name: str) -> str:
    question = "" if name in StakingSpec.model_fields else did_you_mean(name, StakingSpec.model_fields)
    return question[:1].upper() + question[1:]


def changed_options(staking: StakingSpec | None, options: Mapping[str, float]) -> StakingSpec:
    """Bounds on stakes, by default those of `StakingSpec`, with other options.

    Raises:
        InvalidInput: an option is unknown or out of range.
    """
    try:
        return StakingSpec.model_validate({**(staking or StakingSpec()).model_dump(), **options})
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise InvalidInput(
            f"The staking option {name} is {wrong['input']!r}: {wrong['msg']}. {_did_you_mean(name)}"
            f"The options are {', '.join(StakingSpec.model_fields)}, each above 0 and at most 1."
        ) from None
