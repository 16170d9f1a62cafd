"""Types of settings: what a value must look like. Says of a wrong secret what is wrong, and shows no part of it."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from cleverbetter_dagster.errors import SettingsError

UNREADABLE_URL = "what cannot be read as a URL"
MOST_ALERT_URLS = 20

Port = Annotated[int, Field(ge=1, le=65535)]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
TableName = Annotated[str, Field(pattern=r"^[^.\x00]{1,63}(\.[^.\x00]{1,63})?$")]
"""A table, or a schema and a table, as PostgreSQL can hold them."""
CategoryName = Annotated[str, Field(pattern=r"^[^=\x00]+$")]  # `=` comes before the category in names of features


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
