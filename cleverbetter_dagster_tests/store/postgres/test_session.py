"""Defaults of a role, a database or a server change no value, no schema and no right of our connections."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from cleverbetter_dagster.services.ingest.change_detection import all_changes
from cleverbetter_dagster.services.ingest.loading import load_history, load_months, utc_now
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.quarantine import Filter, open_quarantine, select_entries
from cleverbetter_dagster.store.source.changes import open_snapshot
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.load_log import read_load_log, record_load
from cleverbetter_dagster.store.source.loader import load_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster_tests.support.every_part import PARTS, asked_of_every_part, tables_outside_our_schemas
from cleverbetter_dagster_tests.support.upstream_rows import upstream_features, upstream_results

DEFAULTS = {
    "DateStyle": "German, DMY",
    "TimeZone": "Australia/Lord_Howe",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "array_nulls": "off",
    "lock_timeout": "600ms",
    "statement_timeout": "900ms",
    "idle_in_transaction_session_timeout": "600ms",
    "idle_session_timeout": "600ms",
    "transaction_timeout": "900ms",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "search_path": "pg_temp, nowhere, public",
}
_names = (f"role_{number}" for number in count())


def settings_of(settings: Settings, role: str) -> Settings:
    assert settings.database_url is not None
    url = make_url(settings.database_url.get_secret_value()).set(username=role, password=role)
    text = SecretStr(url.render_as_string(hide_password=False))
    return settings.model_copy(update={"database_url": text, "home": settings.home / role})


@dataclass(frozen=True)
class Two:
    """The same database twice: for a role with odd defaults, and for a plain one that reads what the other made."""

    odd: Settings
    plain: Settings


@pytest.fixture
def roles(database: Settings) -> Iterator[Two]:
    odd, plain = f"odd_{next(_names)}", f"plain_{next(_names)}"
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        version = connection.info.server_version
        for role in (odd, plain):
            named = sql.Identifier(role)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(named, role))
            connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(named))
            here = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(here, named))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(odd), sql.Identifier(plain)))
        for name, value in DEFAULTS.items():
            if name != "transaction_timeout" or version >= 170_000:
                setting = sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(odd),
                    sql.Identifier(name),
                    sql.SQL(value) if name == "search_path" else sql.Literal(value),
                )
                connection.execute(setting)
        yield Two(settings_of(database, odd), settings_of(database, plain))
        for role in (odd, plain):
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def awkward_files(folder: Path) -> tuple[Path, Path]:
    """Rows with digits, zones, blanks and backslashes that a wrong session would change."""
    results = upstream_results(4).assign(
        total_return=[0.1 + 0.2, -1 / 3, 1e-17, 0.0125],
        strategy_id=["s\\1 'x'", "naïve €", "s3", "s3"],
        win_rate=[0.35, 2 / 3, 0.5, 50],
    )
    results = results.drop(columns=["initial_capital", "final_capital"])  # they would contradict the returns
    results["end_date"] += pd.to_timedelta([0, 1, 123_456, 999_999], unit="us")
    results.to_csv(folder / "results.csv", index=False)
    upstream_features(4).to_csv(folder / "features.csv", index=False)
    return folder / "results.csv", folder / "features.csv"


def test_a_roles_defaults_reach_no_connection(roles: Two) -> None:
    wanted = "current_setting('DateStyle'), current_setting('TimeZone'), current_setting('statement_timeout')"
    answers = asked_of_every_part(roles.odd, f"SELECT concat_ws(' ', {wanted})")
    assert answers == dict.fromkeys(PARTS, "ISO, MDY UTC 0")
    assert tables_outside_our_schemas(roles.odd) == []


def test_rows_are_equal_to_the_bit_whatever_a_roles_defaults(roles: Two, tmp_path: Path) -> None:
    report = import_files(roles.odd, *awkward_files(tmp_path))
    assert [file.inserted for file in report.files] == [3, 4]
    months = ["2023-01", "2023-02", "2023-03", "2023-04"]
    loads = load_months(roles.odd, months, catch_up=True)
    record_load(roles.odd, loads.log, "a run", "2023-04")
    plain = load_months(roles.plain, months, catch_up=True)
    for month in months:
        assert loads.months[month].table.equals(plain.months[month].table)
        assert loads.log[month].digest == plain.log[month].digest == read_load_log(roles.odd)[month].digest
    assert loads.months["2023-01"].table["roi"].to_pylist() == [0.30000000000000004]
    assert loads.months["2023-02"].table["strategy_id"].to_pylist() == ["naïve €"]
    # The artefact store is empty, so every month counts as changed, in both.
    assert all_changes(roles.odd).changed == all_changes(roles.plain).changed
    assert load_history(roles.odd).equals(load_history(roles.plain))
    with open_quarantine(roles.odd) as connection:
        entries = select_entries(connection, Filter())
    assert [(entry.row_id, entry.value, entry.line) for entry in entries] == [("r4", "50", 5)]


def test_a_snapshot_outlives_the_timeouts_of_its_role(roles: Two, tmp_path: Path) -> None:
    import_files(roles.odd, *awkward_files(tmp_path))
    layout = resolve_source(roles.odd)
    with open_snapshot(roles.odd, layout) as snapshot:
        time.sleep(1.0)  # every timeout of the role has passed
        rows, _ = load_rows(snapshot.session, RowQuery(layout), utc_now())[:2]
        assert len(snapshot.digests()) == 3
    assert rows.num_rows == 3


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def encoded(request: pytest.FixtureRequest, postgres: ServerAddress, tmp_path: Path) -> Iterator[Settings]:
    """A database in another encoding than UTF8."""
    name = f"cleverbetter_test_{next(_names)}"
    with postgres.connect() as connection:
        create = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'"
        if connection.info.server_version >= 150_000:  # before, there was no other provider
            create += " LOCALE_PROVIDER libc"
        connection.execute(sql.SQL(create).format(sql.Identifier(name), sql.Literal(request.param)))
    url = make_url(postgres.url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    yield Settings(home=tmp_path, database_url=SecretStr(url))
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_text_that_the_databases_encoding_lacks_costs_one_row(encoded: Settings, tmp_path: Path) -> None:
    report = import_files(encoded, *awkward_files(tmp_path)[:1], None)
    with closing(psycopg_connect(encoded, "rows", autocommit=True)) as connection:
        latin1 = connection.info.parameter_status("server_encoding") == "LATIN1"
        assert report.files[0].inserted == (2 if latin1 else 3)
        odd = r"UPDATE backtest_results SET method = convert_from('\xe9'::bytea, 'LATIN1') WHERE id = 'r1'"
        if not latin1:  # what a client of another encoding left there
            odd = r"UPDATE backtest_results SET method = E'\351' WHERE id = 'r1'"
        connection.execute(odd)
    table = load_months(encoded, ["2023-01", "2023-03"]).months["2023-01"].table
    with open_quarantine(encoded) as connection:
        entries = {(entry.row_id, entry.column_name) for entry in select_entries(connection, Filter())}
    if latin1:
        assert table["method"].to_pylist() == ["é"]
        assert entries == {("r2", None), ("r4", "win_rate")}  # the server does not name the column
    else:
        assert table.num_rows == 0
        assert entries == {("r1", "method"), ("r4", "win_rate")}


def test_a_lock_is_waited_for_whatever_the_role_says(roles: Two) -> None:
    with closing(psycopg_connect(roles.odd, "state", autocommit=True)) as connection:
        assert connection.execute("SELECT 1 FROM pg_sleep(0.5)").fetchone() == (1,)
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("SELEC")
        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
