"""The one IO manager: Arrow tables as Parquet, records as JSON, one file a partition, under any fsspec URL."""

from typing import Any, get_args

import dagster as dg
import pyarrow as pa

from cleverbetter_dagster.defs.failures import own_errors_are_final
from cleverbetter_dagster.services.records import Record
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.artefacts import ArtefactStore
from cleverbetter_dagster.store.filesystems import RUN_PATIENCE_SECONDS
from cleverbetter_dagster.store.home import prepare_state_folder


class ArtefactIOManager(dg.ConfigurableIOManager):
    """Stores `{partition: pa.Table | record}` and loads the same mapping, one entry for each partition.

    Assets return a mapping with the months of their run (and others, if their metadata has `may_add_partitions`), and
    take mappings annotated `dict[str, pa.Table]` or `dict[str, SomeRecord]`. So a run over one month and a run over a
    range are the same code. An asset without partitions returns one table or record.

    Where they lie, the setting CLEVERBETTER_ARTEFACTS_URL says and no run: whoever may start one could else have files
    read and written anywhere.

    Dagster's own UPathIOManager stores a single partition a run; ours stores a range.
    """

    def _store(self) -> ArtefactStore:
        settings = load_settings()
        prepare_state_folder(settings)
        return ArtefactStore(settings.artefacts_base, RUN_PATIENCE_SECONDS)

    @own_errors_are_final()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        store, name = self._store(), context.asset_key.path[-1]
        if not context.has_asset_partitions:
            _write(store, name, obj)
            return
        missing = set(context.asset_partition_keys) - set(obj)
        extra = set(obj) - set(context.asset_partition_keys)
        if missing or (extra and not (context.definition_metadata or {}).get("may_add_partitions")):
            raise dg.DagsterInvariantViolationError(
                f"{name} returned months {sorted(obj)}, the run is over {sorted(context.asset_partition_keys)}"
            )
        for month, value in obj.items():
            _write(store, f"{name}/{month}", value)

    @own_errors_are_final()
    def load_input(self, context: dg.InputContext) -> Any:
        store, name, kind = self._store(), context.asset_key.path[-1], context.dagster_type.typing_type
        if not context.has_asset_partitions:
            return _read(store, f"{name}.{_suffix(kind)}", kind)
        kind = get_args(kind)[1]
        paths = {month: f"{name}/{month}.{_suffix(kind)}" for month in context.asset_partition_keys}
        may_lack = (context.definition_metadata or {}).get("may_lack_partitions")
        return {month: _read(store, path, kind) for month, path in paths.items() if not may_lack or store.exists(path)}


def _suffix(kind: type) -> str:
    return "parquet" if kind is pa.Table else "json"


def _write(store: ArtefactStore, name: str, value: Any) -> None:
    if isinstance(value, pa.Table):
        store.write_table(f"{name}.parquet", value)
    else:
        store.write_json(f"{name}.json", value)


def _read(store: ArtefactStore, path: str, kind: type) -> Any:
    if issubclass(kind, Record):
        return kind.read(store.read_json(path), f"The artefact {store.url(path)}")
    return store.read_tables([path])
