"""Exports with a line for each bet: the bets of a strategy in a calendar month, or week, become one backtest row.

Returns and drawdowns are fractions of the capital at the start of the window; profits are not reinvested.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.performance import max_drawdown, profit_factor, sharpe_ratio, win_rate
from cleverbetter_dagster.dataset.quality.arrow_values import texts
from cleverbetter_dagster.dataset.schema import (
    END_DATE,
    FINAL_CAPITAL,
    INITIAL_CAPITAL,
    MAX_DRAWDOWN,
    PROFIT_FACTOR,
    RUN_DATE,
    SHARPE_RATIO,
    START_DATE,
    STRATEGY,
    TOTAL_BETS,
    WIN_RATE,
)
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.mapping.spec import TOTAL_RETURN, Bets, ImportMapping
from cleverbetter_dagster.store.imports.mapping.values import as_instants
from cleverbetter_dagster.store.imports.readers.row_file import FileBatch, RowFile, malformed_rows

DAYS_PER_YEAR = 365

UNDATED = "the bet has no date, so it is in no window: write the instant when it was placed"

_FREQUENCY = {"month": "M", "week": "W"}
_DAY = pd.Timedelta(days=1)


class BetWindows(RowFile):
    """The windows of an export with a line for each bet. The line of a window is that of its first bet.

    A window with a profit that is no number has no return, and goes to quarantine.
    """

    names: tuple[str, ...] = (
        STRATEGY,
        START_DATE,
        END_DATE,
        RUN_DATE,
        INITIAL_CAPITAL,
        FINAL_CAPITAL,
        TOTAL_RETURN,
        SHARPE_RATIO,
        MAX_DRAWDOWN,
        TOTAL_BETS,
        WIN_RATE,
        PROFIT_FACTOR,
    )

    def __init__(self, export: RowFile, mapping: ImportMapping, bets: Bets) -> None:
        """Match an export with the columns of its bets.

        Raises:
            ImportFileError: it lacks one, or the mapping gives no capital.
        """
        self.path, self._export, self._bets, self._mapping = export.path, export, bets, mapping
        lacking = [name for name in bets.columns if name not in export.names]
        if not bets.strategy and STRATEGY not in mapping.constants:
            lacking.append(f"{STRATEGY} (--set {STRATEGY}=NAME)")
        if lacking:
            raise ImportFileError(
                f"{self.path} lacks columns of bets: {', '.join(lacking)}. It has: {', '.join(export.names)}."
            )
        try:
            self._capital = float(mapping.constants.get(INITIAL_CAPITAL, "nan"))
        except ValueError:
            self._capital = np.nan
        if not 0 < self._capital < np.inf:
            raise ImportFileError(
                f"{self.path} has profits in money, and no capital that they are a return on: add --set "
                "initial_capital=1000, the money available at the start of each window."
            )

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        bets, undated, malformed = self._read()
        rows = [self._window(group) for _, group in bets.groupby(["strategy", "window"], sort=False)]
        lines = np.array([row.pop("line") for row in rows], dtype=np.int64)
        table = pa.table({name: [row[name] for row in rows] for name in self.names if name in columns})
        raw = undated.drop(columns="line").astype(str).to_dict("records")
        entries = [(int(line), None, str(bet), UNDATED) for line, bet in zip(undated["line"], raw, strict=True)]
        yield FileBatch(table, lines, 1.0, pd.concat([malformed, malformed_rows(entries)], ignore_index=True))

    def _read(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """The bets in the order of time, those without a time, and the lines that are none."""
        named, frames, malformed = self._bets.model_dump(exclude={"window"}), [], []
        for batch in self._export.batches(self._bets.columns):
            words = {n: texts(batch.table[c]).to_pandas() for n, c in named.items() if c in batch.table.column_names}
            frames.append(pd.DataFrame({"line": batch.lines, **words}, dtype=object))
            malformed.append(batch.malformed)
        bets = pd.concat(frames, ignore_index=True)
        if STRATEGY in self._mapping.constants:
            bets["strategy"] = str(self._mapping.constants[STRATEGY])
        instants = as_instants([text or None for text in bets["placed"].fillna("")], self._mapping.dates)
        bets["placed"] = pd.to_datetime(pd.Series(instants, dtype=object), utc=True, format="ISO8601", errors="coerce")
        if "stake" in bets:
            bets = bets[pd.to_numeric(bets["stake"], errors="coerce") != 0]  # an order that nobody matched
        dated = bets[bets["placed"].notna()].sort_values("placed", kind="stable")
        dated["profit"] = pd.to_numeric(dated["profit"], errors="coerce").astype(float)
        dated["window"] = dated["placed"].dt.tz_localize(None).dt.to_period(_FREQUENCY[self._bets.window])
        return dated, bets[bets["placed"].isna()], pd.concat(malformed, ignore_index=True)

    def _window(self, bets: pd.DataFrame) -> dict[str, Any]:
        window = bets["window"].iloc[0]
        start, end = (instant.tz_localize("UTC") for instant in (window.start_time, window.end_time.floor("s")))
        row: dict[str, Any] = dict.fromkeys(self.names) | {
            "line": bets["line"].iloc[0],
            STRATEGY: bets["strategy"].iloc[0],
            START_DATE: start,
            END_DATE: end,
            RUN_DATE: end,
            INITIAL_CAPITAL: self._capital,
            TOTAL_BETS: len(bets),
        }
        profits = bets["profit"].to_numpy()
        if not np.isfinite(profits).all():
            return row
        days = ((bets["placed"] - start) // _DAY).to_numpy(dtype=int)
        daily = np.bincount(days, profits, (end - start) // _DAY + 1)
        curve = self._capital + np.append(0.0, np.cumsum(profits))
        return row | {
            FINAL_CAPITAL: curve[-1],
            TOTAL_RETURN: curve[-1] / self._capital - 1.0,
            SHARPE_RATIO: sharpe_ratio(daily / self._capital, DAYS_PER_YEAR),
            MAX_DRAWDOWN: max_drawdown(np.maximum(curve, 0.0)),
            WIN_RATE: win_rate(profits),
            PROFIT_FACTOR: profit_factor(profits),
        }
