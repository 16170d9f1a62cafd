"""Every number that a person may set has a lowest and a highest value, and an absurd one is refused with its name."""

import math
import typing
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import cleverbetter_dagster
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.errors import InvalidRequest
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.services.ingest.sensor_state import Cursor
from cleverbetter_dagster.services.monitoring.alerts import AlertCursor
from cleverbetter_dagster.services.records import Record

ROOMS = ("betting", "dataset", "evaluation", "learning", "services", "defs", "api", "training")
WRITTEN_BY_US = (Record, Cursor, AlertCursor)
"""What is stored and read again: nobody fills it in."""


def option_models() -> list[type[BaseModel]]:
    """Models that people fill in: they refuse unknown fields."""
    for module in walk_packages(cleverbetter_dagster.__path__, "cleverbetter_dagster."):
        if module.name.split(".")[1] in ROOMS:
            import_module(module.name)
    found: list[type[BaseModel]] = []
    waiting: list[type[BaseModel]] = [BaseModel]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            is_ours = child.__module__.startswith("cleverbetter_dagster.") and not issubclass(child, WRITTEN_BY_US)
            if is_ours and child.model_config.get("extra") == "forbid" and child not in found:
                found.append(child)
    return found


def numeric_fields() -> Iterator[tuple[str, FieldInfo]]:
    for model in option_models():
        for name, field in model.model_fields.items():
            kinds = {field.annotation, *typing.get_args(field.annotation)}
            if kinds & {int, float}:
                yield f"{model.__module__.rpartition('.')[2]}.{model.__name__}.{name}", field


NUMERIC = dict(numeric_fields())


def end(field: FieldInfo, *names: str) -> float:
    ends = [float(getattr(limit, name)) for limit in field.metadata for name in names if hasattr(limit, name)]
    return ends[0] if ends else math.nan


def test_the_specs_of_all_rooms_are_walked() -> None:
    names = {name.split(".")[1] for name in NUMERIC}
    assert {"DatasetSpec", "StudySpec", "StakingSpec", "PromotionPolicy", "RlAgentParams"} <= names


@pytest.mark.parametrize("name", NUMERIC)
def test_every_number_has_a_lowest_and_a_highest_value(name: str) -> None:
    field = NUMERIC[name]
    ends = (end(field, "ge", "gt"), end(field, "le", "lt"))
    assert all(map(math.isfinite, ends)), f"{name} lies between {ends}"


@pytest.mark.parametrize(
    ("options", "field", "bound"),
    [
        ({"threads": 1_000_000}, "config.threads", "256"),
        ({"embargo_days": 1e18}, "config.embargo_days", "3650"),
        ({"seed": 10**400}, "config.seed", "4294967295"),
        ({"min_examples": 10**18}, "config.min_examples", "100000000"),
        ({"max_history_months": 10**9}, "config.max_history_months", "1200"),
        ({"timeout_seconds": 1e300}, "config.timeout_seconds", "604800"),
        ({"params": {"n_estimators": 10**9}}, "config.params.n_estimators", "5000"),
        ({"params": {"learning_rate": "fast"}}, "config.params.learning_rate", "valid number"),
        ({"space": {"n_estimators": [10, 10**9]}}, "config.space.n_estimators", "5000"),
        ({"space": {"max_depth": [-4, 3]}}, "config.space.max_depth", "1"),
    ],
)
def test_an_absurd_option_is_refused_with_field_value_and_bound(
    options: dict[str, Any], field: str, bound: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TrainingRequest.parse({"model_type": "ensemble", "config": options})
    (problem,) = caught.value.problems
    assert problem.field == field
    assert bound in problem.message and "got" in problem.message


@pytest.mark.parametrize("family", FAMILIES)
def test_the_defaults_of_a_family_are_within_its_bounds(family: str) -> None:
    params = FAMILIES[family].default_params()
    assert TrainingRequest.parse({"model_type": family, "config": {"params": params}}).config["params"] == params
