"""A run's lease is held as long as its process lives, and taken again after the database was away."""

import threading
from contextlib import closing

import pytest

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.workers import leases
from cleverbetter_dagster.store.workers.leases import held_lease, is_held

CUT = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.02)


def test_a_lease_is_held_until_its_block_ends(database: Settings) -> None:
    assert not is_held(database, "run")
    with held_lease(database, "run", lambda: None):
        assert is_held(database, "run")
        assert not is_held(database, "another run")
    assert not is_held(database, "run")


def test_a_lease_is_free_when_its_connection_ends(database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOOK_SECONDS", 60.0)
    with (
        held_lease(database, "run", lambda: None),
        closing(psycopg_connect(database, "state", autocommit=True)) as other,
    ):
        other.execute(CUT)
        assert not is_held(database, "run")


def test_a_lost_lease_is_taken_again(database: Settings) -> None:
    looked = threading.Semaphore(0)
    with (
        held_lease(database, "run", looked.release),
        closing(psycopg_connect(database, "state", autocommit=True)) as other,
    ):
        assert looked.acquire(timeout=30)
        other.execute(CUT)
        while looked.acquire(blocking=False):
            pass
        assert looked.acquire(timeout=30) and looked.acquire(timeout=30)
        assert is_held(database, "run")
