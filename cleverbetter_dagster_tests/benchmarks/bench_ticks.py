"""What a routine tick costs in a small and in a large table, and what comparing everything costs.

    python -m cleverbetter_dagster_tests.benchmarks.bench_ticks --rows 10000 1000000

On an embedded server, or on the one of `--postgres-url`, there with `--timescaledb` in hypertables; with `--view` the
results are read through a view of their table. Two databases are
polled in turns, round by round; the table shows medians. `recent changes` is a whole routine poll, including connecting
and finding the tables; `query` is its one query on rows alone. The ratio of `query` may pass 1.5 where that of the
whole poll does not: it finds the features of each recent row by an index that is one level deeper in the large table,
while PostgreSQL reads the whole of the small one. A tick with news has 400 rows, with features, written since. `all
changes` is the comparison before each training. `all contents` reads the content of every row, as the first load and
the poll of a view do. CPU is that of this process and of the whole server.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from cleverbetter_dagster.services.ingest.change_detection import (
    ROWS_ARTEFACT,
    all_changes,
    recent_changes,
    snapshot_months,
)
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.embedded import ensure_server, stop_server
from cleverbetter_dagster.store.postgres.postmaster import ServerAddress
from cleverbetter_dagster.store.source.changes import open_snapshot
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.load_log import read_load_log, record_load
from cleverbetter_dagster_tests.benchmarks.bench_loader import fill
from cleverbetter_dagster_tests.support.new_database import EXAMPLE, given_server, new_database

NEWS = 400
RECENT = 2000
"""Rows that arrived within the last days, in either table: what a routine tick looks at."""

_ARRIVE = """
WITH new AS (
    INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, total_return, sharpe_ratio,
        max_drawdown, total_bets, win_rate, profit_factor, method, composite_score)
    SELECT gen_random_uuid()::text, 's' || n, now(), date_trunc('month', now()) - interval '1 month',
        date_trunc('month', now()) - interval '1 day', 0.1, 1, 0.1, 40, 0.5, 1.2, 'replay', 0.5
    FROM generate_series(1, %s) n RETURNING id)
INSERT INTO ml_features SELECT id, now(), '{"avg_odds": 1}' FROM new"""

Seconds = dict[str, dict[int, float]]

CPU = ", CPU"
"""Ends the name of a line that is of CPU seconds."""


def prepare(settings: Settings, rows: int, *, view: bool = False) -> Settings:
    """Fill the tables and record all rows as loaded. Returns the settings that read them."""
    fill(settings, rows)
    arrive(settings, RECENT)
    with closing(psycopg_connect(settings, "rows", autocommit=True)) as connection:
        connection.execute("VACUUM ANALYZE")
        if view:
            connection.execute("CREATE VIEW seen AS SELECT * FROM backtest_results")
            settings = settings.model_copy(update={"results_table": "seen"})
    record_all(settings)
    return settings


def arrive(settings: Settings, rows: int) -> None:
    """Let rows of last month arrive now."""
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        connection.execute(_ARRIVE, [rows])


def record_all(settings: Settings) -> None:
    """Record that all rows are loaded, and compare all months once, as the sensor does after a load."""
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        seen = snapshot_months(snapshot, settings.recent_days, read_load_log(settings))
    record_load(settings, seen, "benchmark", None)
    for month in seen:  # that they are there is all that is looked at
        path = Path(settings.artefacts_base) / ROWS_ARTEFACT.format(month=month)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    all_changes(settings)


def query(settings: Settings) -> object:
    """The query of a routine look, without what surrounds it. Returns how long it took."""
    watermarks = {month: loaded.xmin_watermark for month, loaded in read_load_log(settings).items()}
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        snapshot.recent(watermarks, None, settings.recent_days)
        started = perf_counter()
        snapshot.recent(watermarks, None, settings.recent_days)
        return perf_counter() - started


def all_contents(settings: Settings) -> None:
    """The digests of every month."""
    with open_snapshot(settings, resolve_source(settings)) as snapshot:
        snapshot.digests()


def cpu_seconds(server: int) -> float:
    """Spent so far by this process, by the server of that process id, and by those of its workers that have ended."""
    postmaster = psutil.Process(server)
    times = postmaster.cpu_times()
    spent = process_time() + times.children_user + times.children_system
    for process in (postmaster, *postmaster.children()):
        with suppress(psutil.NoSuchProcess):
            own = process.cpu_times()
            spent += own.user + own.system
    return spent


def measure(databases: dict[int, Settings], server: int, repeats: int) -> Seconds:
    """Medians of seconds, by what is done and rows in the table."""
    seconds_by_name: dict[str, dict[int, list[float]]] = {}

    def time_each(name: str, what: Callable[[Settings], object], repeats: int) -> None:
        for _ in range(repeats):
            for rows, settings in databases.items():
                cpu, started = cpu_seconds(server), perf_counter()
                answer = what(settings)
                seconds = answer if isinstance(answer, float) else perf_counter() - started
                seconds_by_name.setdefault(name, {}).setdefault(rows, []).append(seconds)
                seconds_by_name.setdefault(name + CPU, {}).setdefault(rows, []).append(cpu_seconds(server) - cpu)

    if not any(settings.results_table == "seen" for settings in databases.values()):  # a view has no `xmin` to query
        time_each("query", query, repeats)
    time_each("recent changes, nothing new", recent_changes, repeats)
    for settings in databases.values():
        arrive(settings, NEWS)
    time_each(f"recent changes, {NEWS} new rows", recent_changes, repeats)
    seldom = max(repeats // 4, 3)
    time_each(f"all changes, {NEWS} new rows", all_changes, seldom)
    for settings in databases.values():
        record_all(settings)
    time_each("all changes, nothing new", all_changes, seldom)
    time_each("all contents", all_contents, seldom)
    for name in [name for name in seconds_by_name if name.startswith(("query", "recent")) and name.endswith(CPU)]:
        del seconds_by_name[name]  # it is counted in hundredths of a second
    return {
        name: {rows: statistics.median(times) for rows, times in by.items()} for name, by in seconds_by_name.items()
    }


def shown(medians: Seconds) -> Table:
    """The comparison, for a person."""
    sizes = list(next(iter(medians.values())))
    table = Table(title="Milliseconds, medians", title_justify="left")
    for title in ("", *(f"{rows:,} rows" for rows in sizes), "ratio"):
        table.add_column(title, justify="right" if title else "left")
    for name, by in medians.items():
        cells = [f"{by[rows] * 1000:,.1f}" for rows in sizes]
        table.add_row(name, *cells, f"{by[sizes[-1]] / by[sizes[0]]:.2f}")
    return table


@contextmanager
def running_server(url: str | None, folder: Path) -> Iterator[ServerAddress]:
    """The server of that URL; without one an embedded server in `folder`, stopped at the end."""
    if url:
        server = given_server(url)
        with server.connect() as connection:
            yield replace(server, pid=psutil.Process(connection.info.backend_pid).ppid())
        return
    try:
        yield ensure_server(folder)
    finally:
        stop_server(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--postgres-url", help=f"of a server that runs on this machine itself: {EXAMPLE}")
    parser.add_argument("--timescaledb", action="store_true", help="in hypertables; that server brings TimescaleDB")
    parser.add_argument("--view", action="store_true", help="read the results through a view")
    options = parser.parse_args(arguments)
    if options.timescaledb and not options.postgres_url:
        parser.error("--timescaledb goes with --postgres-url: the embedded server has no TimescaleDB")
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running_server(options.postgres_url, folder / "postgres"))
        made = {}
        for rows in options.rows:
            with console.status(f"Filling the tables with {rows:,} rows"):
                database = new_database(server, f"rows_{rows}", timescaledb=options.timescaledb)
                url = SecretStr(stack.enter_context(database))
                made[rows] = Settings(home=folder / str(rows), database_url=url)
                made[rows] = prepare(made[rows], rows, view=options.view)
        with console.status("Looking"):
            medians = measure(made, server.pid, options.repeats)
        console.print(shown(medians))


if __name__ == "__main__":
    main()
