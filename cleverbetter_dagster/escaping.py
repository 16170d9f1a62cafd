r"""Text of others, made harmless for the place where it is shown: terminals, Markdown, chats.

Ids and values come from files and tables that others write. They may hold characters that a terminal obeys, that break
a Markdown table, or that call everybody in a chat.
"""

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Controls but tab and line feed, line and paragraph separators, and marks that turn the reading direction."""

_MARKDOWN = re.compile(r"([\\`|\[\]<>*~])")
_MENTION = re.compile(r"@(?=(?:channel|here|all|everyone)\b)", re.IGNORECASE)

_ANGLE_MENTION = re.compile(r"<(?=[!@#])")


def visible(text: str) -> str:
    r"""Each control character as one sign that can be seen.

    >>> visible("a\x1b[31mb\u202e\x85")
    'a␛[31mb��'
    """
    return _CONTROLS.sub(lambda match: _sign(match[0]), text)


def markdown_text(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line and in one table cell.

    >>> markdown_text("a|b\n<img src=x> ![c](http://d)")
    'a\\|b␊\\<img src=x\\> !\\[c\\](http://d)'
    """
    return _MARKDOWN.sub(r"\\\1", visible(text).replace("\n", _sign("\n")).replace("\t", " "))


def chat_text(text: str) -> str:
    """Text that a chat shows as it is: no link, and nobody is called.

    >>> chat_text("<!channel> & <https://a|b>")
    '&lt;!channel&gt; &amp; &lt;https://a|b&gt;'
    """
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")  # as Slack demands
    return _MENTION.sub("@\N{ZERO WIDTH SPACE}", escaped)


def uncalled(text: str) -> str:
    """Text for a channel that escapes by itself what it must: nobody is called, and no control character is left.

    >>> uncalled("<!channel> @everyone a@b.example").replace("\N{ZERO WIDTH SPACE}", "|")
    '<|!channel> @|everyone a@b.example'
    """
    return _ANGLE_MENTION.sub("<\N{ZERO WIDTH SPACE}", _MENTION.sub("@\N{ZERO WIDTH SPACE}", visible(text)))


def _sign(control: str) -> str:
    code = ord(control)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"
