"""What a backfill does in a month: what is missing, or everything with --again."""

from pathlib import Path

import pytest

from cleverbetter_dagster.cli.models.backfill import _launches, _missing
from cleverbetter_dagster.defs.requests import TrainingRequest
from cleverbetter_dagster.learning.catalogue import FAMILIES
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore

MONTH = "2023-05"
REQUESTS = {family: TrainingRequest(model_type=family, as_of=MONTH) for family in FAMILIES}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in which the ensemble was judged as of `MONTH`, and everything as of the month before."""
    settings = Settings(home=tmp_path)
    store = ArtefactStore(settings.artefacts_base)
    judged = [f"{family}_evaluation/2023-04.parquet" for family in FAMILIES]
    for path in (f"ensemble_evaluation/{MONTH}.parquet", *judged, "model_comparison/2023-04.json"):
        store.write_text(path, "there")
    return settings


def missing(settings: Settings, month: str, *families: str, again: bool = False) -> tuple[list[str], bool]:
    requests = [REQUESTS[family] for family in families or FAMILIES]
    absent, compare = _missing(settings, month, requests, again)
    return [request.model_type for request in absent], compare


def test_a_month_that_is_done_is_skipped_unless_again(settings: Settings) -> None:
    others = [family for family in FAMILIES if family != "ensemble"]
    assert missing(settings, MONTH) == (others, True)
    assert missing(settings, "2023-04") == ([], False)
    assert missing(settings, "2023-04", again=True) == (list(FAMILIES), True)


def test_a_part_of_the_families_gets_no_leaderboard(settings: Settings) -> None:
    assert missing(settings, MONTH, "ensemble") == ([], False)
    assert missing(settings, MONTH, "classifier") == (["classifier"], False)


def test_only_the_leaderboard_is_made_if_all_are_judged(settings: Settings) -> None:
    for family in FAMILIES:
        ArtefactStore(settings.artefacts_base).write_text(f"{family}_evaluation/{MONTH}.parquet", "there")
    assert missing(settings, MONTH) == ([], True)
    (launch,) = _launches(settings, MONTH, [], compare=True)
    assert (launch.assets, launch.months) == (("model_comparison",), (MONTH, MONTH))
