"""The one reader of the environment. Nothing here opens a connection or writes a file."""

import os
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cleverbetter_dagster.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parent.parent
STATE_FOLDER = ".cleverbetter"


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
    """Every setting, its environment variable (the alias), default and meaning."""

    # The prefix is for the fields' own names, which are looked up beside the aliases: `home` must not mean HOME.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_prefix="CLEVERBETTER_")

    home: Path = Field(default_factory=default_home, validation_alias="DAGSTER_HOME")
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    dagster_database_url: SecretStr | None = Field(None, validation_alias="DAGSTER_DATABASE_URL")
    optuna_database_url: SecretStr | None = Field(None, validation_alias="OPTUNA_DATABASE_URL")
    state_database_url: SecretStr | None = Field(None, validation_alias="CLEVERBETTER_STATE_DATABASE_URL")
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    mlflow_experiment_name: str = Field("clever-better", validation_alias="MLFLOW_EXPERIMENT_NAME")
    artefacts_url: str | None = Field(None, validation_alias="CLEVERBETTER_ARTEFACTS_URL")
    alert_webhook: SecretStr | None = Field(None, validation_alias="CLEVERBETTER_ALERT_WEBHOOK")
    results_table: str = Field("backtest_results", validation_alias="CLEVERBETTER_RESULTS_TABLE")
    features_table: str = Field("ml_features", validation_alias="CLEVERBETTER_FEATURES_TABLE")
    first_month: str = Field("2015-01", validation_alias="CLEVERBETTER_FIRST_MONTH", pattern=r"^\d{4}-(0[1-9]|1[0-2])$")
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, validation_alias="CLEVERBETTER_THREADS")
    dagster_port: int = Field(3000, ge=1, le=65535, validation_alias="CLEVERBETTER_DAGSTER_PORT")
    mlflow_port: int = Field(5000, ge=1, le=65535, validation_alias="CLEVERBETTER_MLFLOW_PORT")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator(
        "database_url",
        "dagster_database_url",
        "optuna_database_url",
        "state_database_url",
        "alert_webhook",
        mode="before",
    )
    @classmethod
    def _blank_is_unset(cls, url: str | None) -> str | None:
        return url or None

    @property
    def state_folder(self) -> Path:
        """Where everything this machine keeps lives: embedded database, artefacts, logs."""
        return self.home / STATE_FOLDER

    @cached_property
    def artefacts_base(self) -> str:
        """Base of the Parquet and JSON artefacts: any fsspec URL."""
        return self.artefacts_url or str(self.state_folder / "artefacts")

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e.get('input')!r})" for e in error.errors()]
        raise SettingsError("Cannot use the environment:\n  " + "\n  ".join(lines)) from None
