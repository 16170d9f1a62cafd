"""Panels of as_of months, built once and stored for whatever reads the same rows later.

The name of a stored panel has a key of all that it depends on: the content of the months, the choices of the spec that
a panel knows of, and the code that built it. So one that is found need not be compared with the rows again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow as pa

from cleverbetter_dagster import betting, dataset
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.artefacts import ArtefactStore

FOLDER = "panels"
CONTENT = b"cleverbetter.content"
"""Key of a table's metadata that holds the hash of its content."""


def identified(rows: pa.Table) -> pa.Table:
    """The rows of a month with a hash of their content in the metadata of their schema, which Parquet stores."""
    written, plain = pa.BufferOutputStream(), rows.replace_schema_metadata(None)
    with pa.ipc.new_stream(written, plain.schema) as stream:
        stream.write_table(plain)
    content = hashlib.sha256(written.getvalue()).hexdigest()
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), CONTENT: content})


def panel_key(months: Mapping[str, pa.Table], as_of: AsOf, spec: DatasetSpec) -> str | None:
    """The key of the panel of these months up to `as_of`; None if a month does not tell its content."""
    known = {month: (table.schema.metadata or {}).get(CONTENT) for month, table in months.items() if month <= as_of.key}
    if None in known.values():
        return None
    choices = f"{spec.decision_time} {spec.return_threshold!r} {_code()}"
    content = [f"{month} {known[month]!r}" for month in sorted(known)]
    return hashlib.sha256("\n".join([choices, *content]).encode()).hexdigest()[:32]


def store_panel(settings: Settings, as_of: AsOf, key: str, panel: pd.DataFrame) -> None:
    """Store the panel of an as_of under its key."""
    ArtefactStore(settings.artefacts_base).write_table(_path(as_of, key), pa.Table.from_pandas(panel))


def stored_panel(settings: Settings, as_of: AsOf, key: str) -> pd.DataFrame | None:
    """The panel that was stored under the key; None if there is none."""
    store, path = ArtefactStore(settings.artefacts_base), _path(as_of, key)
    return store.read_tables([path]).to_pandas() if store.exists(path) else None


def forget_panels(settings: Settings, keep: Iterable[str]) -> None:
    """Remove the panels of all months but those to keep. They are built again by whoever needs them."""
    store, kept = ArtefactStore(settings.artefacts_base), set(keep)
    for name in store.names(FOLDER, ".parquet"):
        if name.partition("_")[0] not in kept:
            store.delete(f"{FOLDER}/{name}.parquet")


def _path(as_of: AsOf, key: str) -> str:
    return f"{FOLDER}/{as_of.key}_{key}.parquet"


@cache
def _code() -> str:
    """A hash of the code that panels are built by, and of what it builds on."""
    folders = [Path(package.__path__[0]) for package in (betting, dataset)]
    sources = [file.read_bytes() for folder in folders for file in sorted(folder.rglob("*.py"))]
    versions = f"{pd.__version__} {pa.__version__}".encode()
    return hashlib.sha256(b"\0".join([versions, *sources])).hexdigest()
