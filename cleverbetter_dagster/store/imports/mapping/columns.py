"""Applies a mapping to the rows of an export: columns get our names, values our units.

An export without an id, a return or a composite score gets one made of what it has.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster.betting.composite import composite_score
from cleverbetter_dagster.dataset.quality.arrow_values import texts
from cleverbetter_dagster.dataset.quality.special_values import canonical_values
from cleverbetter_dagster.dataset.quality.units import NEGATED, PERCENT, scaled
from cleverbetter_dagster.dataset.schema import (
    COMPOSITE_SCORE,
    END_DATE,
    FINAL_CAPITAL,
    ID,
    INITIAL_CAPITAL,
    METHOD,
    METRICS,
    PROFIT_FACTOR,
    ROI,
    RUN_DATE,
    SHARPE_RATIO,
    START_DATE,
    STRATEGY,
    WIN_RATE,
)
from cleverbetter_dagster.errors import ImportFileError
from cleverbetter_dagster.store.imports.mapping.loading import likely_preset
from cleverbetter_dagster.store.imports.mapping.spec import COLUMNS, FILE, INDEX, INSTANTS, TOTAL_RETURN, ImportMapping
from cleverbetter_dagster.store.imports.mapping.values import as_durations, as_instants, as_returns
from cleverbetter_dagster.store.imports.readers.source import COMPRESSIONS
from cleverbetter_dagster.store.source.column_names import likely_partners
from cleverbetter_dagster.store.source.layout import FEATURE_KEYS, FEATURE_TIMES

FACTORS = {
    "percent": PERCENT,
    "negative percent": PERCENT * NEGATED,
    "negative fraction": NEGATED,
    "basis points": Decimal("0.0001"),
}
"""What a value is multiplied by to be in our unit."""

IDENTITY = (STRATEGY, METHOD, START_DATE, END_DATE, RUN_DATE)
"""What the id of a row is made of if the export has none: a later run over the same window is another row."""

BROKE_EVEN = {SHARPE_RATIO: 0.0, PROFIT_FACTOR: 1.0, WIN_RATE: 0.0}
"""What the composite score takes for a ratio that is missing. Where nothing was lost, `canonical_values` says so."""

_UNNAMED = re.compile(r"|column \d+")
"""The names of columns that have none: in a document, and in CSV."""

Columns = dict[str, pa.ChunkedArray]


class MappedColumns:
    """A mapping that fits the columns of one export.

    Attributes:
        read: the export's columns that it needs.
    """

    def __init__(self, mapping: ImportMapping, path: Path, names: Sequence[str], *, features: bool = False) -> None:
        """Match the mapping with an export that has the columns `names`.

        Args:
            features: market features are wanted, not backtest rows.

        Raises:
            ImportFileError: the export lacks columns that the mapping names. All of them are named.
        """
        self._mapping, self._features = mapping, features
        if features and not mapping.features:
            raise ImportFileError(
                f"The mapping has no [features], so no column of {path} is a market feature. Add them, or import the "
                "market features without a mapping."
            )
        wanted = (*mapping.columns, *(mapping.features if features else ()))
        known = {name: next((s for s in mapping.sources(name) if s in (*names, FILE)), None) for name in wanted}
        positions = [names.index(source) for source in known.values() if source in names]
        self._index = list(names[: min(positions, default=0)])
        if self._index:
            known |= {name: INDEX for name in wanted if known[name] is None and INDEX in mapping.sources(name)}
        lacking = [name for name, source in known.items() if source is None]
        if lacking:
            raise ImportFileError(_lacking(mapping, path, lacking, names))
        self._sources = {name: source for name, source in known.items() if source is not None}
        self._constants = {**mapping.constants, **mapping.file.parts(path)}
        self._file = _stem(path)
        ours = [name for name in names if name in (*COLUMNS, ROI)]
        self.read = tuple(dict.fromkeys([*self._sources.values(), *self._index, *ours]))

    def apply(self, table: pa.Table) -> pa.Table:
        """Rows of the export in our columns; backtest rows keep the columns that the mapping does not name."""
        raw = {name: self._source(table, source) for name, source in self._sources.items()}
        columns = {name: table[name] for name in (*IDENTITY, ID) if name in table.column_names}
        columns |= {name: _constant(value, table.num_rows) for name, value in self._constants.items()}
        columns |= raw
        columns = {name: self._in_our_unit(name, values, columns) for name, values in columns.items()}
        used = {*self._sources.values()}
        others = {name: table[name] for name in table.column_names if name not in columns and name not in used}
        _add_total_return(columns | others, columns)
        if ID not in columns:
            columns[ID] = _ids(columns, table.num_rows)
        if self._features:
            return self._feature_rows(columns)
        _add_undefined(columns, others, table.num_rows)
        return pa.table(columns | others)

    def _source(self, table: pa.Table, source: str) -> pa.ChunkedArray:
        if source == FILE:
            return _constant(self._file, table.num_rows)
        if source == INDEX:
            return _joined({name: table[name] for name in self._index if name in table.column_names})
        return table[source] if source in table.column_names else _texts([None] * table.num_rows)

    def _in_our_unit(self, name: str, values: pa.ChunkedArray, columns: Columns) -> pa.ChunkedArray:
        unit = self._mapping.units.get(name, "")
        if name in INSTANTS:
            return _texts(as_instants(_words(values), self._mapping.dates, unit))
        if unit.startswith("duration"):
            return _texts(as_durations(_words(values), unit))
        if unit == "currency":
            capital = columns.get(INITIAL_CAPITAL, _texts([None] * len(values)))
            return _texts(as_returns(_words(values), _words(capital)))
        if unit in FACTORS:
            return scaled(pa.table({name: values}), {name: FACTORS[unit]})[name]
        return values

    def _feature_rows(self, columns: Columns) -> pa.Table:
        rows = {FEATURE_KEYS[0]: columns[ID], **{name: columns[name] for name in self._mapping.features}}
        if RUN_DATE in columns:
            rows[FEATURE_TIMES[0]] = columns[RUN_DATE]
        return pa.table(rows)


def _joined(index: Columns) -> pa.ChunkedArray:
    """The cells of an index as one text; of several, each with the name that it has.

    >>> cells = {"fast": pa.chunked_array([["5"]]), "": pa.chunked_array([["BTC"]])}
    >>> _joined(cells).to_pylist()
    ['fast=5 BTC']
    """
    if len(index) == 1:
        return texts(next(iter(index.values())))
    labels = ["" if _UNNAMED.fullmatch(name) else f"{name}=" for name in index]
    rows = zip(*(_words(column) for column in index.values()), strict=True)
    return _texts([" ".join(f"{label}{cell or ''}" for label, cell in zip(labels, row, strict=True)) for row in rows])


def _add_total_return(available: Columns, columns: Columns) -> None:
    """Make the return of the two capitals, if the export has them and no return."""
    if available.keys() & {TOTAL_RETURN, ROI} or not {INITIAL_CAPITAL, FINAL_CAPITAL} <= available.keys():
        return
    initial, final = (_numbers(available[name]) for name in (INITIAL_CAPITAL, FINAL_CAPITAL))
    columns[TOTAL_RETURN] = _floats(final / initial - 1.0)


def _ids(columns: Columns, count: int) -> pa.ChunkedArray:
    parts = [_words(columns[name]) if name in columns else [None] * count for name in IDENTITY]
    return _texts(
        [str(uuid5(NAMESPACE_URL, "cleverbetter:" + "|".join(map(str, row)))) for row in zip(*parts, strict=True)]
    )


def _add_undefined(columns: Columns, others: Columns, count: int) -> None:
    """Ratios that the tool does not measure are missing, and the composite score is made of the others."""
    available = others | columns
    if ROI in available:
        available.setdefault(TOTAL_RETURN, available[ROI])
    for name in (SHARPE_RATIO, PROFIT_FACTOR):
        if name not in available:
            columns[name] = available[name] = _texts([None] * count)
    if COMPOSITE_SCORE in available:
        return
    none = _texts([None] * count)
    written = {name: _numbers(available.get(name, none)).to_numpy() for name in (*METRICS, COMPOSITE_SCORE)}
    written[ROI] = _numbers(available.get(TOTAL_RETURN, none)).to_numpy()
    metrics = pd.DataFrame(canonical_values(written)).rename(columns={ROI: TOTAL_RETURN})
    columns[COMPOSITE_SCORE] = _floats(composite_score(metrics.fillna(BROKE_EVEN)))


def _words(column: pa.ChunkedArray) -> list[str | None]:
    """Values as trimmed text; empty text is missing."""
    return [text.strip() or None if text is not None else None for text in texts(column).to_pylist()]


def _numbers(column: pa.ChunkedArray) -> pd.Series:
    return pd.to_numeric(pd.Series(_words(column), dtype=object), errors="coerce").astype(float)


def _floats(values: pd.Series) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.float64(), from_pandas=True)])


def _texts(values: Sequence[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def _constant(value: str | float, count: int) -> pa.ChunkedArray:
    return _texts([str(value)] * count)


def _stem(path: Path) -> str:
    return path.with_suffix("").stem if path.suffix.lower() in COMPRESSIONS else path.stem


def _lacking(mapping: ImportMapping, path: Path, lacking: Sequence[str], names: Sequence[str]) -> str:
    lines = []
    for name in lacking:
        sources = mapping.sources(name)
        wanted = " or ".join("what is left of the first mapped column" if s == INDEX else repr(s) for s in sources)
        partners = likely_partners(name, [other for other in names if other not in sources])
        likely = f", which is probably {partners[0]!r}" if partners else ""
        lines.append(f"\n  {name}: from {wanted}{likely}")
    preset = likely_preset(names)
    other = f"This looks like an export of {preset}: --preset {preset}." if preset else "Correct the mapping."
    return (
        f"{path} lacks columns that the mapping names:{''.join(lines)}\nIt has: {', '.join(names)}. {other} "
        "A column with one value for all rows: --set COLUMN=VALUE."
    )
