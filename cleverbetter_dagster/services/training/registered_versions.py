"""What a Dagster run left in MLflow: the version it registered, and the metrics of that version."""

from dataclasses import dataclass

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.registry import Registry

DAGSTER_RUN_TAG = "dagster.run_id"
BETTING_PREFIX = "betting_"
HEADLINE = ("accuracy", "roc_auc", "sharpe_ratio")


@dataclass(frozen=True)
class RecordedVersion:
    """A registered version and its metrics on the test rows; those of staking by it go without their prefix."""

    version: int
    metrics: dict[str, float]


def recorded_by_run(settings: Settings, family: str, dagster_run_id: str) -> RecordedVersion | None:
    """The newest version of `family` that a Dagster run registered; None if there is none (any more)."""
    registered = Registry(settings).list_versions(family)
    versions = [version for version in registered if version.tags.get(DAGSTER_RUN_TAG) == dagster_run_id]
    if not versions:
        return None
    run = mlflow_client(settings).get_run(versions[-1].run_id)
    metrics = {name.removeprefix(BETTING_PREFIX): float(value) for name, value in sorted(run.data.metrics.items())}
    first = {name: metrics.pop(name) for name in HEADLINE if name in metrics}
    return RecordedVersion(versions[-1].version, first | metrics)
