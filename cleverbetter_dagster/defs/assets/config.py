"""Run configuration of the assets: the options that the launchpad shows, with their descriptions."""

import json
from copy import copy
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.evaluation.gate import PromotionPolicy
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.services.records import Training


class SplitConfig(DatasetSpec, dg.Config):
    """How examples are chosen and split. Stored with the split; everything after it uses the same choices."""


class StudyConfig(StudySpec, dg.Config):
    """How hyperparameters are searched for and scored on temporal folds."""


class FitConfig(dg.Config):
    """How the model is trained."""

    training: Training = Field(
        default="full",
        description="full (default): fit a new model with the hyperparameters of the month's study. incremental: "
        "update the newest registered version of this as_of month or an earlier one, with its hyperparameters, on the "
        "rows it has not learned from; no study is read.",
    )


class StakingConfig(dg.Config):
    """The bounds on stakes. An option left out stays as the champion has it."""

    kelly_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the full Kelly stake, above 0, at most 1; null (default): as the champion has it.",
    )
    max_stake_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Most of the bankroll per strategy, above 0, at most 1; null (default): as the champion has it.",
    )
    max_total_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Most of the bankroll for all, above 0, at most 1; null (default): as the champion has it.",
    )

    def options(self) -> dict[str, float]:
        """The options that were set."""
        return self.model_dump(exclude_none=True)


class PromotionConfig(PromotionPolicy, dg.Config):
    """What a challenger has to show before it becomes champion."""


class WalkForwardConfig(PromotionPolicy, dg.Config):
    """What a challenger has to show in the promotion policy that is replayed."""


def study_config(family: Family) -> type[StudyConfig]:
    """`StudyConfig` with the family's own defaults."""
    fields: dict[str, Any] = {}
    for name, default in family.study_defaults.items():
        field = copy(StudyConfig.model_fields[name])
        field.default = default
        field.description = f"{field.description} For this family the default is {json.dumps(default)}."
        fields[name] = (field.annotation, field)
    name = f"{family.name.title().replace('_', '')}StudyConfig"
    return create_model(name, __base__=StudyConfig, __doc__=StudyConfig.__doc__, **fields)
