"""A further family is one module and its entry in the catalogue: no other line changes, and every promise holds."""

import subprocess
import sys
from pathlib import Path

import pytest

import cleverbetter_dagster_tests

TESTS = Path(cleverbetter_dagster_tests.__file__).parent
SUITES = (
    "fourth_family/with_entry.py",
    "learning/test_family_contract.py",
    "learning/test_update_contract.py",
    "learning/test_leakage.py",
    "defs/test_graph.py",
    "project/test_ways_in.py",
)


@pytest.mark.timeout(900)
def test_a_fourth_family_keeps_every_promise() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "cleverbetter_dagster_tests.fourth_family.entry", "-n", "0", "-q"]
    suites = [str(TESTS / suite) for suite in SUITES]
    chosen = "boosting or with_entry or test_graph or test_ways_in"
    done = subprocess.run([*command, "-k", chosen, *suites], cwd=TESTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout
