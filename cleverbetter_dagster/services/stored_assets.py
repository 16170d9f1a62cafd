"""What the assets stored, for callers outside of a Dagster run: commands, the API, a promotion by hand."""

from collections.abc import Sequence
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.schema import CREATED_AT, REQUIRED, STRATEGY, rows_frame
from cleverbetter_dagster.errors import NotStored
from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
from cleverbetter_dagster.services.records import ComparisonRecord, Record
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore

ROWS, SPLIT, COMPARISON = "training_rows", "temporal_split", "model_comparison"
TABLES = (ROWS, *(f"{family}_evaluation" for family in FAMILIES))
"""Assets stored as Parquet; the others are JSON."""

AnyRecord = TypeVar("AnyRecord", bound=Record)


def stored_months(settings: Settings, asset: str) -> list[str]:
    """The months of which `asset` was materialised, in order of time."""
    return ArtefactStore(settings.artefacts_base).names(asset, _suffix(asset))


def is_stored(settings: Settings, asset: str, as_of: AsOf) -> bool:
    """Whether `asset` was materialised for the month."""
    return ArtefactStore(settings.artefacts_base).exists(_path(asset, as_of.key))


def stored_rows(settings: Settings, as_of: AsOf) -> dict[str, pa.Table]:
    """The materialised `training_rows` of every month up to `as_of`, by month."""
    store = ArtefactStore(settings.artefacts_base)
    months = [month for month in store.names(ROWS, ".parquet") if month <= as_of.key]
    return {month: store.read_tables([_path(ROWS, month)]) for month in months}


def stored_windows(settings: Settings, months: Sequence[str], strategy: str | None = None) -> pd.DataFrame:
    """The materialised rows of these months without market features, of one strategy or of all, as canonical rows."""
    columns = {*REQUIRED, CREATED_AT}
    where = None if strategy is None else pc.field(STRATEGY) == strategy
    paths = [_path(ROWS, month) for month in months]
    table = ArtefactStore(settings.artefacts_base).read_tables(paths, columns, where)
    return rows_frame(table.replace_schema_metadata(None))


def newest_rows(settings: Settings) -> tuple[str, pa.Table] | None:
    """The newest month of `training_rows` and its rows; None before the first load."""
    months = stored_months(settings, ROWS)
    if not months:
        return None
    return months[-1], ArtefactStore(settings.artefacts_base).read_tables([_path(ROWS, months[-1])])


def stored_evaluation(settings: Settings, family: str, as_of: AsOf) -> pa.Table:
    """The scored test rows of a family at `as_of`, signed with the model they judge.

    Raises:
        UnknownFamily: there is no such family.
        NotStored: it was never evaluated as of that month.
    """
    path = _path(f"{get_family(family).name}_evaluation", as_of.key)
    return ArtefactStore(settings.artefacts_base).read_tables([path])


def stored_record(settings: Settings, asset: str, as_of: AsOf, kind: type[AnyRecord]) -> AnyRecord:
    """The record an asset stored for the month.

    Raises:
        NotStored: the asset was not materialised for it.
        DataError: another release stored it.
    """
    store, path = ArtefactStore(settings.artefacts_base), _path(asset, as_of.key)
    return kind.read(store.read_json(path), f"The artefact {store.url(path)}")


def stored_comparison(settings: Settings, as_of: AsOf | None = None) -> ComparisonRecord:
    """The leaderboard of `as_of`, or of the newest month that has one.

    Raises:
        NotStored: there is none.
        DataError: another release stored it.
    """
    if as_of is None:
        months = stored_months(settings, COMPARISON)
        if not months:
            raise NotStored("No month has a leaderboard yet.")
        as_of = AsOf.parse(months[-1])
    return stored_record(settings, COMPARISON, as_of, ComparisonRecord)


def _suffix(asset: str) -> str:
    return ".parquet" if asset in TABLES else ".json"


def _path(asset: str, month: str) -> str:
    return f"{asset}/{month}{_suffix(asset)}"
