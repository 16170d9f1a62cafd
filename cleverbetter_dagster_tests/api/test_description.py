"""The API is held to its own OpenAPI description: whatever is asked, the answers are those it announces."""

import re
from urllib.parse import urljoin

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cleverbetter_dagster.api.app import create_app
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.api.conftest import served

GUIDES_CALLS = {("POST", "/api/v1/models/train"), ("GET", "/api/v1/models/training/{job_id}")}
EXCLUDED = [
    positive_data_acceptance,  # which months have rows, and which options go together, no schema can say
    not_a_server_error,  # Dagster is away, which is 503; 500 is looked for
]
PATIENCE_SECONDS = 120
"""More than the 10 that Schemathesis has, which a busy machine may need for the first call."""

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def described(deployment: Settings) -> FastAPI:
    """An API that starts no runs: Dagster is away, all else is real."""
    return create_app(deployment.model_copy(update={"dagster_url": "http://127.0.0.1:9"}))


def ask_everything(app: FastAPI, examples: int) -> set[str]:
    """Ask every operation, as described and otherwise, and check each answer; the operations that were asked."""
    asked = set()
    description = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "localhost"})
    for found in description.get_all_operations():
        operation = found.ok()
        for mode in MODES:

            @settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Case) -> None:
                answer = case.call_and_validate(
                    base_url="http://localhost", excluded_checks=EXCLUDED, timeout=PATIENCE_SECONDS
                )
                assert answer.status_code != 500

            if mode is GenerationMode.POSITIVE or operation.body or operation.query:  # else nothing can be wrong
                ask()
        asked.add(operation.label)
    return asked


def test_answers_are_as_described(described: FastAPI) -> None:
    assert "POST /api/v1/models/train" in ask_everything(described, examples=3)


@pytest.mark.slow
def test_many_answers_are_as_described(described: FastAPI) -> None:
    assert len(ask_everything(described, examples=200)) == 15


def test_the_guides_calls_are_described() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    assert {(method.upper(), path) for path, calls in paths.items() for method in calls} >= GUIDES_CALLS


def test_its_page_for_people_loads_nothing_from_elsewhere() -> None:
    with served(Settings()) as api:
        page = requests.get(f"{api.url}/docs", timeout=30)
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
        answers = [requests.get(urljoin(page.url, address), timeout=30) for address in loaded]
    assert "/openapi.json" in page.text
    assert not re.findall(r"https?:|[\"']//", page.text), "it names another host"
    assert len(loaded) == 3  # script, style, icon
    assert all(answer.ok and answer.content for answer in answers)
    assert all(answer.url.startswith(api.url) for answer in answers)
