"""Columns written in other units than the canonical ones: per cent, or falls with a minus sign."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

PERCENT = Decimal("0.01")
"""What a value in per cent is multiplied by to become a fraction."""

NEGATED = Decimal(-1)
"""What a fall with a minus sign is multiplied by to become a size."""


def scaled(table: pa.Table, factors: Mapping[str, Decimal]) -> pa.Table:
    """The table with some of its columns multiplied by a factor, in decimal arithmetic: 35 per cent are exactly 0.35.

    A text may end with `%`. Texts stay texts and other numbers become float64. A value that is no number stays as it
    is, so that the rules can quote it. Missing values stay missing.

    Args:
        table: columns of any type.
        factors: name of a column -> its factor; a column that `table` lacks has none.

    >>> scaled(pa.table({"win_rate": ["37.5%", "many"]}), {"win_rate": PERCENT})["win_rate"].to_pylist()
    ['0.375', 'many']
    """
    for name in [name for name in factors if name in table.column_names]:
        place = table.column_names.index(name)
        table = table.set_column(place, name, _scaled(table[name], factors[name]))
    return table


def _scaled(column: pa.ChunkedArray, factor: Decimal) -> pa.ChunkedArray:
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)
    if not (text or number):
        return column
    encoded = pc.dictionary_encode(values)  # each distinct value is computed once
    times = _times_text if text else _times_number
    products = [times(value, factor) for value in encoded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(products, pa.string() if text else pa.float64()).take(encoded.indices)])


def _times_number(value: Any, factor: Decimal) -> float:
    return float(Decimal(repr(value) if isinstance(value, float) else value) * factor)


def _times_text(text: str, factor: Decimal) -> str:
    try:
        product = Decimal(text.strip().removesuffix("%").rstrip()) * factor
    except (InvalidOperation, ArithmeticError):
        return text
    return repr(float(product)) if product.is_finite() else str(product)
