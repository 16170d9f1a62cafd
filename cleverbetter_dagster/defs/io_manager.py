"""The one IO manager: Arrow tables as Parquet, records as JSON, one file a partition, under any fsspec URL."""

from typing import Any, get_args

import dagster as dg
import pyarrow as pa
from pydantic import Field

from cleverbetter_dagster.services.records import Record
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore


class ArtefactIOManager(dg.ConfigurableIOManager):
    """Stores `{partition: pa.Table | record}` and loads the same mapping, one entry for each partition.

    Assets return a mapping over the months of their run (and over others, with the metadata `may_add_partitions`),
    and take mappings annotated `dict[str, pa.Table]` or `dict[str, SomeRecord]`, so that a run over one month and a
    run over a range are the same code. An asset without partitions returns a table or a record, and is taken as that.
    """

    base_url: str | None = Field(
        default=None,
        description="Folder or fsspec URL (s3://bucket/prefix) of the Parquet and JSON files; default null: the "
        "setting CLEVERBETTER_ARTEFACTS_URL.",
    )

    def _store(self) -> ArtefactStore:
        return ArtefactStore(self.base_url or load_settings().artefacts_base)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if not context.has_asset_partitions:
            _write(self._store(), context.asset_key.path[-1], obj)
            return
        expected = set(context.asset_partition_keys)
        added = set(obj) - expected if (context.definition_metadata or {}).get("may_add_partitions") else set()
        if set(obj) != expected | added:
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} returned months {sorted(obj)}, the run asked "
                f"for {sorted(expected)}"
            )
        store = self._store()
        for month, value in obj.items():
            _write(store, f"{context.asset_key.path[-1]}/{month}", value)

    def load_input(self, context: dg.InputContext) -> Any:
        if not context.has_asset_partitions:
            whole = context.dagster_type.typing_type
            suffix = "parquet" if whole is pa.Table else "json"
            return _read(self._store(), f"{context.asset_key.path[-1]}.{suffix}", whole)
        kind = get_args(context.dagster_type.typing_type)[1]
        months = context.asset_partition_keys
        optional = bool((context.definition_metadata or {}).get("may_lack_partitions"))
        store = self._store()
        suffix = "parquet" if kind is pa.Table else "json"
        paths = {month: f"{context.asset_key.path[-1]}/{month}.{suffix}" for month in months}
        if optional:
            paths = {month: path for month, path in paths.items() if store.exists(path)}
        return {month: _read(store, path, kind) for month, path in paths.items()}


def _write(store: ArtefactStore, name: str, value: Any) -> None:
    if isinstance(value, pa.Table):
        store.write_table(f"{name}.parquet", value)
    else:
        store.write_json(f"{name}.json", value)


def _read(store: ArtefactStore, path: str, kind: type) -> Any:
    if issubclass(kind, Record):
        return kind.read(store.read_json(path), f"The artefact {store.url(path)}")
    return store.read_tables([path])
