"""The API is held to its own OpenAPI description: whatever is asked, the answers are those it announces."""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from cleverbetter_dagster.api.app import create_app
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.api.conftest import Api, served

ANY_SPEED = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}
GUIDES_CALLS = {("POST", "/api/v1/models/train"), ("GET", "/api/v1/models/training/{job_id}")}


@pytest.fixture(scope="module")
def description(deployment: Settings) -> schemathesis.BaseSchema:
    """The description of an API that starts no runs: Dagster is away, all else is real."""
    with served(deployment.model_copy(update={"dagster_url": "http://127.0.0.1:9"})) as running:
        yield schemathesis.openapi.from_url(f"{running.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@settings(max_examples=5, **ANY_SPEED)
def test_answers_are_as_described(case: Case) -> None:
    case.call_and_validate()


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=300, **ANY_SPEED)
def test_many_answers_are_as_described(case: Case) -> None:
    case.call_and_validate()


def test_the_guides_calls_are_described() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    assert {(method.upper(), path) for path, calls in paths.items() for method in calls} >= GUIDES_CALLS


def test_there_is_a_page_of_it_for_people(api: Api) -> None:
    assert requests.get(f"{api.url}/", timeout=30).url == f"{api.url}/docs"
