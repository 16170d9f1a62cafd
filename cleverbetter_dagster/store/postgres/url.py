"""PostgreSQL URLs as people write them, and as SQLAlchemy (psycopg2) and psycopg 3 need them."""

from psycopg.conninfo import make_conninfo
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import UNREADABLE_URL, not_postgres

DRIVER = "postgresql+psycopg2"


def parsed(text: str, variable: str) -> URL:
    """The URL in `text`, whatever PostgreSQL driver it names, for psycopg2.

    >>> parsed("postgres://ann:s%40fe@db:5433/racing?sslmode=require", "DATABASE_URL")
    postgresql+psycopg2://ann:***@db:5433/racing?sslmode=require

    Raises:
        SettingsError: it is no PostgreSQL URL. The message names `variable` and shows no part of a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        description = UNREADABLE_URL
    else:
        description = f"a URL of {url.get_backend_name()!r}"
        # An '@' in the host is the rest of a password that was not encoded.
        if url.get_backend_name() in ("postgresql", "postgres") and "@" not in (url.host or ""):
            return url.set(drivername=DRIVER)
    raise SettingsError(not_postgres(variable, description))


def with_option(url: URL, setting: str, value: str) -> URL:
    """`url` with a server setting; its other options stay.

    >>> url = parsed("postgresql://db/racing?options=-cjit%3Doff", "DATABASE_URL")
    >>> options(with_option(url, "search_path", "dagster"))
    '-cjit=off -csearch_path=dagster'
    """
    # The last -c for a setting counts.
    return url.update_query_dict({"options": f"{options(url)} -c{setting}={value}".strip()})


def options(url: URL) -> str:
    """The server options in `url`, "" if there are none."""
    value = url.query.get("options", "")
    return value if isinstance(value, str) else " ".join(value)


def rendered(url: URL) -> str:
    """`url` as text with the password, which SQLAlchemy and libpq read in the same way."""
    address, mark, query = url.render_as_string(hide_password=False).partition("?")
    # SQLAlchemy writes a blank as '+', which libpq reads as a plus.
    return address + mark + query.replace("+", "%20")


def conninfo(url: URL) -> str:
    """`url` as libpq's keywords and values, with the password.

    >>> conninfo(parsed("postgresql://ann@/racing?host=db1:5432&host=db2:5433", "DATABASE_URL"))
    'dbname=racing user=ann host=db1,db2 port=5432,5433'

    Raises:
        psycopg.ProgrammingError: libpq does not know an option.
    """
    _, parameters = PGDialect_psycopg2().create_connect_args(url)
    return make_conninfo(**parameters)


def where(url: URL) -> str:
    """The address for people: user, host, port and database, no password.

    >>> where(parsed("postgresql://ann:secret@db/racing", "DATABASE_URL"))
    'ann@db:5432/racing'
    """
    host = url.host or url.query.get("host") or "local socket"
    host = host if isinstance(host, str) else ",".join(host)
    user = f"{url.username}@" if url.username else ""
    return f"{user}{host}:{url.port or 5432}/{url.database or ''}"


def without_password(text: str, url: URL) -> str:
    """`text` without the password, if it contains that."""
    return text.replace(str(url.password), "***") if url.password else text
