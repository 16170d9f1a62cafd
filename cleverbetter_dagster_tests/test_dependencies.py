"""Dependencies are pinned to the ranges the tests ran with."""

import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement

from cleverbetter_dagster.settings import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NEEDED = PROJECT["dependencies"]
OPTIONAL = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]


@pytest.mark.parametrize("line", [*NEEDED, *OPTIONAL])
def test_every_dependency_has_both_bounds_and_is_installed_within_them(line: str) -> None:
    requirement = Requirement(line)
    operators = {specifier.operator for specifier in requirement.specifier}
    assert "==" in operators or {">=", "<"} <= operators, f"{line}: give it a lower and an upper bound"
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        assert line in OPTIONAL, f"{line} is not installed"
        pytest.skip(f"{requirement.name} is optional and not installed")
    assert requirement.specifier.contains(installed, prereleases=True), f"{line}: {installed} is installed"
