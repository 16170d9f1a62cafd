"""Puts the rows of a query together from the blocks in which they are read."""

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.quality.conversion import gathered
from cleverbetter_dagster.dataset.quality.left_out import LeftOut, non_numeric_of, total
from cleverbetter_dagster.store.source.market_json import MarketObjects
from cleverbetter_dagster.store.source.row_query import MARKET_OBJECTS


@dataclass(frozen=True)
class ReadRows:
    """All rows of a query, good and bad.

    Attributes:
        table: columns with canonical names; each feature of the market is a float64 column. If a value could not be
            read all columns have canonical types; otherwise dates may still lack their time zone.
        unreadable: a violation for each value that cannot be read, but in market features.
        left_out: of the market features: values that are no numbers, which are missing in `table`, and rare features.
    """

    table: pa.Table
    unreadable: pd.DataFrame
    left_out: LeftOut


class RowBlocks:
    """Blocks of rows, all with the columns of `schema`."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._objects = MarketObjects()
        self._blocks: list[pa.Table] = []
        self._violations: list[pd.DataFrame] = []
        self._left_out: list[LeftOut] = []
        self._count = 0

    def add(self, block: pa.Table, unreadable: pd.DataFrame) -> None:
        """Add a block and its unreadable values, whose positions are those in the block."""
        if MARKET_OBJECTS in block.column_names:
            self._objects.add(block[MARKET_OBJECTS])
            block = block.drop_columns([MARKET_OBJECTS])
        violations, left_out = non_numeric_of(unreadable)
        self._blocks.append(block)
        self._violations.append(violations.assign(position=violations["position"] + self._count))
        self._left_out.append(left_out)
        self._count += block.num_rows

    def rows(self) -> ReadRows:
        """All rows that were added. A feature that is a column and a member of the objects is that of the column."""
        wanted = pa.schema([field for field in self._schema if field.name != MARKET_OBJECTS])
        table = pa.concat_tables(self._blocks) if self._blocks else wanted.empty_table()
        columns = dict(zip(table.column_names, table.columns, strict=True))
        members, rare = self._objects.columns()
        for name, values in members.items():
            member = pa.chunked_array([values])
            columns[name] = pc.coalesce(columns[name], member) if name in columns else member
        return ReadRows(pa.table(columns), gathered(self._violations), total([*self._left_out, rare]))
