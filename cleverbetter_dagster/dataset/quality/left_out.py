"""What is left out of the market features, and why. Nothing is left out without a count and a name.

A value that is no finite number (a text, an object, a list, infinity) is missing in its row, because market features
are optional, and the row stays. A feature that is measured too rarely has no column. The counts travel with the rows:
as metadata of their Arrow schema, which Parquet stores.
"""

from collections.abc import Iterable, Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from cleverbetter_dagster.dataset.schema import MARKET_PREFIX

LEAST_SHARE = 0.01
"""A feature with a value in fewer of the rows is rare. So a table has at most 100 cells for each measured value."""

SHOWN = 20
SHOWN_CHARACTERS = 40
METADATA_KEY = b"cleverbetter.left_out"


class NonNumeric(BaseModel):
    """How many values of one feature are no finite numbers, and one of them as text."""

    model_config = ConfigDict(frozen=True)

    values: int
    example: str


class LeftOut(BaseModel):
    """What was left out of the market features of some rows. Names are those of the source, without `ml_`.

    Attributes:
        non_numeric: by name of the feature.
        rare: features without a column; the first `SHOWN` of them by name are `rare_examples`.
    """

    model_config = ConfigDict(frozen=True)

    non_numeric: Mapping[str, NonNumeric] = {}
    rare: int = 0
    rare_examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.non_numeric or self.rare)

    def __str__(self) -> str:
        parts = [f"values that are no numbers: {self.non_numeric_listed}"] if self.non_numeric else []
        if self.rare:
            more = ", ..." if self.rare > len(self.rare_examples) else ""
            names = ", ".join(name[:SHOWN_CHARACTERS] for name in self.rare_examples)
            parts.append(f"features measured in less than {LEAST_SHARE:.0%} of the rows: {self.rare:,} ({names}{more})")
        return "; ".join(parts) or "none"

    @property
    def non_numeric_listed(self) -> str:
        """The features with values that are no numbers, most of these first.

        >>> LeftOut(non_numeric={"country": NonNumeric(values=24_000, example="AU")}).non_numeric_listed
        "country (24,000, such as 'AU')"
        """
        counts = sorted(self.non_numeric.items(), key=lambda item: (-item[1].values, item[0]))
        listed = [
            f"{name[:SHOWN_CHARACTERS]} ({count.values:,}, such as {count.example[:SHOWN_CHARACTERS]!r})"
            for name, count in counts[:SHOWN]
        ]
        return ", ".join(listed) + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")


NOTHING = LeftOut()


def non_numeric_of(violations: pd.DataFrame) -> tuple[pd.DataFrame, LeftOut]:
    """The violations of rows, and those in market features (`ml_...`) as counts."""
    in_market = violations["column"].astype(str).str.startswith(MARKET_PREFIX)
    if not in_market.any():
        return violations, NOTHING
    groups = violations[in_market].groupby("column", sort=True)["value"].agg(["size", "first"])
    counts = {
        str(column).removeprefix(MARKET_PREFIX): NonNumeric(values=int(size), example=str(first))
        for column, size, first in groups.itertuples()
    }
    return violations[~in_market].reset_index(drop=True), LeftOut(non_numeric=counts)


def rare_features(names: Iterable[str]) -> LeftOut:
    """Features without a column, by the names of their columns."""
    listed = sorted(name.removeprefix(MARKET_PREFIX) for name in names)
    return LeftOut(rare=len(listed), rare_examples=tuple(listed[:SHOWN]))


def without_infinite(rows: pa.Table) -> tuple[pa.Table, LeftOut]:
    """The rows with infinite market features missing, and how many there were."""
    counts, finite = {}, {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        infinite = pc.is_inf(column).fill_null(False) if name.startswith(MARKET_PREFIX) else None
        if infinite is not None and (values := pc.sum(infinite).as_py()):
            example = str(column.filter(infinite)[0].as_py())
            counts[name.removeprefix(MARKET_PREFIX)] = NonNumeric(values=values, example=example)
            finite[name] = pc.if_else(infinite, None, column)
    if not counts:
        return rows, NOTHING
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    return pa.table(columns | finite), LeftOut(non_numeric=counts)


def total(parts: Iterable[LeftOut]) -> LeftOut:
    """The sum of several parts of the same rows, or of other rows; the first example of each feature stays.

    >>> one, two = (NonNumeric(values=n, example=text) for n, text in ((1, "AU"), (2, "NZ")))
    >>> total([LeftOut(non_numeric={"country": one}), LeftOut(non_numeric={"country": two})]).non_numeric["country"]
    NonNumeric(values=3, example='AU')
    """
    non_numeric: dict[str, NonNumeric] = {}
    rare, examples = 0, set[str]()
    for part in parts:
        for name, count in part.non_numeric.items():
            before = non_numeric.get(name)
            values, example = (before.values, before.example) if before else (0, count.example)
            non_numeric[name] = NonNumeric(values=values + count.values, example=example)
        rare += part.rare
        examples.update(part.rare_examples)
    return LeftOut(
        non_numeric=dict(sorted(non_numeric.items())), rare=rare, rare_examples=tuple(sorted(examples)[:SHOWN])
    )


def with_left_out(rows: pa.Table, left_out: LeftOut) -> pa.Table:
    """The rows with what was left out of them in the metadata of their schema."""
    return rows.replace_schema_metadata({METADATA_KEY: left_out.model_dump_json()} if left_out else None)


def left_out_of(rows: pa.Table) -> LeftOut:
    """What `with_left_out` stored; nothing without."""
    stored = (rows.schema.metadata or {}).get(METADATA_KEY)
    return LeftOut.model_validate_json(stored) if stored else NOTHING
