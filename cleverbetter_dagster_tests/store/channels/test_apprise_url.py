"""What Apprise sends arrives at a real server, and what goes wrong is told without the address."""

import logging
from collections.abc import Iterator

import pytest

from cleverbetter_dagster.store.channels.apprise_url import send_by_apprise
from cleverbetter_dagster_tests.support.webhook_server import SECRET_PATH, Webhook, webhook_server


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook_server() as served:
        yield served


def test_the_text_arrives_and_calls_nobody(hook: Webhook) -> None:
    assert send_by_apprise(hook.apprise_url, "Promoted: ensemble v1 – « é » :smile: <!channel> @here\nnext") is None
    (body,) = hook.bodies
    assert body["title"] == "cleverbetter"
    assert body["message"] == "Promoted: ensemble v1 – « é » :smile: <\u200b!channel> @\u200bhere\nnext"


def test_a_text_too_long_for_the_service_arrives_in_parts(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apprise.plugins.custom_json.NotifyJSON.body_maxlen", 40)
    text = " ".join(f"word{number}" for number in range(30))
    assert send_by_apprise(hook.apprise_url, text) is None
    assert len(hook.bodies) > 2
    assert " ".join(hook.messages).split() == text.split()


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_is_told_by_its_status(hook: Webhook, status: int) -> None:
    hook.answers = [status]
    assert send_by_apprise(hook.apprise_url, "x") == f"the json service answered {status}"
    assert len(hook.bodies) == 1


def test_a_redirect_is_not_followed(hook: Webhook) -> None:
    with webhook_server() as elsewhere:
        hook.answers, hook.location = [307], elsewhere.address
        assert send_by_apprise(hook.apprise_url, "x") == "the json service answered 307"
        assert elsewhere.bodies == []


def test_a_server_that_never_answers_costs_limited_time(hook: Webhook) -> None:
    hook.delay_seconds = 0.5
    assert "was not reached" in str(send_by_apprise(f"{hook.apprise_url}?rto=0.1", "x"))


class Logged(logging.Handler):
    """What the root logger gets. pytest's own `caplog` also takes what goes to no handler but its logger's."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record)


@pytest.fixture
def logged() -> Iterator[Logged]:
    handler, root = Logged(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("start", ["json://127.0.0.1:1", "nosuch://x", "tgram://x"])
def test_neither_trouble_nor_log_shows_the_address(start: str, logged: Logged) -> None:
    trouble = send_by_apprise(f"{start}{SECRET_PATH}", "x")
    assert trouble is not None and start.partition(":")[0] in trouble
    logging.getLogger("urllib3.connectionpool").debug("others are heard as before")
    assert logged.text == "others are heard as before"


def test_a_plug_in_that_raises_is_told_by_its_error(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError(hook.apprise_url)

    monkeypatch.setattr("apprise.Apprise.notify", broken)
    assert send_by_apprise(hook.apprise_url, "x") == "Apprise failed to send to the json URL (KeyError)"
