"""A worker that cannot share what it makes does not start; and without workers nothing of theirs is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from cleverbetter_dagster.cli.output import exit_code
from cleverbetter_dagster.cli.servers.worker import require_cluster
from cleverbetter_dagster.errors import SettingsError, WorkersUnavailable
from cleverbetter_dagster.settings import Settings, load_settings

EXTRAS = ("celery", "dagster_celery", "kombu", "redis", "kubernetes", "dagster_k8s", "boto3", "s3fs", "gcsfs", "adlfs")
IMPORT = """
import sys
for name in {extras}:
    sys.modules[name] = None  # importing it fails
import cleverbetter_dagster.definitions
import cleverbetter_dagster.cli.main
import cleverbetter_dagster.cli.models.backfill
import cleverbetter_dagster.store.dagster_launcher
import cleverbetter_dagster.store.workers.queue
"""


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "CLEVERBETTER_WORKERS_URL and DATABASE_URL and CLEVERBETTER_STORAGE_URL"),
        ({"CLEVERBETTER_WORKERS_URL": "redis://127.0.0.1:1", "DATABASE_URL": "postgresql://h/d"}, "STORAGE_URL"),
    ],
)
def test_a_worker_names_the_settings_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str], missing: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=missing):
        require_cluster(load_settings())


def test_a_worker_without_redis_ends_with_exit_code_5(
    environment: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLEVERBETTER_WORKERS_URL", "redis://:word@127.0.0.1:1/0")
    monkeypatch.setenv("CLEVERBETTER_STORAGE_URL", str(tmp_path))
    with pytest.raises(WorkersUnavailable, match="does not answer") as caught:
        require_cluster(load_settings())
    assert exit_code(caught.value) == 5 and "word" not in str(caught.value)


def test_everything_is_imported_without_the_extras(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORT.format(extras=EXTRAS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
