"""Each channel gets each alert once, whatever happens to the others: real servers, through Apprise and the webhook."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from cleverbetter_dagster.services.monitoring import delivery
from cleverbetter_dagster.services.monitoring.alerts import Alert
from cleverbetter_dagster.services.monitoring.delivery import deliver
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.channels.channel import Channel, channels_of
from cleverbetter_dagster_tests.support.webhook_server import Webhook, webhook_server

ONE, TWO, THREE = (Alert(kind="x", asset="a", text=text) for text in ("one", "two", "three"))


@pytest.fixture
def hooks() -> Iterator[tuple[Webhook, Webhook, Webhook]]:
    with webhook_server() as first, webhook_server() as second, webhook_server() as third:
        yield first, second, third


@pytest.fixture
def channels(hooks: tuple[Webhook, Webhook, Webhook], tmp_path: Path) -> list[Channel]:
    """A webhook and two URLs of Apprise."""
    first, *others = hooks
    urls = " ".join(hook.apprise_url for hook in others)
    return channels_of(Settings(home=tmp_path, alert_webhook=first.address, alert_urls=urls))  # type: ignore[arg-type]


def test_a_channel_that_fails_costs_the_others_nothing(
    hooks: tuple[Webhook, Webhook, Webhook], channels: list[Channel]
) -> None:
    first, second, third = hooks
    second.answers, third.answers = [404, 200], [500, 500, 200]
    waiting, troubles = deliver(channels, {}, [ONE])
    assert waiting == {channels[1].name: (ONE,), channels[2].name: (ONE,)}
    assert [trouble.partition("; see")[0] for trouble in troubles] == [
        f"1 alerts wait for {channels[1].name}: the json service answered 404",
        f"1 alerts wait for {channels[2].name}: the json service answered 500",
    ]
    waiting, _ = deliver(channels, waiting, [TWO])
    assert waiting == {channels[2].name: (ONE, TWO)}
    assert deliver(channels, waiting, [THREE]) == ({}, [])
    assert first.texts == ["one", "two", "three"]
    assert second.messages == ["one", "one\ntwo", "three"]
    assert third.messages == ["one", "one\ntwo", "one\ntwo\nthree"]


def test_what_waits_for_a_removed_url_is_dropped(channels: list[Channel]) -> None:
    assert deliver(channels, {"json-gone": (ONE,)}, []) == ({}, [])


def test_of_several_messages_only_those_refused_wait(
    hooks: tuple[Webhook, Webhook, Webhook], channels: list[Channel]
) -> None:
    long = [Alert(kind="x", asset="a", text=f"{number}" * 600) for number in range(5)]
    hooks[1].answers = [200, 503, 200]
    waiting, _ = deliver(channels[1:2], {}, long)
    assert waiting == {channels[1].name: tuple(long[2:])}
    assert deliver(channels[1:2], waiting, []) == ({}, [])
    assert hooks[1].messages == [
        "\n".join(one.text for one in part) for part in (long[:2], long[2:4], long[2:4], long[4:])
    ]


def test_an_alert_is_dropped_after_a_day(hooks: tuple[Webhook, Webhook, Webhook], channels: list[Channel]) -> None:
    old = ONE.model_copy(update={"at": datetime.now(UTC) - timedelta(hours=25)})
    assert deliver(channels, {channels[1].name: (old,)}, []) == ({}, [])
    assert hooks[1].bodies == []


def test_the_newest_wait_if_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_WAITING", 2)
    refuses = Channel("x", "X", 10, lambda _: "refused")
    assert deliver([refuses], {"x": (ONE, TWO)}, [THREE])[0] == {"x": (TWO, THREE)}


def test_nobody_waits_for_a_channel_that_hangs(
    hooks: tuple[Webhook, Webhook, Webhook], channels: list[Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 0.3)
    released = Event()
    hangs = Channel("hangs", "X", 10, lambda _: None if released.wait(20) else "never")
    waiting, (trouble,) = deliver([hangs, channels[1]], {}, [ONE])
    released.set()
    assert waiting == {"hangs": (ONE,)}
    assert trouble == "1 alerts wait for hangs: no answer within 0.3 s; see X."
    assert hooks[1].messages == ["one"]


def test_no_further_message_is_begun_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FURTHER_SECONDS", 0.0)
    taken: list[str] = []
    waiting, (trouble,) = deliver([Channel("slow", "X", 3, taken.append)], {}, [ONE, TWO])
    assert (taken, waiting) == (["one"], {"slow": (TWO,)})
    assert "no time for more messages" in trouble
