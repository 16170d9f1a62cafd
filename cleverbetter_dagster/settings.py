"""The one reader of the environment. Nothing here opens a connection or writes a file."""

import os
import re
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cleverbetter_dagster.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parent.parent
STATE_FOLDER = ".cleverbetter"

PREFIX = "CLEVERBETTER_"
UP_TOKEN = f"{PREFIX}UP"
"""No setting: by it `cleverbetter up` finds again what it started."""

DEFAULT = "shown_default"
"""What the table of settings says of a default that is no fixed value."""

DATABASE_URLS = ("database_url", "dagster_database_url", "optuna_database_url", "state_database_url")
"""Fields that hold the URL of a database."""

UNREADABLE_URL = "what cannot be read as a URL"

TABLE_NAME = r"^[^.\x00]{1,63}(\.[^.\x00]{1,63})?$"
"""A table, or a schema and a table, as PostgreSQL can hold them."""


def default_home() -> Path:
    """The folder that holds `dagster.yaml` and all state, the same from whichever folder a command is typed.

    `DAGSTER_HOME` where set; otherwise the checkout this package runs from; otherwise, for an installed
    wheel, `$XDG_DATA_HOME/cleverbetter`.
    """
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home).expanduser().resolve()
    if (REPOSITORY / "dagster.yaml").is_file() and (REPOSITORY / "pyproject.toml").is_file():
        return REPOSITORY
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data_home).expanduser() / "cleverbetter"


class Settings(BaseSettings):
    """Every setting, its environment variable (the alias), default and meaning.

    `cleverbetter settings` shows what stands here as a table. What may hold a password is kept out of `repr`.
    """

    # The prefix is for the fields' own names, which are looked up beside the aliases: `home` must not mean HOME.
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_prefix=PREFIX, env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=default_home,
        validation_alias="DAGSTER_HOME",
        description="where `dagster.yaml` and all state (`.cleverbetter/`) are",
        json_schema_extra={DEFAULT: "this folder; for an installed wheel `~/.local/share/cleverbetter`"},
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL with the rows, and everything else in schemas of its own",
        json_schema_extra={DEFAULT: "embedded PostgreSQL"},
    )
    dagster_database_url: SecretStr | None = Field(
        None,
        validation_alias="DAGSTER_DATABASE_URL",
        description="another database for Dagster's own storage",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    optuna_database_url: SecretStr | None = Field(
        None,
        validation_alias="OPTUNA_DATABASE_URL",
        description="another database for the studies",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    state_database_url: SecretStr | None = Field(
        None,
        validation_alias="CLEVERBETTER_STATE_DATABASE_URL",
        description="another database for ledger, quarantine and predictions",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="an MLflow tracking server, or another database",
        json_schema_extra={DEFAULT: "the database"},
        repr=False,
    )
    mlflow_experiment_name: str = Field(
        "clever-better", validation_alias="MLFLOW_EXPERIMENT_NAME", description="the MLflow experiment of all runs"
    )
    artefacts_url: str | None = Field(
        None,
        validation_alias="CLEVERBETTER_ARTEFACTS_URL",
        description="Parquet and JSON of the assets: a folder or any fsspec URL",
        json_schema_extra={DEFAULT: "`.cleverbetter/artefacts`"},
        repr=False,
    )
    alert_webhook: SecretStr | None = Field(
        None,
        validation_alias="CLEVERBETTER_ALERT_WEBHOOK",
        description="told of decisions, failed guards and stale champions (Slack-compatible JSON)",
        json_schema_extra={DEFAULT: "none: alerts are in the UI and the log"},
    )
    results_table: str = Field(
        "backtest_results",
        validation_alias="CLEVERBETTER_RESULTS_TABLE",
        description="the table of backtests, with a schema if need be",
        pattern=TABLE_NAME,
    )
    features_table: str = Field(
        "ml_features",
        validation_alias="CLEVERBETTER_FEATURES_TABLE",
        description="the table of market features, with a schema if need be",
        pattern=TABLE_NAME,
    )
    first_month: str = Field(
        "2015-01",
        validation_alias="CLEVERBETTER_FIRST_MONTH",
        description="first monthly partition",
        pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
    )
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        validation_alias="CLEVERBETTER_THREADS",
        description="threads a fit may use",
        json_schema_extra={DEFAULT: "number of cores"},
    )
    dagster_port: int = Field(
        3000,
        ge=1,
        le=65535,
        validation_alias="CLEVERBETTER_DAGSTER_PORT",
        description="port of Dagster's UI under `cleverbetter up`",
    )
    mlflow_port: int = Field(
        5000,
        ge=1,
        le=65535,
        validation_alias="CLEVERBETTER_MLFLOW_PORT",
        description="port of MLflow's UI under `cleverbetter up`",
    )
    api_port: int = Field(
        8000, ge=1, le=65535, validation_alias="CLEVERBETTER_API_PORT", description="port of the REST API"
    )
    api_token: SecretStr | None = Field(
        None,
        validation_alias="CLEVERBETTER_API_TOKEN",
        min_length=16,
        description="token that writing calls of the REST API take",
        json_schema_extra={DEFAULT: "none: the API serves this machine alone"},
    )
    api_max_queued: int = Field(
        20,
        ge=1,
        validation_alias="CLEVERBETTER_API_MAX_QUEUED",
        description="training jobs that may wait before the REST API refuses more",
    )
    dagster_url: str | None = Field(
        None,
        validation_alias="CLEVERBETTER_DAGSTER_URL",
        description="where Dagster's web UI is, for the REST API",
        json_schema_extra={DEFAULT: "this machine, `CLEVERBETTER_DAGSTER_PORT`"},
        pattern=r"^https?://[^/@]+$",
    )
    automation: bool | None = Field(
        None,
        validation_alias="CLEVERBETTER_AUTOMATION",
        description="whether schedules and sensors run by themselves",
        json_schema_extra={DEFAULT: "on under `cleverbetter up`, otherwise off"},
    )
    timezone: str = Field(
        "UTC", validation_alias="CLEVERBETTER_TIMEZONE", description="IANA time zone of the schedules"
    )
    weekly_update_cron: str = Field(
        "0 5 * * 1", validation_alias="CLEVERBETTER_WEEKLY_UPDATE_CRON", description="when models take in new rows"
    )
    monthly_training_cron: str = Field(
        "0 2 2 * *",
        validation_alias="CLEVERBETTER_MONTHLY_TRAINING_CRON",
        description="when the month just closed is trained on in full, with tuning",
    )
    daily_predictions_cron: str = Field(
        "0 7 * * *", validation_alias="CLEVERBETTER_DAILY_PREDICTIONS_CRON", description="when predictions are renewed"
    )
    poll_seconds: int = Field(
        30, ge=1, validation_alias="CLEVERBETTER_POLL_SECONDS", description="seconds between two looks for new rows"
    )
    min_new_rows: int = Field(
        100,
        ge=1,
        validation_alias="CLEVERBETTER_MIN_NEW_ROWS",
        description="new rows after which models are updated at once",
    )
    longest_wait_minutes: float = Field(
        30,
        ge=0,
        validation_alias="CLEVERBETTER_LONGEST_WAIT_MINUTES",
        description="minutes after which fewer new rows are enough",
    )
    reconcile_minutes: float = Field(
        60,
        ge=0,
        validation_alias="CLEVERBETTER_RECONCILE_MINUTES",
        description="minutes between two full comparisons, which notice deletes and old imports as well",
    )
    recent_days: int = Field(
        7,
        ge=1,
        validation_alias="CLEVERBETTER_RECENT_DAYS",
        description="days of `created_at` that a routine look reads",
    )
    months_back: int = Field(
        0,
        ge=0,
        validation_alias="CLEVERBETTER_MONTHS_BACK",
        description="months before the newest in which a change leads to an update; 0 is all",
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator(*DATABASE_URLS, "alert_webhook", mode="before")
    @classmethod
    def _blank_is_unset(cls, url: str | None) -> str | None:
        return url or None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("no such time zone; write one of the IANA names, such as Australia/Sydney")
        return zone

    @property
    def state_folder(self) -> Path:
        """Where everything this machine keeps lives: embedded database, artefacts, logs."""
        return self.home / STATE_FOLDER

    @cached_property
    def artefacts_base(self) -> str:
        """Base of the Parquet and JSON artefacts: any fsspec URL."""
        return self.artefacts_url or str(self.state_folder / "artefacts")

    @property
    def dagster_address(self) -> str:
        """Where Dagster's web server is asked to launch runs."""
        return self.dagster_url or f"http://127.0.0.1:{self.dagster_port}"

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable cannot be used; the message names it, and shows its value where that can be no secret.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [_told(dict(found)) for found in error.errors(include_url=False)]
        raise SettingsError("Cannot use the environment:\n  " + "\n  ".join(lines)) from None
    for field in DATABASE_URLS:
        secret: SecretStr | None = getattr(settings, field)
        if secret is not None:
            check_postgres_url(secret.get_secret_value(), variable_of(field))
    return settings


def check_postgres_url(text: str, variable: str) -> None:
    """Refuse what is no PostgreSQL URL at a glance; whether it can be read to its end is seen when it is used.

    Raises:
        SettingsError: the message names `variable` and shows no part of a password.
    """
    match = re.match(r"([A-Za-z0-9]+)(\+\w+)?://", text)
    if match is None or match[1] not in ("postgresql", "postgres"):
        raise SettingsError(not_postgres(variable, f"a URL of {match[1]!r}" if match else UNREADABLE_URL))


def not_postgres(variable: str, found: str) -> str:
    """The message for a variable that holds something else than a PostgreSQL URL."""
    return (
        f"{variable} holds {found}. A PostgreSQL URL is needed: "
        "postgresql://user:password@host:5432/database, special characters of the password percent-encoded."
    )


def variable_of(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return str(Settings.model_fields[field].validation_alias)


def unread_variables() -> dict[str, str | None]:
    """Variables of the environment that look like ours but are not, each with the one that was probably meant."""
    fields = Settings.model_fields
    known = {variable_of(field) for field in fields} | {f"{PREFIX}{field.upper()}" for field in fields} | {UP_TOKEN}
    unread = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    ours = {variable_of(field).removeprefix(PREFIX): variable_of(field) for field in fields}
    meant = {name: get_close_matches(name.upper().removeprefix(PREFIX), ours, n=1) for name in unread}
    return {name: ours[found[0]] if found else None for name, found in meant.items()}


def may_hold_a_secret(field: str) -> bool:
    """Whether the value of a field is never to be shown.

    >>> may_hold_a_secret("database_url"), may_hold_a_secret("mlflow_tracking_uri"), may_hold_a_secret("threads")
    (True, True, False)
    """
    found = Settings.model_fields[field]
    return not found.repr or "Secret" in str(found.annotation)


def _told(error: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    field = next((field for field in Settings.model_fields if name in (field, variable_of(field))), None)
    got = "" if field is None or may_hold_a_secret(field) else f" (got {error.get('input')!r})"
    meaning = f" ({Settings.model_fields[field].description})" if field else ""
    return f"{variable_of(field) if field else name}{meaning}: {error['msg']}{got}"
