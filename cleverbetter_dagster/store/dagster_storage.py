"""What `dagster.yaml` names: Dagster's storage in the one database, its files under the state folder.

Dagster builds these by name in every process it starts, and each asks the settings for its place, so that
`dagster dev`, a daemon, a run worker and a command all meet the same state. Paths written in `dagster.yaml` could
not do that: Dagster resolves them against whatever folder the process happens to be in.
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster._config import UserConfigSchema
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.postgres.database import database_url
from cleverbetter_dagster.store.postgres.kept_connections import keeping_connections
from cleverbetter_dagster.store.shared_logs import SharedComputeLogManager


class OneDatabaseStorage(DagsterPostgresStorage):
    """Runs, events and schedules in the schema `dagster` of the one database, started when needed.

    The URL is no part of the configuration: Dagster passes that on in argument lists, which everybody can read.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        url = keeping_connections(database_url(load_settings(), "dagster"))
        return cls(url, inst_data=inst_data, **config_value)


class StateArtifactStorage(LocalArtifactStorage):
    """What Dagster itself keeps as files, under the state folder."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(str(load_settings().state_folder / "dagster"), inst_data=inst_data, **config_value)


class StateComputeLogManager(LocalComputeLogManager):
    """What runs print: under the state folder, or in the storage that several machines share."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # of either kind
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ComputeLogManager[Any]:
        settings = load_settings()
        local = cls(str(settings.state_folder / "dagster" / "compute_logs"), inst_data=inst_data, **config_value)
        return SharedComputeLogManager(settings.storage_url, local) if settings.storage_url else local
