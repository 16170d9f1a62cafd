"""A test's name states one fact in few words."""

import ast
from collections.abc import Iterator

from cleverbetter_dagster.settings import REPOSITORY

MOST_WORDS = 10


def names() -> Iterator[str]:
    """Every test function as `module.py: name`."""
    for path in sorted((REPOSITORY / "cleverbetter_dagster_tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(REPOSITORY)}: {node.name}"


def test_no_name_of_a_test_has_more_than_ten_words() -> None:
    words = {name: len(name.split(": test_")[1].split("_")) for name in names()}
    assert {name: count for name, count in words.items() if count > MOST_WORDS} == {}
