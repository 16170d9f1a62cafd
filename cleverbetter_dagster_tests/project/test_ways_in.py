"""Command line, REST API and notebook are three ways to the same use-cases: none may drift from the others unseen.

A command, a route or a method that is new has to be entered here, beside its counterparts or with the reason why it
has none.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import pytest
import typer.main

from cleverbetter_dagster.api.app import create_app
from cleverbetter_dagster.cli.main import app
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.defs.requests import OPTIONS, TrainingRequest
from cleverbetter_dagster.evaluation import ModelEvaluator
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.model_registry import ModelRegistry
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.training import TrainingConfig, TrainingPipeline

V1 = "/api/v1"
PERSON = "for a person at the machine"
SERVES = "of a server or of a deployment as a whole"
IN_MEMORY = "a step on frames in memory; elsewhere the graph does it"
GRAPH = "the graph does it over all months; a notebook stands at one"


@dataclass(frozen=True)
class UseCase:
    """Where a use-case is reached; `because` says why it is missing in some way."""

    commands: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    because: str = ""

    @property
    def is_everywhere(self) -> bool:
        return bool(self.commands and self.routes and self.methods)


USE_CASES = {
    "train a family": UseCase(("train",), (f"POST {V1}/models/train",), ("TrainingPipeline.train_model",)),
    "search hyperparameters": UseCase(
        ("tune",), (f"POST {V1}/models/train",), ("TrainingPipeline.hyperparameter_search",)
    ),
    "judge a model": UseCase(
        ("evaluate",),
        (f"GET {V1}/models/training/{{job_id}}",),
        ("ModelEvaluator.calculate_classification_metrics", "ModelEvaluator.calculate_betting_metrics"),
    ),
    "promote": UseCase(
        ("promote",),
        (f"POST {V1}/models/{{model_name}}/versions/{{version}}/promote",),
        ("ModelRegistry.promote_model",),
    ),
    "roll back": UseCase(("rollback",), (f"POST {V1}/models/rollback",), because="a notebook promotes the earlier one"),
    "who is champion": UseCase(("history",), (f"GET {V1}/models/champion",), ("ModelRegistry.load_model",)),
    "predictions": UseCase(
        ("predict",), (f"GET {V1}/predictions",), because="a notebook has TrainedModel.predict_proba"
    ),
    "why this stake": UseCase(
        ("explain",), ("GET /strategies", "GET /strategies/{name}"), because="a notebook has the model and its rows"
    ),
    "the day": UseCase(routes=("GET /",), because="commands show its parts: predict, history and status"),
    "follow jobs": UseCase(routes=(f"GET {V1}/models/training",), because="commands and notebooks wait for theirs"),
    "cancel a job": UseCase(
        routes=(f"POST {V1}/models/training/{{job_id}}/cancel",), because="Ctrl-C in a terminal and in a notebook"
    ),
    "list versions": UseCase(routes=(f"GET {V1}/models",), because="commands show them by month, MLflow lists all"),
    "load rows": UseCase(methods=("TrainingPipeline.load_data_from_database",), because=IN_MEMORY),
    "split": UseCase(methods=("TrainingPipeline.preprocess_data",), because=IN_MEMORY),
    "update a model": UseCase(
        ("train",),
        (f"POST {V1}/models/train",),
        ("TrainingPipeline.incremental_train", "TrainingPipeline.new_examples"),
    ),
    "register a model": UseCase(methods=("ModelRegistry.register_model",), because=IN_MEMORY),
    "train past months": UseCase(("backfill",), because=GRAPH),
    "train every family": UseCase(("retrain",), because=GRAPH),
    "replay retraining": UseCase(("simulate-retraining",), because=GRAPH),
    "leaderboard": UseCase(("compare",), because=GRAPH),
    "reports": UseCase(("report",), ("GET /reports/{kind}/{as_of}",), because=GRAPH),
    "rows in": UseCase(
        ("import", "quarantine list", "quarantine show", "quarantine repair", "quarantine retry"),
        because="files are read where they lie",
    ),
    "try it": UseCase(("demo", "reset"), because=PERSON),
    "settings": UseCase(("settings",), because=PERSON),
    "back up": UseCase(("backup", "restore"), because=SERVES),
    "alerts arrive": UseCase(("alerts test",), because=SERVES),
    "servers": UseCase(("up", "down", "api", "serve", "worker"), because=SERVES),
    "is it well": UseCase(("status", "doctor"), (f"GET {V1}/health", f"GET {V1}/ready"), because=SERVES),
}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by its name, with its group before it."""
    children = getattr(group, "commands", None)
    if children is None:
        return {prefix: group}
    below = [commands(child, f"{prefix} {name}".strip()) for name, child in children.items()]
    return {name: command for group in below for name, command in group.items()}


def routes(description: dict[str, Any]) -> set[str]:
    return {f"{method.upper()} {path}" for path, methods in description["paths"].items() for method in methods}


def methods() -> set[str]:
    return {
        f"{kind.__name__}.{name}"
        for kind in (TrainingPipeline, ModelEvaluator, ModelRegistry)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_command_route_and_method_belongs_to_a_use_case(description: dict[str, Any]) -> None:
    assert {name for case in USE_CASES.values() for name in case.commands} == set(commands(typer.main.get_command(app)))
    assert {name for case in USE_CASES.values() for name in case.routes} == routes(description)
    assert {name for case in USE_CASES.values() for name in case.methods} == methods()


def test_every_command_but_the_servers_speaks_json() -> None:
    by_name = commands(typer.main.get_command(app))
    without = [
        name for name, command in by_name.items() if not any("--json" in option.opts for option in command.params)
    ]
    assert sorted(without) == ["api", "serve", "worker"]


def test_exactly_the_missing_ways_in_have_a_reason() -> None:
    assert {name for name, case in USE_CASES.items() if case.is_everywhere == bool(case.because)} == set()


def test_all_three_ways_in_share_families_and_options(description: dict[str, Any]) -> None:
    fields = description["components"]["schemas"]["TrainingRequest"]["properties"]
    assert fields["model_type"]["enum"] == list(FAMILIES)
    search = inspect.signature(TrainingPipeline.hyperparameter_search).parameters
    # None is the family's own number.
    assert fields["n_trials"].get("default") is TrainingRequest.model_fields["n_trials"].default is None
    assert search["n_trials"].default is None
    assert set(DatasetSpec.model_fields) <= set(OPTIONS)
    assert set(DatasetSpec.model_fields) <= set(TrainingConfig.model_fields)
    assert {name: field.default for name, field in DatasetSpec.model_fields.items()} == {
        name: TrainingConfig.model_fields[name].default for name in DatasetSpec.model_fields
    }
