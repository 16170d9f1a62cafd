"""How much memory an import takes: long texts and many columns against files without them.

    python -m cleverbetter_dagster_tests.benchmarks.bench_import_memory

Every file is imported in a process of its own, into a server of its own; the server's memory does not count.

- Parquet of `--rows` rows with 40 KB of text in each, stored once as Parquet does, which no column of the table takes;
  and the same file without that text.
- CSV with as many values in 20,000 columns, each a feature, as in 20.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.imports.importer import import_files
from cleverbetter_dagster.store.postgres.embedded import ensure_server, stop_server
from cleverbetter_dagster_tests.benchmarks.bench_loader import peak_mb

TEXT_BYTES = 40_000
NARROW, WIDE = 20, 20_000
WIDE_ROWS = 100


@dataclass(frozen=True)
class Run:
    """One import."""

    seconds: float
    peak_mb: float
    rows: int


def parquet_file(path: Path, rows: int, *, text: bool) -> Path:
    """Market features as Parquet: an id, two numbers, and if wanted a long text that is stored once."""
    random = np.random.default_rng(1)
    ids = pa.array(np.arange(rows) + (rows if text else 0))
    columns = {"backtest_result_id": ids.cast(pa.string())}
    columns |= {name: pa.array(random.random(rows)) for name in ("avg_odds", "overround")}
    if text:
        repeated = pa.array(np.zeros(rows, dtype=np.int32))
        columns["notes"] = pa.DictionaryArray.from_arrays(repeated, pa.array(["x" * TEXT_BYTES]))
    pq.write_table(pa.table(columns), path, store_schema=False)
    return path


def csv_file(path: Path, rows: int, columns: int) -> Path:
    """Market features as CSV: an id and so many numbers."""
    random = np.random.default_rng(1)
    with path.open("w") as file:
        file.write(",".join(["backtest_result_id", *(f"feature_{number}" for number in range(columns))]) + "\n")
        for row in range(rows):
            file.write(f"{columns}-{row}," + ",".join(f"{value:.4f}" for value in random.random(columns)) + "\n")
    return path


def contestants(rows: int) -> dict[str, Callable[[Path], Path]]:
    """What each file is -> what writes it into a folder."""
    long = WIDE_ROWS * WIDE // NARROW
    return {
        f"Parquet, {rows:,} rows": lambda folder: parquet_file(folder / "plain.parquet", rows, text=False),
        "the same with 40 KB of text a row": lambda folder: parquet_file(folder / "text.parquet", rows, text=True),
        f"CSV, {NARROW} columns, {long:,} rows": lambda folder: csv_file(folder / "narrow.csv", long, NARROW),
        f"CSV, {WIDE:,} columns, {WIDE_ROWS} rows": lambda folder: csv_file(folder / "wide.csv", WIDE_ROWS, WIDE),
    }


def measure(settings: Settings, path: Path) -> Run:
    """Import a file of market features in a process of its own."""
    assert settings.database_url is not None
    environment = os.environ | {"DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", __spec__.name, "--file", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name} failed:\n{done.stderr}")
    return Run(**json.loads(done.stdout))


def compare(settings: Settings, rows: int, folder: Path) -> list[tuple[str, Run, float]]:
    """For each file its import, and how its peak compares with that of the file before it, its plain counterpart."""
    runs: dict[str, Run] = {}
    for name, write in contestants(rows).items():
        runs[name] = measure(settings, write(folder))
        print(f"{name}: {runs[name]}", file=sys.stderr)
    names = list(runs)
    plain = [names[0], names[0], names[2], names[2]]
    return [
        (name, runs[name], runs[name].peak_mb / runs[other].peak_mb) for name, other in zip(names, plain, strict=True)
    ]


def shown(comparison: Sequence[tuple[str, Run, float]]) -> Table:
    """The comparison, for a person."""
    table = Table(title="Imports of market features", title_justify="left")
    for title in ("", "seconds", "peak MB", "against plain"):
        table.add_column(title, justify="right" if title else "left")
    for name, run, ratio in comparison:
        table.add_row(name, f"{run.seconds:.1f}", f"{run.peak_mb:,.0f}", f"{ratio:.2f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Import one file, or make and import all on a server of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path, help="import this file only")
    options = parser.parse_args(arguments)
    if options.file:
        started = perf_counter()
        report = import_files(Settings(), None, options.file)
        seconds = perf_counter() - started
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "rows": report.total("inserted")}))
        return
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "postgres"
        settings = Settings(home=Path(home), database_url=SecretStr(ensure_server(folder).url))
        try:
            Console().print(shown(compare(settings, options.rows, Path(home))))
        finally:
            stop_server(folder)


if __name__ == "__main__":
    main()
