"""Commands that messages name are commands there are, with options they have."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from cleverbetter_dagster.cli.main import app
from cleverbetter_dagster.errors import CleverBetterError
from cleverbetter_dagster.settings import REPOSITORY

COMMAND = re.compile(r"(?:`|: )cleverbetter ([a-z][^`\n]*?)(?:`|$)")
PAGES = sorted(path.relative_to(REPOSITORY) for path in (REPOSITORY / "docs").rglob("*.md"))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *PAGES)


NAMED_ONLY = {"backup"}
"""Commands that messages name as the source of something, as "an archive that `cleverbetter backup` wrote"."""

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


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


def messages() -> list[tuple[str, str]]:
    """The hints of messages: those of modules, without docstrings, which may name a command and give no example."""
    found = []
    for path in sorted((REPOSITORY / "cleverbetter_dagster").rglob("*.py")):
        tree = ast.parse(path.read_text())
        named = {
            text for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node, False))
        }
        found += [(path.name, hint) for text in texts(path) if text not in named for hint in COMMAND.findall(text)]
    return found


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


def incomplete(hint: str) -> str | None:
    """What a command that a message names lacks; None if it can be typed as it is."""
    months = re.sub(r"(?<=--as-of )\{\}", "2023-12", hint)
    command: Any = typer.main.get_command(app)
    words = shlex.split(months.replace("{}", "1"))
    while getattr(command, "commands", None):
        command = command.commands[words.pop(0)]
    try:
        command.make_context("cleverbetter", words)
    except typer.BadParameter as error:  # a parameter that is missing is of this class too
        return error.format_message()
    except (typer.Exit, CleverBetterError):  # `--help`; a value that stands for one, such as NAME
        return None
    return None


def test_hints_are_found_and_a_wrong_one_is_told() -> None:
    assert len(hints()) > 80
    assert trouble(["predict", "--renew"]) is None
    assert trouble(["predict", "--again"]) == "no option --again"
    assert trouble(["quarantine", "mend"]) == "no command mend"
    assert incomplete("backfill --to 2023-12") == "Missing option '--from'."
    assert incomplete("evaluate {} --as-of {}") is None


@pytest.mark.parametrize(("where", "hint"), sorted(set(hints())))
def test_every_command_that_is_named_exists(where: str, hint: str) -> None:
    assert trouble(hint.split()) is None, f"{where}: cleverbetter {hint}"


@pytest.mark.parametrize(("where", "hint"), sorted({one for one in messages() if one[1] not in NAMED_ONLY}))
def test_every_command_that_a_message_names_can_be_typed(where: str, hint: str) -> None:
    assert incomplete(hint) is None, f"{where}: cleverbetter {hint}"
