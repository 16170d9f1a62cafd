"""What a backfill finds to do in a month: what is missing, or all of it where it is to be done again."""

from dataclasses import replace
from pathlib import Path

import pytest

from cleverbetter_dagster.cli.models.backfill import Wanted, _launches, _missing
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore

MONTH = "2023-05"
EVERYBODY = Wanted(tuple(FAMILIES), (), None, again=False, quiet=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in which the ensemble was judged as of `MONTH`, and everything as of the month before."""
    settings = Settings(home=tmp_path)
    store = ArtefactStore(settings.artefacts_base)
    judged = [f"{family}_evaluation/2023-04.parquet" for family in FAMILIES]
    for path in (f"ensemble_evaluation/{MONTH}.parquet", *judged, "model_comparison/2023-04.json"):
        store.write_text(path, "there")
    return settings


def test_what_is_there_is_skipped_unless_it_is_to_be_done_again(settings: Settings) -> None:
    others = tuple(family for family in FAMILIES if family != "ensemble")
    assert _missing(settings, MONTH, EVERYBODY) == (others, True)
    assert _missing(settings, "2023-04", EVERYBODY) == ((), False)
    assert _missing(settings, "2023-04", replace(EVERYBODY, again=True)) == (tuple(FAMILIES), True)


def test_a_part_of_the_families_gets_no_leaderboard(settings: Settings) -> None:
    assert _missing(settings, MONTH, replace(EVERYBODY, families=("ensemble",))) == ((), False)
    assert _missing(settings, MONTH, replace(EVERYBODY, families=("classifier",))) == (("classifier",), False)


def test_where_all_are_judged_only_the_leaderboard_is_made(settings: Settings) -> None:
    for family in FAMILIES:
        ArtefactStore(settings.artefacts_base).write_text(f"{family}_evaluation/{MONTH}.parquet", "there")
    missing, comparison = _missing(settings, MONTH, EVERYBODY)
    assert (missing, comparison) == ((), True)
    (launch,) = _launches(settings, MONTH, EVERYBODY, missing, comparison)
    assert (launch.assets, launch.months) == (("model_comparison",), (MONTH, MONTH))
