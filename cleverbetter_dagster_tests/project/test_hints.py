"""Commands that messages name are commands there are, with options they have."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cleverbetter_dagster.cli.main import app
from cleverbetter_dagster.settings import REPOSITORY

COMMAND = re.compile(r"(?:`|: )cleverbetter ([a-z][^`\n]*?)(?:`|$)")
PAGES = sorted(path.relative_to(REPOSITORY) for path in (REPOSITORY / "docs").rglob("*.md"))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *PAGES)


def texts(path: Path) -> Iterator[str]:
    """The texts of a module, docstrings included, with `{}` for what is filled in; or a document as it is."""
    if path.suffix == ".md":
        yield path.read_text()
        return
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def hints() -> list[tuple[str, str]]:
    modules = sorted((REPOSITORY / "cleverbetter_dagster").rglob("*.py"))
    files = [*modules, *(REPOSITORY / name for name in DOCUMENTS)]
    return [(path.name, found) for path in files for text in texts(path) for found in COMMAND.findall(text)]


def trouble(words: list[str]) -> str | None:
    """What is wrong with a command; None if it is one of ours."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if re.fullmatch(r"[a-z-]+", word) and getattr(command, "commands", None):
            if word not in command.commands:
                return f"no command {word}"
            command = command.commands[word]
        elif word.startswith("-") and "{" not in word:
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
            if word.partition("=")[0] not in known:
                return f"no option {word}"
    return None


def test_hints_are_found_and_a_wrong_one_is_told() -> None:
    assert len(hints()) > 80
    assert trouble(["predict", "--renew"]) is None
    assert trouble(["predict", "--again"]) == "no option --again"
    assert trouble(["quarantine", "mend"]) == "no command mend"


@pytest.mark.parametrize(("where", "hint"), sorted(set(hints())))
def test_every_command_that_is_named_exists(where: str, hint: str) -> None:
    assert trouble(hint.split()) is None, f"{where}: cleverbetter {hint}"
