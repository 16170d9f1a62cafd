"""What README, CONTRIBUTING and the pages for developers point at exists."""

import re

import pytest

from cleverbetter_dagster.settings import REPOSITORY

ROOTS = (REPOSITORY, REPOSITORY / "cleverbetter_dagster", REPOSITORY / "cleverbetter_dagster_tests")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/measurements.md", "docs/promotion.md")
NAMES = r"`([\w./]*(?:/|\.(?:py|md|txt|toml|yaml)|\.ci/\w+))`"
"""Folders end in a slash, files in a known ending; a leading `...` stands for any name. `.ci/docs` makes `build/`."""

MENTIONED = [
    (document, path)
    for document in DOCUMENTS
    for path in sorted(set(re.findall(NAMES, (REPOSITORY / document).read_text())))
    if not path.startswith(("...", ".cleverbetter", "build/"))
]


@pytest.mark.parametrize(("document", "path"), MENTIONED)
def test_every_file_that_a_document_names_exists(document: str, path: str) -> None:
    assert any((root / path).exists() for root in ROOTS), f"{document} names {path}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_that_a_document_runs_exists(document: str) -> None:
    modules = re.findall(r"python -m (cleverbetter_dagster[\w.]+)", (REPOSITORY / document).read_text())
    missing = [name for name in modules if not (REPOSITORY / f"{name.replace('.', '/')}.py").exists()]
    assert not missing
