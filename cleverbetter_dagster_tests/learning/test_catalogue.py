import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import cleverbetter_dagster
from cleverbetter_dagster.errors import UnknownFamily
from cleverbetter_dagster.learning.catalogue import DEFAULT_FAMILY, FAMILIES, get_family

PACKAGE = Path(cleverbetter_dagster.__file__).parent
CATALOGUE = PACKAGE / "learning" / "catalogue.py"
EXAMPLES = PACKAGE / "cli" / "main.py"
"""Holds the examples of the help page: whole command lines, which have to name some family."""


def test_a_family_is_found_by_its_name():
    assert all(get_family(name).name == name for name in FAMILIES)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UnknownFamily, match=r"'forest'.*ensemble"):
        get_family("forest")


def test_the_first_family_is_the_default():
    assert next(iter(FAMILIES)) == DEFAULT_FAMILY == "ensemble"


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_is_a_special_case_outside_its_package(name):
    family = type(FAMILIES[name])
    own = Path(inspect.getfile(family)).parent
    elsewhere = [file for file in PACKAGE.rglob("*.py") if file != CATALOGUE and own not in file.parents]
    lines = [f"{file.relative_to(PACKAGE)}:{line}" for file in elsewhere for line in uses(file, name, family.__name__)]
    assert lines == []


def uses(file: Path, name: str, class_name: str) -> Iterator[int]:
    """Lines with the family's class, or with a text that is its name or an asset's of its own."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        is_name = isinstance(node, ast.Constant) and f"{node.value}_".startswith(f"{name}_") and file != EXAMPLES
        is_class = isinstance(node, ast.Name | ast.alias) and class_name in vars(node).values()
        if is_name or is_class:
            yield node.lineno
