"""What a wheel of the project holds."""

import re
import shutil
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from cleverbetter_dagster.settings import REPOSITORY

PACKAGE, TESTS = "cleverbetter_dagster", "cleverbetter_dagster_tests"
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """A wheel built from a copy of the sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for file in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    for package in (PACKAGE, TESTS):
        shutil.copytree(REPOSITORY / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", BUILD, str(target)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return ZipFile(next(target.glob("*.whl")))


def test_a_wheel_holds_every_file_of_the_package(wheel: ZipFile) -> None:
    files = {str(path.relative_to(REPOSITORY)) for path in Path(REPOSITORY, PACKAGE).rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= set(wheel.namelist())


def test_a_wheel_holds_no_tests(wheel: ZipFile) -> None:
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {PACKAGE}


def test_a_wheel_says_that_its_types_can_be_checked(wheel: ZipFile) -> None:
    assert f"{PACKAGE}/py.typed" in wheel.namelist()


def test_a_wheel_carries_its_licence_and_authors(wheel: ZipFile) -> None:
    (metadata,) = (wheel.read(name) for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    fields = message_from_bytes(metadata)
    assert fields["License-Expression"] == "MIT"
    assert fields["License-File"] == "LICENSE"
    assert fields["Author"] == "The cleverbetter_dagster authors"
    assert re.search(r"^# Changelog$", str(fields.get_payload()), flags=re.MULTILINE)
