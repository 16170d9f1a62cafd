"""How fast the loader reads a million rows with twelve JSONB features, beside the server's limit and beside objects.

    python -m cleverbetter_dagster_tests.benchmarks.bench_loader --rows 1000000

Every contestant runs in a process of its own, one after another, round by round; medians count. `copy` is a text COPY
of the same columns into nothing: the fastest the server can send them. On two cores a server that reads in
parallel takes the client's core as well; `--server-processes 1` shows how the loader does beside one that does not.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from psycopg import sql
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import database_url, psycopg2_connect, psycopg_connect
from cleverbetter_dagster.store.postgres.embedded import ensure_server, stop_server
from cleverbetter_dagster.store.postgres.giving_way import read_session
from cleverbetter_dagster.store.source.layout import resolve_source
from cleverbetter_dagster.store.source.loader import read_rows
from cleverbetter_dagster.store.source.row_query import RowQuery
from cleverbetter_dagster.store.source.tables import ensure_source_tables

KEYS = (
    "avg_field_size",
    "avg_odds",
    "avg_rank",
    "avg_spread",
    "avg_volume",
    "bets_per_day",
    "consistency_score",
    "monte_carlo_var95",
    "monte_carlo_var99",
    "odds_drift",
    "overfit_score",
    "overround",
)
TEXTS = (
    "id",
    "strategy_id",
    "method",
)
INSTANTS = (
    "run_date",
    "start_date",
    "end_date",
    "created_at",
)
COLUMNS = (
    *TEXTS,
    *INSTANTS,
    "sharpe_ratio",
    "total_return",
    "max_drawdown",
    "win_rate",
    "profit_factor",
    "total_bets",
    "composite_score",
    "initial_capital",
    "final_capital",
)
ROWS_A_MONTH = 20_000

_RESULTS = """
INSERT INTO backtest_results (id, strategy_id, run_date, start_date, end_date, initial_capital, final_capital,
    total_return, sharpe_ratio, max_drawdown, total_bets, win_rate, profit_factor, method, composite_score, created_at)
SELECT gen_random_uuid()::text, 'b16529d9-bf07-46fc-8e90-' || lpad((n %% 20000)::text, 12, '0'),
    start + interval '32 days', start, start + interval '30 days', 1000,
    1000 + 1000 * gain, gain, round((random() * 10 - 5)::numeric, 4), round(random()::numeric, 4),
    1 + (random() * 1000)::int, round(random()::numeric, 4), round((random() * 2)::numeric, 4), 'historical_replay',
    round(random()::numeric, 4), start + interval '32 days'
FROM (SELECT n, round((random() * 0.1 - 0.05)::numeric, 4) AS gain,
             timestamptz '2019-01-01' + n / %(month)s * interval '1 month' + n %% 3600 * interval '1 second' AS start
      FROM generate_series(0, %(rows)s - 1) n) x"""

_FEATURES = """
INSERT INTO ml_features SELECT id, created_at, jsonb_build_object({members}) FROM backtest_results"""


@dataclass(frozen=True)
class Run:
    """One contestant's run."""

    seconds: float
    peak_mb: float
    rows: int


def fill(settings: Settings, rows: int) -> None:
    """Make the two tables, with `rows` rows."""
    ensure_source_tables(settings)
    values = [f"'{key}', round((random() * 10)::numeric, 6)" for key in KEYS]
    with psycopg_connect(settings, "rows", autocommit=True) as connection:
        connection.execute(_RESULTS, {"rows": rows, "month": ROWS_A_MONTH})
        connection.execute(_FEATURES.format(members=", ".join(values)))
        connection.execute("VACUUM ANALYZE")


def copy_into_nothing(settings: Settings, _: int) -> int:
    """A text COPY of the columns the loader reads, thrown away."""
    listed = sql.SQL(", ").join(
        [sql.Identifier("r", column) for column in COLUMNS]
        + [sql.SQL("f.features->>{}").format(sql.Literal(key)) for key in KEYS]
    )
    statement = sql.SQL(
        "COPY (SELECT {} FROM backtest_results r LEFT JOIN ml_features f ON f.backtest_result_id = r.id) TO STDOUT"
    )
    with closing(psycopg2_connect(settings, "rows")) as connection, open(os.devnull, "wb") as nothing:
        cursor = connection.cursor()
        cursor.copy_expert(statement.format(listed).as_string(), nothing)
        return int(cursor.rowcount)


def loader(settings: Settings, _: int) -> int:
    """What the package does."""
    with read_session(settings) as session:
        return int(read_rows(session, RowQuery(resolve_source(settings))).table.num_rows)


def objects(settings: Settings, limit: int) -> int:
    """One SQLAlchemy object a row and one a features row, as most code would."""
    from sqlalchemy import DateTime, Float, String, create_engine, select
    from sqlalchemy.dialects.postgresql import JSONB
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

    class Base(DeclarativeBase):
        """Declarative base."""

    kinds = dict.fromkeys(COLUMNS, Float) | dict.fromkeys(TEXTS, String) | dict.fromkeys(INSTANTS, DateTime(True))
    columns = {name: mapped_column(kind, primary_key=name == "id") for name, kind in kinds.items()}
    result = type("Result", (Base,), {"__tablename__": "backtest_results", **columns})

    class Features(Base):
        """Market features of a row."""

        __tablename__ = "ml_features"
        backtest_result_id: Mapped[str] = mapped_column(primary_key=True)
        features: Mapped[dict[str, float]] = mapped_column(JSONB)

    joined = select(result, Features).join(Features, Features.backtest_result_id == result.id).limit(limit)
    with Session(create_engine(database_url(settings, "rows"))) as session:
        return len(session.execute(joined).all())


CONTESTANTS: dict[str, Callable[[Settings, int], int]] = {
    "copy": copy_into_nothing,
    "loader": loader,
    "objects": objects,
}


def peak_mb() -> float:
    """Most memory this process had. Not `ru_maxrss`, which begins with what the process that started it had."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


def measure(settings: Settings, contestant: str, limit: int) -> Run:
    """Run a contestant in a process of its own."""
    assert settings.database_url is not None
    environment = os.environ | {"DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", __spec__.name, "--contestant", contestant, "--rows", str(limit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{contestant} failed:\n{done.stderr}")
    return Run(**json.loads(done.stdout))


def compare(settings: Settings, rows: int, object_rows: int, repeats: int) -> dict[str, Run]:
    """Medians of all contestants; that of `objects` is scaled up where it read fewer rows than the others."""
    limits = {"copy": rows, "loader": rows, "objects": object_rows}
    runs: dict[str, list[Run]] = {contestant: [] for contestant in CONTESTANTS}
    for round_number in range(repeats):
        for contestant in CONTESTANTS:
            if contestant == "objects" and round_number and object_rows > rows / 5:
                continue  # minutes, and nothing to be learnt from a second time
            runs[contestant].append(measure(settings, contestant, limits[contestant]))
    return {
        contestant: Run(
            statistics.median(run.seconds for run in found) * rows / limits[contestant],
            statistics.median(run.peak_mb for run in found),
            limits[contestant],
        )
        for contestant, found in runs.items()
    }


def shown(medians: dict[str, Run], rows: int) -> Table:
    """The comparison, for a person."""
    table = Table(title=f"{rows:,} rows, {len(COLUMNS)} columns and {len(KEYS)} JSONB features", title_justify="left")
    for title in ("", "seconds", "speed against copy", "speed against objects", "peak MB"):
        table.add_column(title, justify="right" if title else "left")
    for contestant, run in medians.items():
        name = contestant if run.rows == rows else f"{contestant} (read {run.rows:,} rows, time scaled)"
        ratios = [f"{medians[other].seconds / run.seconds:.2f}" for other in ("copy", "objects")]
        table.add_row(name, f"{run.seconds:.2f}", *ratios, f"{run.peak_mb:,.0f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one contestant, or all of them on a server of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--object-rows", type=int, help="rows read as objects (6 GB a million); default: a tenth")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--server-processes", type=int, help="processes of the server a query; default: it decides")
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args(arguments)
    if options.contestant:
        started = perf_counter()
        rows = CONTESTANTS[options.contestant](Settings(), options.rows)
        seconds = perf_counter() - started
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "rows": rows}))
        return
    if options.server_processes:
        os.environ["PGOPTIONS"] = f"-c max_parallel_workers_per_gather={options.server_processes - 1}"
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "postgres"
        settings = Settings(home=Path(home), database_url=SecretStr(ensure_server(folder).url))
        try:
            console = Console()
            with console.status("Filling the tables"):
                fill(settings, options.rows)
            with console.status("Reading"):
                medians = compare(settings, options.rows, options.object_rows or options.rows // 10, options.repeats)
            console.print(shown(medians, options.rows))
        finally:
            stop_server(folder)


if __name__ == "__main__":
    main()
