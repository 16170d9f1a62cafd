"""Types of settings: what a value must look like. Says of a wrong secret what is wrong, and shows no part of it."""

import re
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from cleverbetter_dagster.errors import SettingsError

UNREADABLE_URL = "what cannot be read as a URL"
MOST_ALERT_URLS = 20

DEFAULT = "shown_default"
"""Key of the text that the table of settings shows as the default, where that is no fixed value."""

Port = Annotated[int, Field(ge=1, le=65535)]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
TableName = Annotated[str, Field(pattern=r"^[^.\x00]{1,63}(\.[^.\x00]{1,63})?$")]
"""A table, or a schema and a table, as PostgreSQL can hold them."""


def _absolute(folder: Path) -> Path:
    return folder.expanduser().resolve()


Folder = Annotated[Path, AfterValidator(_absolute)]


def _blank_is_unset(url: str | None) -> str | None:
    return url or None


SecretUrl = Annotated[SecretStr | None, BeforeValidator(_blank_is_unset)]


def _fits_a_header(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("no header can carry it; write ASCII letters, digits and signs, no blank at an end")
    return token


ApiToken = Annotated[SecretStr, Field(min_length=16), AfterValidator(_fits_a_header)]


def _split_at_commas(names: object) -> object:
    parts = names.split(",") if isinstance(names, str) else names
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return names
    return tuple(sorted({*map(str.strip, parts)} - {"", "none"}))


CategoryName = Annotated[str, Field(pattern=r"^[^=\x00]+$")]  # `=` comes before the category in names of features
CategoryNames = Annotated[tuple[CategoryName, ...], NoDecode, BeforeValidator(_split_at_commas)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
"""Names separated by commas, or a list of them; each once, sorted."""


def _known_zone(zone: str) -> str:
    if zone not in available_timezones():
        raise ValueError("no such time zone; write one of the IANA names, such as Australia/Sydney")
    return zone


TimeZone = Annotated[str, AfterValidator(_known_zone)]


WebLink = Annotated[
    str | None,
    Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+(/\S*)?|/([^\s/]\S*)?)$", max_length=500),
]
"""A URL without user and password, or a path below the host of the page that links to it."""


def web_link(name: str) -> Any:
    """The field of the address at which browsers find a server."""
    return Field(
        None,
        description=f"Where browsers find {name}'s UI, such as a URL or a path behind a proxy; pages link to it",
        json_schema_extra={DEFAULT: f"the page's own host, `CLEVERBETTER_{name.upper()}_PORT`"},
    )


def _split_at_blanks(urls: object) -> object:
    return tuple(urls.split()) if isinstance(urls, str) else urls


def _have_schemes(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for number, url in enumerate(urls, 1):
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", url.get_secret_value()):
            raise ValueError(
                f"number {number} of {len(urls)} is no URL of Apprise, such as mailto://..., tgram://... or "
                "slack://...; write a blank between two URLs, and %20 for a blank inside one"
            )
    return tuple(dict.fromkeys(urls))


AlertUrls = Annotated[
    tuple[SecretStr, ...],
    NoDecode,
    BeforeValidator(_split_at_blanks),
    AfterValidator(_have_schemes),
    Field(max_length=MOST_ALERT_URLS),
]
"""URLs separated by blanks, or a list of them; each once."""


def _storage(url: str) -> str:
    if not re.match(r"(file://)?/[^/]|(s3|gs)://[^/:@?#]+(/|$)|abfss://[^/:@?#]+@[^/:@?#]+(/|$)", url):
        raise ValueError(
            "write a folder that begins with /, s3://bucket/prefix, gs://bucket/prefix or "
            "abfss://container@account.dfs.core.windows.net/prefix; credentials come from the variables of the cloud"
        )
    if {"..", "."} & set(url.split("/")) or re.search(r"[?#\x00\\]", url):
        raise ValueError("it holds . or .. as a folder, or one of ? # \\; write the place itself")
    return url.rstrip("/")


StorageUrl = Annotated[str, AfterValidator(_storage)]
"""A folder or a place in a bucket that Dagster's runs, MLflow and fsspec can all use; without a login."""


def _redis(url: SecretStr) -> SecretStr:
    if not re.match(r"rediss?://\S+$", url.get_secret_value()):
        raise ValueError("write the URL of a Redis: redis://host:6379/0, or rediss://:password@host:6379/0 with TLS")
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]


def not_postgres(variable: str, value: str) -> str:
    """Error message for a variable that holds something else than a PostgreSQL URL; `value` describes it."""
    return (
        f"{variable} holds {value}. A PostgreSQL URL is needed: "
        "postgresql://user:password@host:5432/database, special characters of the password percent-encoded."
    )


def check_postgres_url(text: str, variable: str) -> None:
    """Refuse what is clearly no PostgreSQL URL, and show no part of it; its rest is checked when it is used.

    Raises:
        SettingsError: it names the variable.
    """
    if re.match(r"\s*[a-z_]+\s*=|postgres(ql)?(\+\w+)?://", text):  # libpq's keywords and values, or a URL
        return
    match = re.match(r"([A-Za-z0-9]+)(\+\w+)?://", text)
    raise SettingsError(not_postgres(variable, f"a URL of {match[1]!r}" if match else UNREADABLE_URL))
