"""What every connection sets before it is used, whatever the server's, the database's or the role's defaults are.

Defaults set by `ALTER ROLE ... SET` change how values are written (`DateStyle`), what they mean (`TimeZone`,
`array_nulls`), how long a snapshot may wait, and whether anything may be written. The schema is set here too, and not
only in the start packet: PgBouncer ignores `options` there, or refuses it.

A pooler that hands each transaction another session loses all of this, and session locks too. It is refused.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

CLIENT_ENCODING = "UTF8"
"""Set in the start packet, because both drivers choose their decoder from the server's answer to it."""

LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "default_transaction_read_only": "off",
    "row_security": "on",
}
"""PostgreSQL's own defaults. The options of a URL may change them."""

LIMITS_SINCE_17 = {"transaction_timeout": "0"}

FORMATS = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
}
"""How values are read and written here. Nothing changes them."""


class Connection(Protocol):
    """What the connections of psycopg and psycopg2 have in common."""

    autocommit: Any

    @property
    def info(self) -> Any: ...

    def cursor(self) -> Any: ...


def parse_options(text: str) -> tuple[dict[str, str], str]:
    """The settings in the `options` of a URL, by their names in lower case; and the options that are no settings.

    >>> parse_options(r"-c search_path=a,\\ b --statement-timeout=5s -cjit=off -O")
    ({'search_path': 'a, b', 'statement_timeout': '5s', 'jit': 'off'}, '-O')
    """
    settings, others = {}, []
    words = iter(re.findall(r"(?:\\.|\S)+", text))
    for word in words:
        named = next(words, "") if word == "-c" else word
        name, equals, value = re.sub(r"^(-c|--)", "", named).partition("=")
        if equals and (word.startswith(("-c", "--"))):
            settings[name.replace("-", "_").lower()] = re.sub(r"\\(.)", r"\1", value)
        else:
            others.append(word)
    return settings, " ".join(others)


def prepare(connection: Connection, asked: Mapping[str, str]) -> None:
    """Set everything for the whole session. `asked`: the settings of the URL, and the schema."""
    inherited, _ = parse_options(connection.info.options or "")  # of PGOPTIONS or a service file
    limits = LIMITS | (LIMITS_SINCE_17 if connection.info.server_version >= 170_000 else {})
    settings = {**limits, **inherited, **asked}
    fixed = {name.lower() for name in FORMATS}
    settings = {name: value for name, value in settings.items() if name.lower() not in fixed} | FORMATS
    before = connection.autocommit
    connection.autocommit = True  # a rollback would undo what is set in a transaction
    calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
    connection.cursor().execute(f"SELECT {calls}", [text for setting in settings.items() for text in setting])
    connection.autocommit = before


def server_encoding(connection: Connection) -> str:
    """PostgreSQL's name of the encoding of the database."""
    return str(connection.info.parameter_status("server_encoding"))


def serving_pid(connection: Connection) -> int:
    """The process of the server that answers this connection, a pooler's or not. Of an autocommit connection."""
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    return int(cursor.fetchone()[0])


def shares_sessions(one: Connection, other: Connection) -> bool:
    """True if two open connections are answered by one session: the pooler gives it away after each transaction."""
    # Somebody else may get the session in between, so once is not proof enough of the contrary.
    return any(serving_pid(one) == serving_pid(other) for _ in range(5))
