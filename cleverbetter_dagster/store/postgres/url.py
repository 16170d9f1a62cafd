"""PostgreSQL URLs as people write them, and as libpq and SQLAlchemy need them. libpq decides what a URL means.

psycopg and psycopg2 get libpq's own keywords and values. SQLAlchemy, and so Optuna, Dagster and MLflow, gets a URL of
the dialect `postgresql+cleverbetter` (see `dialect`), which hands the same keywords and values to psycopg2. So every
form that libpq reads means the same everywhere: a service, a socket, several hosts, keywords and values.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, quote

import psycopg2.extensions  # type: ignore[import-untyped]
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.setting_types import UNREADABLE_URL, not_postgres
from cleverbetter_dagster.store.postgres.session import CLIENT_ENCODING, parse_options

DRIVER = "postgresql+cleverbetter"
SETTING = "setting"
"""Key in the query of SQLAlchemy's URL of a setting that the session gets; no keyword of libpq."""

_ONE_HOST = re.compile(r"[\w.:-]+")
_UNKNOWN_KEYWORD = re.compile(r'invalid (?:URI query parameter: |connection option )"(\w+)"')

# MLflow's server does not import this package; for its sake pyproject.toml has the same line as an entry point.
registry.register("postgresql.cleverbetter", "cleverbetter_dagster.store.postgres.dialect", "SessionDialect")


@dataclass(frozen=True)
class PostgresUrl:
    """An address of a database.

    Attributes:
        parameters: libpq's keywords and values, the password among them; `repr` leaves them out.
        settings: names and values of what the session gets, from the URL's `options`.
    """

    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def conninfo(self) -> str:
        """libpq's text of keywords and values, with the password."""
        return make_conninfo(**dict(self.parameters), client_encoding=CLIENT_ENCODING)

    def get(self, keyword: str) -> str:
        """The value of a keyword of libpq, "" if it is not given."""
        return dict(self.parameters).get(keyword, "")

    def with_default(self, keyword: str, value: str) -> "PostgresUrl":
        """The address with the value of a keyword that it does not give itself."""
        return self if self.get(keyword) else replace(self, parameters=(*self.parameters, (keyword, value)))

    def __str__(self) -> str:
        return where(self)


def parsed(text: str, variable: str) -> PostgresUrl:
    """The address in `text`, a URL of any PostgreSQL driver or libpq's keywords and values.

    >>> parsed("postgres://ann:s%40fe@db:5433/racing?options=-cjit%3Doff", "DATABASE_URL")
    PostgresUrl(settings=(('jit', 'off'),))
    >>> parsed("postgresql+psycopg://h1:1,h2:2/racing", "DATABASE_URL").conninfo
    'dbname=racing host=h1,h2 port=1,2 client_encoding=UTF8'

    Raises:
        SettingsError: libpq cannot read it. The message names `variable` and shows no part of a password.
    """
    scheme, _, rest = text.strip().partition("://")
    name, driver, _ = scheme.partition("+")
    if rest and name not in ("postgresql", "postgres"):
        raise SettingsError(not_postgres(variable, f"a URL of {name!r}" if name.isalnum() else UNREADABLE_URL))
    address, _, query = rest.partition("?")
    if driver:
        query = query.replace("+", "%20")  # SQLAlchemy writes a blank so
    # libpq wants blanks in a URL encoded; SQLAlchemy leaves them in a password.
    conninfo = f"{name}://{address}{'?' if query else ''}{query}".replace(" ", "%20") if rest else text
    try:
        parameters = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
        psycopg2.extensions.parse_dsn(make_conninfo(**parameters))  # its libpq may be an older one
    except (ProgrammingError, psycopg2.ProgrammingError) as error:
        unknown = _UNKNOWN_KEYWORD.search(str(error))
        what = f"the option {unknown[1]!r}, which libpq does not know" if unknown else UNREADABLE_URL
        raise SettingsError(not_postgres(variable, what)) from None
    ports = parameters.get("port", "").split(",")
    # An '@' in the host is the rest of a password that was not encoded.
    if "@" in parameters.get("host", "") or not all(port.isdecimal() or not port for port in ports):
        raise SettingsError(not_postgres(variable, UNREADABLE_URL))
    parameters |= _several_hosts(query)
    settings, others = parse_options(parameters.pop("options", ""))
    if others:
        parameters["options"] = others
    parameters.pop("client_encoding", None)
    return PostgresUrl(tuple(parameters.items()), tuple(settings.items()))


def sqlalchemy_url(url: PostgresUrl, settings: Mapping[str, str]) -> str:
    """The URL, with the password, of the dialect whose sessions have the URL's settings and `settings`.

    >>> sqlalchemy_url(parsed("postgresql://ann:secret@db/racing", "DATABASE_URL"), {"search_path": "dagster"})
    'postgresql+cleverbetter://ann:secret@db/racing?setting=search_path%3Ddagster'
    """
    query: dict[str, Any] = dict(url.parameters)
    user, password, database = (query.pop(keyword, None) for keyword in ("user", "password", "dbname"))
    session = {**dict(url.settings), **settings}
    if session:
        query[SETTING] = [f"{name}={value}" for name, value in session.items()]
    # SQLAlchemy hides a password only in its place, which is behind a user.
    user = "" if user is None and password is not None else user
    host, port = query.get("host"), query.get("port", "")
    if host and _ONE_HOST.fullmatch(host) and "," not in port:  # where people look for it
        del query["host"]
        port = query.pop("port", "")
    else:
        host, port = None, ""
    made = URL.create(DRIVER, user, password, host, int(port) if port else None, database, query)
    return made.render_as_string(hide_password=False)


def libpq_parameters(url: URL) -> tuple[dict[str, str], dict[str, str]]:
    """libpq's keywords and values in a URL that `sqlalchemy_url` made, and the settings of its sessions."""
    query = {key: values if isinstance(values, str) else values[-1] for key, values in url.query.items()}
    query.pop(SETTING, None)
    given = {"user": url.username, "password": url.password, "dbname": url.database, "host": url.host}
    given["port"] = str(url.port or "")
    listed = url.query.get(SETTING, ())
    named = (text.partition("=") for text in ([listed] if isinstance(listed, str) else listed))
    parameters = {**query, **{key: value for key, value in given.items() if value}}
    return parameters, {name: value for name, _, value in named}


def where(url: PostgresUrl) -> str:
    """The address for people: user, host, port and database, no password.

    >>> where(parsed("postgresql://ann:secret@db/racing", "DATABASE_URL"))
    'ann@db:5432/racing'
    >>> where(parsed("service=racing", "DATABASE_URL"))
    'service racing'
    """
    if url.get("service"):
        return f"service {url.get('service')}"
    host = url.get("host") or url.get("hostaddr") or "local socket"
    user = f"{url.get('user')}@" if url.get("user") else ""
    return f"{user}{host}:{url.get('port') or 5432}/{url.get('dbname')}"


def without_password(text: str, url: PostgresUrl) -> str:
    """`text` without the password, if it contains that."""
    for password in (url.get("password"), quote(url.get("password"))):
        text = text.replace(password, "***") if password else text
    return text


def _several_hosts(query: str) -> dict[str, str]:
    """Hosts as SQLAlchemy lists them, `host=db1:5432&host=db2:5433`; libpq would read the last one only.

    >>> _several_hosts("host=db1:5432&host=db2:5433")
    {'host': 'db1,db2', 'port': '5432,5433'}
    """
    hosts = [host.rpartition(":") if ":" in host else (host, "", "") for host in parse_qs(query).get("host", [])]
    if len(hosts) < 2:
        return {}
    names = ",".join(host for host, _, _ in hosts)
    ports = ",".join(port for _, _, port in hosts)
    return {"host": names, "port": ports} if ports.strip(",") else {"host": names}
