"""Cron expressions are refused when settings are read, as Dagster would refuse them later."""

import pytest
from dagster._utils.schedules import is_valid_cron_schedule

from cleverbetter_dagster.cron import is_cron
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import load_settings

GOOD = ("0 5 * * 1", "*/15 8-18 * * mon-fri", "0 0 1,15 * *", "@daily", "59 23 31 12 7", "0 7 * jan,dec *")
BAD = ("0 5 * *", "61 5 * * 1", "0 25 * * *", "a b c d e", "*/0 * * * *", "0 5 * * 8", "@sometimes", "", "* * * * * *")


@pytest.mark.parametrize("text", [*GOOD, *BAD])
def test_what_can_be_read_is_what_dagster_reads(text: str) -> None:
    assert is_cron(text) == is_valid_cron_schedule(text) == (text in GOOD)


def test_an_unreadable_cron_is_refused_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_WEEKLY_UPDATE_CRON", "61 5 * * 1")
    with pytest.raises(SettingsError, match=r"CLEVERBETTER_WEEKLY_UPDATE_CRON .*no cron expression.*'61 5 \* \* 1'"):
        load_settings()
