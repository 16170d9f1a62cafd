"""The door that serves this machine alone, and the one that takes a token."""

from collections.abc import Iterator

import pytest

from cleverbetter_dagster_tests.web.doors import TOKEN, served


@pytest.fixture(scope="module")
def open_door() -> Iterator[str]:
    with served(None) as url:
        yield url


@pytest.fixture(scope="module")
def closed_door() -> Iterator[str]:
    with served(TOKEN) as url:
        yield url
