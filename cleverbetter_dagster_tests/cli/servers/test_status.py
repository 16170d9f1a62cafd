"""`cleverbetter status`: it tells what is there, and starts and creates nothing."""

import json
import os
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from rich.console import Console

from cleverbetter_dagster.cli.servers.status import _table, collect, status
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store import summary
from cleverbetter_dagster.store.home import prepare_home
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.source.tables import ensure_source_tables
from cleverbetter_dagster.web.up_processes import ProcessRecord, UpRecord, record_path

ROW = """INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
             max_drawdown, total_bets, win_rate, profit_factor, composite_score, created_at)
         VALUES (%s, 's', '2024-01-05', %s, %s, 0.1, 1, 0.1, 10, 0.5, 1.2, 0.5, '2024-02-03 04:05+00')"""


def shown(settings: Settings) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_table(collect(settings)))
    return capture.get()


@pytest.fixture
def with_rows(database: Settings) -> Settings:
    ensure_source_tables(database)
    with closing(psycopg_connect(database, "rows", autocommit=True)) as connection:
        connection.execute(ROW, ["a", "2023-01-01", "2023-01-31"])
        connection.execute(ROW, ["b", "2023-02-01", "2023-02-28"])
    return database


def test_status_does_not_start_a_server(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    status = collect(settings)
    assert status.database is None
    assert (status.trouble, status.database_state) == (None, "down")
    assert "down" in shown(settings)
    assert list(tmp_path.iterdir()) == []


def test_status_names_a_silent_database_without_its_password(tmp_path: Path) -> None:
    url = SecretStr("postgresql://ann:Tr0ub4dor@127.0.0.1:1/racing")
    status = collect(Settings(home=tmp_path, database_url=url))
    assert status.database is None
    assert "ann@127.0.0.1:1/racing" in str(status.trouble)
    assert "Tr0ub4dor" not in str(status)
    assert (status.database_state, "Check that its server runs" in str(status.trouble)) == ("unavailable", True)


def test_a_wrong_name_is_told_from_a_silent_server(database: Settings) -> None:
    assert database.database_url is not None
    server = database.database_url.get_secret_value().rpartition("/")[0]
    trouble = str(collect(database.model_copy(update={"database_url": SecretStr(f"{server}/no_such")})).trouble)
    assert "Its server answers, and refuses: check user, password and name of the database" in trouble
    assert "no_such" in trouble


def test_an_empty_database_is_left_empty(database: Settings) -> None:
    empty = collect(database).database
    assert empty is not None
    assert collect(database).database_state == "up"
    assert (empty.rows, empty.champion, empty.quarantined) == (None, None, 0)
    assert "cleverbetter import" in str(empty.rows_missing)
    with closing(psycopg_connect(database, "rows")) as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information|_?timescaledb)'"
        ).fetchall()
    assert schemas == [("public",)]


def test_rows_windows_and_the_newest_are_counted(with_rows: Settings, with_timescaledb: bool) -> None:
    text = shown(with_rows)
    with closing(psycopg_connect(with_rows, "rows")) as connection:
        assert f"version {connection.info.server_version // 10_000}." in text
    assert ("no TimescaleDB" in text) != with_timescaledb
    assert "TimescaleDB" in text
    assert "2 rows" in text
    assert "2023-01-01 to 2023-02-28" in text
    assert "2024-02-03 04:05 UTC" in text
    assert "none yet" in text


def test_a_slow_count_becomes_an_estimate(with_rows: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(psycopg_connect(with_rows, "rows", autocommit=True)) as connection:
        connection.execute("ALTER TABLE backtest_results RENAME TO slow")
        connection.execute("CREATE VIEW backtest_results AS SELECT * FROM slow WHERE pg_sleep(0.2) IS NOT NULL")
    monkeypatch.setattr(summary, "TIMEOUT_MILLISECONDS", 100)
    counted = collect(with_rows).database
    assert counted is not None
    assert counted.rows is not None
    assert [table.estimated for table in counted.rows.tables] == [True, False]
    assert "about" in shown(with_rows)


def test_quarantine_and_champion_are_told(with_rows: Settings) -> None:
    from cleverbetter_dagster.store.ledger.table import Decision, ensure_ledger, insert
    from cleverbetter_dagster.store.quarantine import open_quarantine

    with open_quarantine(with_rows) as connection:
        connection.execute("INSERT INTO quarantine (source, table_name, reason) VALUES ('f', 't', 'wrong')")
        ensure_ledger(connection)
        insert(connection, "promoted", Decision("ensemble", 3, "run", "2023-12", "better", "a test"), None)
    summarised = collect(with_rows).database
    assert summarised is not None
    assert summarised.quarantined == 1
    champion = summarised.champion
    assert champion is not None
    assert (champion.family, champion.version, champion.as_of, champion.action) == (
        "ensemble",
        3,
        "2023-12",
        "promoted",
    )
    assert "ensemble v3 (as of 2023-12), promoted" in shown(with_rows)


def test_what_runs_and_what_waits_is_told(environment: Settings) -> None:
    prepare_home(environment)
    assert collect(environment).work == []  # Dagster has no tables yet
    with dg.DagsterInstance.get() as instance:
        tags = {"dagster/asset_partition_range_start": "2023-01", "dagster/asset_partition_range_end": "2023-03"}
        instance.add_run(dg.DagsterRun("load_rows", status=dg.DagsterRunStatus.STARTED, tags=tags))
        instance.add_run(dg.DagsterRun("retrain", status=dg.DagsterRunStatus.NOT_STARTED))
        instance.add_run(dg.DagsterRun("predict", status=dg.DagsterRunStatus.FAILURE))
    work = collect(environment).work
    assert [(run.job, run.state, run.months) for run in work] == [
        ("load_rows", "running", "2023-01...2023-03"),
        ("retrain", "queued", None),
    ]
    text = shown(environment)
    assert "load_rows as of 2023-01...2023-03, since 20" in text
    assert "predict" not in text


def test_services_are_up_while_their_processes_live(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.state_folder.mkdir()
    ours = ProcessRecord.of("Dagster", os.getpid(), "http://127.0.0.1:3000")
    gone = ProcessRecord("MLflow", ours.pid, ours.created - 100, "http://127.0.0.1:5000")
    UpRecord(ours, "a token", True, (ours, gone)).write(record_path(settings))
    services = collect(settings).services
    assert {name: (service.state, service.url) for name, service in services.items()} == {
        "Dagster": ("up", "http://127.0.0.1:3000"),
        "MLflow": ("down", "http://127.0.0.1:5000"),
    }


def test_json_is_for_programs(
    with_rows: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_rows.database_url is not None
    monkeypatch.setenv("DATABASE_URL", with_rows.database_url.get_secret_value())
    monkeypatch.setenv("DAGSTER_HOME", str(with_rows.home))
    status(as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["home"] == str(with_rows.home)
    assert (answer["database_state"], answer["mlflow_tracking"], answer["trouble"]) == ("up", "database", None)
    assert answer["database"]["rows"]["tables"][0] == {
        "name": "public.backtest_results",
        "rows": 2,
        "estimated": False,
    }
