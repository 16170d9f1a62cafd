"""Text of others cannot act where it is shown: on terminals, in Dagster's UI, in chats."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from cleverbetter_dagster.cli.output import VisibleConsole
from cleverbetter_dagster.defs.assets.metadata import bullets, table
from cleverbetter_dagster.escaping import chat_text, markdown_text, visible

ERASE_SCREEN = "s1\x1b[2J"


def printed(value: object) -> str:
    console = VisibleConsole(file=io.StringIO(), width=80, force_terminal=True, no_color=True)
    console.print(value)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_obeys_no_value_of_a_table() -> None:
    shown = Table("strategy")
    shown.add_row(ERASE_SCREEN)
    assert "s1␛[2J" in printed(shown)
    assert "\x1b[2J" not in printed(shown)


@given(st.text())
def test_nothing_printed_holds_a_control_character(text: str) -> None:
    from rich.text import Text

    assert visible(printed(Text(text))) == printed(Text(text))


def test_a_cell_stays_one_cell_of_one_line() -> None:
    lines = table([{"strategy": "a|b\nc\\|d", "stake": 0.5}]).splitlines()
    assert lines[2:] == ["| a\\|b␊c\\\\\\|d | 0.5 |"]


@pytest.mark.parametrize("text", ["![x](http://evil.example/a.png)", "[click](http://a.example)", "<img src=x>", "`x`"])
def test_markdown_of_others_is_text(text: str) -> None:
    assert bullets([text]) == f"- {markdown_text(text)}"
    assert all(markdown_text(text).count(f"\\{sign}") == text.count(sign) for sign in "[]<>`")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<!channel> s1", "&lt;!channel&gt; s1"),
        ("<https://evil.example|report>", "&lt;https://evil.example|report&gt;"),
        ("@here @CHANNEL a@hereafter.example", "@\u200bhere @\u200bCHANNEL a@hereafter.example"),
        ("a & b", "a &amp; b"),
    ],
)
def test_a_chat_calls_nobody_and_links_to_nothing(text: str, expected: str) -> None:
    assert chat_text(text) == expected
