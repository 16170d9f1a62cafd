"""Every field of run configuration says in the launchpad what it means, which values it takes and its default."""

import json
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster import Field
from pydantic.fields import FieldInfo

from cleverbetter_dagster.definitions import defs
from cleverbetter_dagster.defs.assets.config import (
    FitConfig,
    PromotionConfig,
    SplitConfig,
    StakingConfig,
    WalkForwardConfig,
    study_config,
)
from cleverbetter_dagster.learning.catalogue import FAMILIES

JOBS = {job.name: job for job in defs.resolve_all_job_defs()}
CONFIGS: list[type[dg.Config]] = [
    SplitConfig,
    FitConfig,
    StakingConfig,
    PromotionConfig,
    WalkForwardConfig,
    *(study_config(family) for family in FAMILIES.values()),
]
FIELDS = [(config.__name__, name, field) for config in CONFIGS for name, field in config.model_fields.items()]


def fields_of(schema: Any, path: str) -> Iterator[tuple[str, Field]]:
    """Fields below `schema`, each with its path. `env` is Dagster's own way to write a value."""
    for name, field in getattr(schema, "fields", {}).items():
        if name != "env":
            yield f"{path}.{name}", field
            yield from fields_of(field.config_type, f"{path}.{name}")


def configured(job: dg.JobDefinition) -> dict[str, Field]:
    """The configuration of every op and resource that takes any, and its fields, by path."""
    parts = job.run_config_schema.run_config_schema_type.fields
    holders = {part: parts[part].config_type.fields for part in ("ops", "resources") if part in parts}
    below = {
        f"{part}.{name}": holder.config_type.fields["config"]
        for part, entries in holders.items()
        for name, holder in entries.items()
        if getattr(holder.config_type.fields["config"].config_type, "fields", {})
    }
    fields = {path: field for holder, top in below.items() for path, field in fields_of(top.config_type, holder)}
    return below | fields


@pytest.mark.parametrize("job", JOBS)
def test_every_field_of_run_configuration_has_a_description(job: str) -> None:
    assert [path for path, field in configured(JOBS[job]).items() if not field.description] == []


def test_assets_take_no_other_configuration_than_these_classes() -> None:
    shown = {path.split(".")[2] for path in configured(JOBS["__ASSET_JOB"]) if re.match(r"ops\..*\.", path)}
    assert shown == {name for _, name, _ in FIELDS}


@pytest.mark.parametrize(("config", "name", "field"), FIELDS)
def test_a_description_names_bounds_and_default(config: str, name: str, field: FieldInfo) -> None:
    text = str(field.description)
    numbers = [float(number) for number in re.findall(r"-?\b\d+(?:\.\d+)?", text)]
    ends = [getattr(limit, end) for limit in field.metadata for end in ("gt", "ge", "lt", "le") if hasattr(limit, end)]
    named = [*ends, field.default]
    lacking = [value for value in named if value not in numbers and json.dumps(value).strip('"') not in text]
    assert lacking == [], f"{config}.{name}: {text}"
