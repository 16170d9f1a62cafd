"""One deployment that has advised stakes, for all modules here that change nothing in it."""

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster_tests.services.overview.advised import advised


@pytest.fixture(scope="module")
def deployment(tracked: Settings) -> Settings:
    advised(tracked)
    return tracked
