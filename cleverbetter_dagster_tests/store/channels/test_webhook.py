"""The webhook gets its message or a failure is told, never raised, within limits, and without its secret address."""

import logging
from collections.abc import Iterator

import pytest

from cleverbetter_dagster.store.channels import webhook
from cleverbetter_dagster.store.channels.webhook import send_text
from cleverbetter_dagster_tests.support.webhook_server import SECRET_PATH, Webhook, webhook_server


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook_server() as served:
        yield served


def test_the_text_arrives_as_json(hook: Webhook) -> None:
    assert send_text(hook.address, "Promoted: ensemble v1 – « é »") is None
    assert hook.bodies == [{"text": "Promoted: ensemble v1 – « é »"}]


def test_the_text_calls_nobody(hook: Webhook) -> None:
    assert send_text(hook.address, "<!channel> s1") is None
    assert hook.bodies == [{"text": "&lt;!channel&gt; s1"}]


def test_a_passing_fault_is_tried_again(hook: Webhook) -> None:
    hook.answers = [503, 429, 200]
    assert send_text(hook.address, "x", backoff_seconds=0.0) is None
    assert len(hook.bodies) == 3


def test_posting_stops_after_three_tries_or_a_permanent_error(hook: Webhook) -> None:
    hook.answers = [503]
    assert send_text(hook.address, "x", backoff_seconds=0.0) is not None
    assert len(hook.bodies) == 3
    hook.answers, hook.bodies = [404], []
    assert send_text(hook.address, "x", backoff_seconds=0.0) is not None
    assert len(hook.bodies) == 1


def test_a_redirect_is_not_followed(hook: Webhook) -> None:
    with webhook_server() as elsewhere:
        hook.answers, hook.location = [307], elsewhere.address
        assert send_text(hook.address, "x") is not None
        assert elsewhere.bodies == []


def test_a_server_that_never_answers_costs_limited_time(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "ANSWER_SECONDS", 0.1)
    hook.delay_seconds = 0.5
    assert send_text(hook.address, "x", backoff_seconds=0.0) is not None
    assert len(hook.bodies) == 3


@pytest.mark.parametrize(
    "address", [f"{start}{SECRET_PATH}" for start in ("http://127.0.0.1:1", "no address", "ftp://x")]
)
def test_an_address_that_cannot_be_reached_is_no_error(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    trouble = send_text(address, "x", backoff_seconds=0.0)
    assert trouble is not None and "the webhook was not reached" in trouble
    assert SECRET_PATH not in caplog.text + trouble


def test_what_goes_wrong_is_told_without_the_address(hook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hook.answers = [503]
    assert send_text(hook.address, "x", backoff_seconds=0.0) == "the webhook answered 503"
    assert SECRET_PATH not in caplog.text
