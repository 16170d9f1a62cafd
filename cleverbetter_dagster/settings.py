"""The one reader of the environment and of the settings file. Nothing here opens a connection or writes a file."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from cleverbetter_dagster import setting_types as kinds
from cleverbetter_dagster.cron import Cron
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.setting_types import DEFAULT
from cleverbetter_dagster.settings_file import find_settings_file, read_settings_file

REPOSITORY = Path(__file__).resolve().parent.parent
STATE_FOLDER = ".cleverbetter"

PREFIX = "CLEVERBETTER_"
UP_TOKEN = f"{PREFIX}UP"
"""Not a setting: marks the processes that `cleverbetter up` started, so that `cleverbetter down` finds them."""

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

    A field is read from the variable CLEVERBETTER_ and its name in capitals, or from its alias; else from the settings
    file of the home, by its name. `repr` has no secrets.
    """

    # Without the prefix, `home` would be read from HOME.
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_prefix=PREFIX, env_ignore_empty=True
    )

    home: kinds.Folder = Field(
        default_factory=default_home,
        validation_alias="DAGSTER_HOME",
        description="Folder of `dagster.yaml` and of all state (`.cleverbetter/`)",
        json_schema_extra={DEFAULT: "this folder; for an installed wheel `~/.local/share/cleverbetter`"},
    )
    database_url: kinds.SecretUrl = Field(
        None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL with the rows, and with everything else in separate schemas",
        json_schema_extra={DEFAULT: "embedded PostgreSQL"},
    )
    dagster_database_url: kinds.SecretUrl = Field(
        None,
        validation_alias="DAGSTER_DATABASE_URL",
        description="Another database for Dagster's own storage",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    optuna_database_url: kinds.SecretUrl = Field(
        None,
        validation_alias="OPTUNA_DATABASE_URL",
        description="Another database for Optuna's studies",
        json_schema_extra={DEFAULT: "`DATABASE_URL`"},
    )
    state_database_url: kinds.SecretUrl = Field(
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
    storage_url: kinds.StorageUrl | None = Field(
        None,
        description="Where several machines keep artefacts, models and the logs of runs: a shared folder, `s3://...`, "
        "`gs://...` or `abfss://...`",
        json_schema_extra={DEFAULT: "this machine, `.cleverbetter`"},
    )
    workers_url: kinds.RedisUrl | None = Field(
        None,
        description="Redis by which runs reach every `cleverbetter worker`: `redis://host:6379/0`",
        json_schema_extra={DEFAULT: "none: runs are processes of this machine"},
    )
    alert_webhook: kinds.SecretUrl = Field(
        None,
        description="URL that receives promotion decisions, failed checks and stale champions as Slack-compatible JSON",
        json_schema_extra={DEFAULT: "none: alerts are in the UI and the log"},
    )
    alert_urls: kinds.AlertUrls = Field(
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
    results_table: kinds.TableName = Field("backtest_results", description="Backtests: `table` or `schema.table`")
    features_table: kinds.TableName = Field("ml_features", description="Market features: `table` or `schema.table`")
    strategies_table: kinds.TableName = Field(
        "strategies", description="Table of strategies' names, which may be missing"
    )
    left_out_methods: kinds.Names = Field(
        ("ml_estimate",),
        description="Methods, separated by commas, whose rows are no backtests and are left out; `none`: all are read",
        json_schema_extra={DEFAULT: "`ml_estimate`"},
    )
    dropped_history: Literal["keep", "forget"] = Field(
        "keep",
        description="Loaded rows that vanish from the old end of the table, as by a retention policy: `keep` them, or "
        "`forget` them like other deleted rows",
    )
    categorical_features: kinds.CategoryNames = Field(
        (),
        description="Market features that are categories, separated by commas, such as `country,track`",
        json_schema_extra={DEFAULT: "none: texts among the features are left out"},
    )
    first_month: kinds.Month = Field("2015-01", description="First monthly partition")
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Threads that one training may use",
        json_schema_extra={DEFAULT: "number of cores"},
    )
    dagster_port: kinds.Port = Field(3000, description="Port of Dagster's UI under `cleverbetter up`")
    mlflow_port: kinds.Port = Field(5000, description="Port of MLflow's UI under `cleverbetter up`")
    api_port: kinds.Port = Field(8000, description="Port of the REST API")
    api_token: kinds.ApiToken | None = Field(
        None,
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
    dagster_link: kinds.WebLink = kinds.web_link("Dagster")
    mlflow_link: kinds.WebLink = kinds.web_link("MLflow")
    automation: bool | None = Field(
        None,
        description="Whether schedules and sensors are switched on",
        json_schema_extra={DEFAULT: "on under `cleverbetter up`, otherwise off"},
    )
    timezone: kinds.TimeZone = Field("UTC", description="IANA time zone of the schedules")
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the parameters are pydantic-settings' own
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the settings file."""
        home = init_settings().get(variable_of("home"))
        in_file = file_settings(Path(home) if home else default_home())
        return init_settings, env_settings, InitSettingsSource(settings_cls, in_file)

    @property
    def state_folder(self) -> Path:
        """Folder of everything stored on this machine: embedded database, artefacts, logs."""
        return self.home / STATE_FOLDER

    @cached_property
    def artefacts_base(self) -> str:
        """Base of the Parquet and JSON artefacts: any fsspec URL."""
        return self.artefacts_url or f"{self.storage_url or self.state_folder}/artefacts"

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
        SettingsError: one cannot be used. The message names it, and shows its value unless it may be a secret.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [_message(dict(one)) for one in error.errors(include_url=False)]
        raise SettingsError("Cannot use the settings:\n  " + "\n  ".join(lines)) from None
    for field in DATABASE_URLS:
        if secret := getattr(settings, field):
            kinds.check_postgres_url(secret.get_secret_value(), _place_of(field))
    return settings


def variable_of(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return str(Settings.model_fields[field].validation_alias or f"{PREFIX}{field.upper()}")


def set_in_environment(field: str) -> bool:
    """Whether a variable of the environment sets a field; one that is blank does not."""
    names = {variable_of(field).lower(), f"{PREFIX}{field}".lower()}
    return any(value and name.lower() in names for name, value in os.environ.items())


def file_settings(home: Path) -> dict[str, Any]:
    """What the settings file of a home says, by field; empty without a file.

    Raises:
        SettingsError: it cannot be used.
    """
    fields = Settings.model_fields
    secrets = [name for name in fields if may_hold_a_secret(name)]
    flags = [name for name, field in fields.items() if bool in get_args(field.annotation)]
    path = find_settings_file(home)
    return read_settings_file(path, fields, secrets, flags) if path else {}


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
    return f"{_place_of(field)} ({Settings.model_fields[field].description}): {error['msg']}{value}"


def _place_of(field: str) -> str:
    """Where the value of a field stands: its variable, or its name and the settings file."""
    path = None if set_in_environment(field) else find_settings_file(default_home())
    return f"{field} in {path}" if path and field in file_settings(default_home()) else variable_of(field)
