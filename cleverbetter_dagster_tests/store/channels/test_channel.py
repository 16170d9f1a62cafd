"""The channels are what the settings name, each with a name that stays and tells no secret."""

import pytest

from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.channels.channel import channels_of

URLS = ("json://127.0.0.1:1/T0ken-one", "json://127.0.0.1:1/T0ken-two", "tgram://123456789:T0ken-three/42")


def names(monkeypatch: pytest.MonkeyPatch, *urls: str) -> list[str]:
    monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", " \n".join(urls))
    return [channel.name for channel in channels_of(load_settings())]


def test_without_a_setting_there_is_no_channel() -> None:
    assert channels_of(load_settings()) == []


def test_each_url_is_a_channel_beside_the_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_ALERT_WEBHOOK", "http://127.0.0.1:1")
    found = names(monkeypatch, *URLS)
    assert [name.partition("-")[0] for name in found] == ["webhook", "json", "json", "tgram"]
    assert len(set(found)) == 4


def test_a_name_stays_when_other_urls_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(monkeypatch, *URLS)[1] == names(monkeypatch, URLS[1], URLS[2])[0]


def test_urls_whose_digest_is_equal_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleverbetter_dagster.store.channels.channel.DIGITS", 0)
    assert names(monkeypatch, *URLS) == ["json-", "json--2", "tgram-"]


def test_names_hold_no_part_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = " ".join(names(monkeypatch, *URLS)) + str(channels_of(load_settings())[0].setting)
    assert not any(part in shown for part in ("T0ken", "127", "123456789", "42/"))
