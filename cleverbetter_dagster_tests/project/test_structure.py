"""The project stays small in its parts, and its checks need nothing from elsewhere."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from cleverbetter_dagster.settings import REPOSITORY

PACKAGE = REPOSITORY / "cleverbetter_dagster"
MOST_LINES = 300
MOST_MODULES = 12


def folders(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Every folder with the modules in it, the `__init__` left out."""
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        yield str(folder.relative_to(REPOSITORY)), [path for path in folder.glob("*.py") if path.stem != "__init__"]


def test_no_module_has_more_than_300_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.parametrize("root", ["cleverbetter_dagster", "cleverbetter_dagster_tests"])
def test_no_folder_has_more_than_12_modules(root: str) -> None:
    counts = {folder: len(modules) for folder, modules in folders(REPOSITORY / root)}
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_hooks_before_a_commit_fetch_nothing() -> None:
    repositories = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert {repository["repo"] for repository in repositories} == {"local"}
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    development = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    provided = {Requirement(line).name for line in development} | {"lint-imports"}
    assert {hook["entry"].split()[0] for hook in hooks} <= provided
