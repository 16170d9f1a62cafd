"""Nothing that Dagster shows appears, disappears or changes its name unseen."""

from difflib import unified_diff

from cleverbetter_dagster_tests.defs.snapshot import FILE, snapshot


def test_definitions_are_those_of_the_snapshot() -> None:
    stored, current = FILE.read_text().splitlines(), snapshot().splitlines()
    changes = list(unified_diff(stored, current, "snapshot", "definitions", n=1, lineterm=""))
    remedy = "If the change is meant, renew the snapshot: python -m cleverbetter_dagster_tests.defs.snapshot"
    assert not changes, "\n".join([*changes, remedy])
