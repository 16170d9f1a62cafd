"""Random rows for tests: gaps, overlaps, repeated runs, ties, several methods, microseconds, sentinels."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from cleverbetter_dagster.dataset.schema import REQUIRED, column_type, rows_frame
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster_tests.dataset.oracle import Row

EPOCH = datetime(2021, 1, 1, tzinfo=UTC)
DecisionTime = Literal["end_date", "run_date"]

_returns = st.sampled_from([-0.5, -0.03, -0.01, 0.0, 0.01, 0.07]) | st.integers(-900, 2000).map(
    lambda thousandths: thousandths / 1000
)


def _days(longest: int) -> st.SearchStrategy[timedelta]:
    return st.builds(
        lambda days, microseconds: timedelta(days=days, microseconds=microseconds),
        st.integers(0, longest),
        st.sampled_from([0, 0, 0, 1]),
    )


@st.composite
def _row(draw: st.DrawFn, longest_days: int) -> Row:
    start = EPOCH + draw(_days(14))
    end = start + draw(_days(longest_days))
    run = end + timedelta(days=draw(st.sampled_from([0, 0, 1, 5, 40])))
    return example_row(
        strategy_id=draw(st.sampled_from(["hare", "lure", "trap"])),
        method=draw(st.sampled_from(["replay", "replay", "monte_carlo"])),
        run_date=run,
        start_date=start,
        end_date=end,
        created_at=draw(st.sampled_from([None, run, run + timedelta(seconds=1)])),
        roi=draw(_returns),
        sharpe_ratio=draw(st.sampled_from([None, -999.0, -1.5, 0.0, 2.0, 999.0])),
        max_drawdown=draw(st.sampled_from([0.0, 0.1, 1.0])),
        win_rate=draw(st.sampled_from([None, 0.0, 0.4, 1.0])),
        profit_factor=draw(st.sampled_from([None, 0.0, 0.9, 1.2, 40.0, 999.0])),
        total_bets=draw(st.sampled_from([0.0, 1.0, 20.0, 500.0])),
        composite_score=draw(st.sampled_from([0.1, 0.3, 0.6])),
        ml_avg_odds=draw(st.sampled_from([None, 2.5, 8.0, -999.0])),
    )


@st.composite
def row_lists(draw: st.DrawFn, min_size: int = 0, max_size: int = 20, longest_days: int = 10) -> list[Row]:
    """Rows with unique ids, in no order of time; some are later runs of others. Short windows get more labels."""
    size = draw(st.integers(min_size, max_size))
    rows = draw(st.lists(_row(longest_days), min_size=size, max_size=size))
    again = draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []
    rows += [{**row, "roi": draw(_returns), "run_date": row["run_date"] + timedelta(days=1)} for row in again]
    ids = draw(st.permutations([f"id-{number:02d}" for number in range(len(rows))]))
    return [{**row, "id": name} for name, row in zip(ids, rows, strict=True)]


def rows_schema(market: Iterable[str] = ()) -> pa.Schema:
    """Arrow schema of canonical rows with the required and these market columns."""
    return pa.schema([(column, column_type(column)) for column in (*REQUIRED, *market)])


def empty_rows() -> pd.DataFrame:
    """A canonical frame without rows, such as an empty month has."""
    return rows_frame(rows_schema().empty_table())


def frame(rows: list[Row]) -> pd.DataFrame:
    """Canonical rows frame of the dictionaries."""
    names = list(rows[0]) if rows else [*example_row(), "created_at", "ml_avg_odds"]
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
    table = pd.DataFrame(columns, index=range(100, 100 + len(rows)))
    for name in table.columns:
        if name in ("id", "strategy_id", "method"):
            table[name] = table[name].astype(empty_rows()[name].dtype)  # pandas 3 has a type for texts
        elif name in ("run_date", "start_date", "end_date", "created_at"):
            table[name] = pd.to_datetime(table[name], utc=True).dt.as_unit("us")
        else:
            table[name] = table[name].astype(float)
    return table


def example_row(**values: Any) -> Row:
    """One plain row, decided on day 10; `start_day`, `end_day` and `run_day` (after `EPOCH`) move it."""
    days = {name: values.pop(f"{name}_day", default) for name, default in (("start", 0), ("end", 10))}
    days["run"] = values.pop("run_day", days["end"])
    dates = {f"{name}_date": EPOCH + timedelta(days=day) for name, day in days.items()}
    plain = {
        "id": "a",
        "strategy_id": "hare",
        "method": "replay",
        **dates,
        "roi": 0.1,
        "sharpe_ratio": 1.0,
        "max_drawdown": 0.1,
        "win_rate": 0.4,
        "profit_factor": 1.2,
        "total_bets": 100.0,
        "composite_score": 0.5,
    }
    return plain | values


def spec(**values: Any) -> DatasetSpec:
    """A spec that takes every row as an example by default."""
    return DatasetSpec(**({"min_composite_score": None, "min_examples": 1} | values))
