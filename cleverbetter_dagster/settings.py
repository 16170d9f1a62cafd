"""The one reader of the environment. Nothing here opens a connection or writes a file."""

import os
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cleverbetter_dagster.cron import Cron
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.setting_types import AlertUrls, CategoryName, Month, Port, TableName, check_postgres_url

REPOSITORY = Path(__file__).resolve().parent.parent
STATE_FOLDER = ".cleverbetter"

PREFIX = "CLEVERBETTER_"
UP_TOKEN = f"{PREFIX}UP"
"""Not a setting: marks the processes that `cleverbetter up` started, so that `cleverbetter down` finds them."""

DEFAULT = "shown_default"
"""Key of the text that the table of settings shows as the default, where that is no fixed value."""

DATABASE_URLS = ("database_url", "dagster_database_url", "optuna_database_url", "state_database_url")
"""Fields that hold the URL of a database."""


def default_home() -> Path:
    """The folder that holds `dagster.yaml` and all state, whatever the current folder is.

    `DAGSTER_HOME`; else the checkout this package runs from; for an installed wheel `$XDG_DATA_HOME/cleverbetter`.
    """
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home).expanduser().resolve()
    if (REPOSITORY / "dagster.yaml").is_file() and (REPOSITORY / "pyproject.toml").is_file():
        return REPOSITORY
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "cleverbetter"


class Settings(BaseSettings):
    """Every setting, with its default and meaning.

    A field is read from the variable CLEVERBETTER_ and its name in capitals, or from its alias. `repr` has no secrets.
    """

    # Without the prefix, `home` would be read from HOME.
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_prefix=PREFIX, env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=default_home,
        validation_alias="DAGSTER_HOME",
        description="Folder of `dagster.yaml` and of all state (`.cleverbetter/`)",
        json_schema_extra={DEFAULT: "this folder; for an installed wheel `~/.local/share/cleverbetter`"},
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL with the rows, and with everything else in separate schemas",
        json_schema_extra={DEFAULT: "embedded PostgreSQL"},
    )
    dagster_database_url: SecretStr | None = Field(
        None,
        validation_alias="DAGSTER_DATABASE_URL",
        description="Another database for Dagster's own storage",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    optuna_database_url: SecretStr | None = Field(
        None,
        validation_alias="OPTUNA_DATABASE_URL",
        description="Another database for Optuna's studies",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    state_database_url: SecretStr | None = Field(
        None,
        description="Another database for ledger, quarantine and predictions",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="An MLflow tracking server, or another database",
        json_schema_extra={DEFAULT: "the database"},
        repr=False,
    )
    mlflow_experiment_name: str = Field(
        "clever-better", validation_alias="MLFLOW_EXPERIMENT_NAME", description="The MLflow experiment of all runs"
    )
    artefacts_url: str | None = Field(
        None,
        description="Where the assets' Parquet and JSON files are stored: a folder or any fsspec URL",
        json_schema_extra={DEFAULT: "`.cleverbetter/artefacts`"},
        repr=False,
    )
    alert_webhook: SecretStr | None = Field(
        None,
        description="URL that receives promotion decisions, failed checks and stale champions as Slack-compatible JSON",
        json_schema_extra={DEFAULT: "none: alerts are in the UI and the log"},
    )
    alert_urls: AlertUrls = Field(
        (),
        description="URLs of Apprise, separated by blanks, that receive the same by mail, Telegram, Slack, Teams, ...",
        json_schema_extra={DEFAULT: "none"},
    )
    heartbeat_hours: int | None = Field(
        None,
        ge=1,
        le=744,
        description="Tell the alert channels every so many hours that all is well; nothing is sent while it is not",
        json_schema_extra={DEFAULT: "none is sent"},
    )
    results_table: TableName = Field("backtest_results", description="Table of backtests: `table` or `schema.table`")
    features_table: TableName = Field("ml_features", description="Table of market features: `table` or `schema.table`")
    strategies_table: TableName = Field("strategies", description="Table of strategies' names, which may be missing")
    left_out_methods: Annotated[tuple[str, ...], NoDecode] = Field(
        ("ml_estimate",),
        description="Methods, separated by commas, whose rows are no backtests and are left out; `none`: all are read",
        json_schema_extra={DEFAULT: "`ml_estimate`"},
    )
    dropped_history: Literal["keep", "forget"] = Field(
        "keep",
        description="Loaded rows that vanish from the old end of the table, as by a retention policy: `keep` them, or "
        "`forget` them like other deleted rows",
    )
    categorical_features: Annotated[tuple[CategoryName, ...], NoDecode] = Field(
        (),
        description="Market features that are categories, separated by commas, such as `country,track`",
        json_schema_extra={DEFAULT: "none: texts among the features are left out"},
    )
    first_month: Month = Field("2015-01", description="First monthly partition")
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Threads that one training may use",
        json_schema_extra={DEFAULT: "number of cores"},
    )
    dagster_port: Port = Field(3000, description="Port of Dagster's UI under `cleverbetter up`")
    mlflow_port: Port = Field(5000, description="Port of MLflow's UI under `cleverbetter up`")
    api_port: Port = Field(8000, description="Port of the REST API")
    api_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Token that the REST API, Dagster's UI and MLflow's UI under `cleverbetter up` demand",
        json_schema_extra={DEFAULT: "none: they serve this machine alone"},
    )
    api_max_queued: int = Field(
        20, ge=1, description="With this many training jobs waiting, the REST API refuses further ones"
    )
    dagster_url: str | None = Field(
        None,
        description="Where the REST API finds Dagster's web UI",
        json_schema_extra={DEFAULT: "this machine, `CLEVERBETTER_DAGSTER_PORT`"},
        pattern=r"^https?://[^/@]+$",
    )
    automation: bool | None = Field(
        None,
        description="Whether schedules and sensors are switched on",
        json_schema_extra={DEFAULT: "on under `cleverbetter up`, otherwise off"},
    )
    timezone: str = Field("UTC", description="IANA time zone of the schedules")
    weekly_update_cron: Cron = Field("0 5 * * 1", description="When models are updated with new rows")
    monthly_training_cron: Cron = Field(
        "0 2 2 * *", description="When models are tuned and trained from scratch as of the month just closed"
    )
    daily_predictions_cron: Cron = Field("0 7 * * *", description="When predictions are renewed")
    poll_seconds: int = Field(30, ge=1, description="Look for new rows every so many seconds")
    min_new_rows: int = Field(100, ge=1, description="Retrain at once when this many new rows arrived")
    longest_wait_minutes: float = Field(
        30, ge=0, description="Retrain after this many minutes even if fewer than `CLEVERBETTER_MIN_NEW_ROWS` arrived"
    )
    reconcile_minutes: float = Field(
        60, ge=0, description="Every so many minutes compare all months, which also finds deleted and old rows"
    )
    recent_days: int = Field(
        7, ge=1, description="Between full comparisons, look only at rows with a `created_at` of the last so many days"
    )
    months_back: int = Field(
        0, ge=0, description="Retrain only for changes in the newest month and so many before it; 0 means all months"
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator(*DATABASE_URLS, "alert_webhook", mode="before")
    @classmethod
    def _blank_is_unset(cls, url: str | None) -> str | None:
        return url or None

    @field_validator("api_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token is not None else ""
        if not text.isascii() or not text.isprintable() or text != text.strip():
            raise ValueError("no header can carry it; write ASCII letters, digits and signs, no blank at an end")
        return token

    @field_validator("categorical_features", "left_out_methods", mode="before")
    @classmethod
    def _split_at_commas(cls, names: object) -> object:
        return tuple(sorted({*map(str.strip, names.split(","))} - {"", "none"})) if isinstance(names, str) else names

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("no such time zone; write one of the IANA names, such as Australia/Sydney")
        return zone

    @property
    def state_folder(self) -> Path:
        """Folder of everything stored on this machine: embedded database, artefacts, logs."""
        return self.home / STATE_FOLDER

    @cached_property
    def artefacts_base(self) -> str:
        """Base of the Parquet and JSON artefacts: any fsspec URL."""
        return self.artefacts_url or str(self.state_folder / "artefacts")

    @property
    def dagster_address(self) -> str:
        """Address of the Dagster web server that launches runs."""
        return self.dagster_url or f"http://127.0.0.1:{self.dagster_port}"

    @property
    def token_header(self) -> dict[str, str]:
        """The header by which our servers let in what has the token; empty where none is set."""
        return {"Authorization": f"Bearer {self.api_token.get_secret_value()}"} if self.api_token else {}

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable cannot be used. The message names it, and shows its value unless it may be a secret.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [_message(dict(one)) for one in error.errors(include_url=False)]
        raise SettingsError("Cannot use the environment:\n  " + "\n  ".join(lines)) from None
    for field in DATABASE_URLS:
        if secret := getattr(settings, field):
            check_postgres_url(secret.get_secret_value(), variable_of(field))
    return settings


def variable_of(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return str(Settings.model_fields[field].validation_alias or f"{PREFIX}{field.upper()}")


def unread_variables() -> dict[str, str | None]:
    """Variables of the environment that start like ours but are not read, each with the variable probably meant."""
    ours = {variable_of(field).removeprefix(PREFIX): variable_of(field) for field in Settings.model_fields}
    known = {*ours.values(), *(f"{PREFIX}{field.upper()}" for field in Settings.model_fields), UP_TOKEN}
    unread = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    similar = {name: get_close_matches(name.upper().removeprefix(PREFIX), ours, n=1) for name in unread}
    return {name: ours[match[0]] if match else None for name, match in similar.items()}


def may_hold_a_secret(field: str) -> bool:
    """Whether the value of a field is never shown.

    >>> may_hold_a_secret("database_url"), may_hold_a_secret("mlflow_tracking_uri"), may_hold_a_secret("threads")
    (True, True, False)
    """
    info = Settings.model_fields[field]
    return not info.repr or "Secret" in str(info.annotation)


def _message(error: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    field = next((field for field in Settings.model_fields if name in (field, variable_of(field))), None)
    if field is None:
        return f"{name}: {error['msg']}"
    value = "" if may_hold_a_secret(field) else f" (the value is {error.get('input')!r})"
    return f"{variable_of(field)} ({Settings.model_fields[field].description}): {error['msg']}{value}"
