"""Dependencies have ranges, and constraints.txt has the versions the tests ran with."""

import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cleverbetter_dagster.settings import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NEEDED = PROJECT["dependencies"]
OPTIONAL = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
CONSTRAINTS = {
    canonicalize_name(name): Version(pinned)
    for name, _, pinned in (
        line.partition("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line[0] != "#"
    )
}


@pytest.mark.parametrize("line", [*NEEDED, *OPTIONAL])
def test_every_dependency_has_both_bounds_and_is_within_them(line: str) -> None:
    requirement = Requirement(line)
    operators = {specifier.operator for specifier in requirement.specifier}
    assert "==" in operators or {">=", "<"} <= operators, f"{line}: give it a lower and an upper bound"
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        assert line in OPTIONAL, f"{line} is not installed"
        pytest.skip(f"{requirement.name} is optional and not installed")
    assert requirement.specifier.contains(installed, prereleases=True), f"{line}: {installed} is installed"


@pytest.mark.parametrize("line", [*NEEDED, *OPTIONAL])
def test_every_dependency_is_pinned_in_the_constraints(line: str) -> None:
    assert canonicalize_name(Requirement(line).name) in CONSTRAINTS, "renew constraints.txt: .ci/constraints"


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_installed_versions_are_those_of_the_constraints(name: str) -> None:
    try:
        installed = Version(version(name))
    except PackageNotFoundError:
        pytest.skip(f"{name} is not needed on this Python or is optional")
    remedy = 'pip install -e ".[dev]" -c constraints.txt'
    assert Version(installed.public) == CONSTRAINTS[name], f"{name} {installed} is installed: {remedy}"


def test_the_constraints_bring_no_cuda_packages() -> None:
    assert CONSTRAINTS["torch"] == Version("2.13.0")
    assert not [name for name in CONSTRAINTS if name.startswith(("nvidia", "cuda", "triton"))]
