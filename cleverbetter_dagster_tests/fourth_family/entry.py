"""The entry in the catalogue, as a pytest plugin. Only `-p` makes it: importing this module changes nothing."""

from types import MappingProxyType

import pytest

from cleverbetter_dagster.learning import catalogue
from cleverbetter_dagster_tests.fourth_family.boosting import Boosting


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before anything reads the catalogue."""
    catalogue.FAMILIES = MappingProxyType({**catalogue.FAMILIES, "boosting": Boosting()})
