"""Nothing that Dagster shows appears, disappears or changes its name unseen."""

import yaml

from cleverbetter_dagster_tests.defs.snapshot import FILE, snapshot


def test_definitions_are_those_of_the_snapshot() -> None:
    assert snapshot() == yaml.safe_load(FILE.read_text()), (
        "If the change is meant, renew the snapshot: python -m cleverbetter_dagster_tests.defs.snapshot"
    )
