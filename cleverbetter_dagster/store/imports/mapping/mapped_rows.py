"""The rows of an export, in our columns and units."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from cleverbetter_dagster.store.imports.mapping.bets import BetWindows
from cleverbetter_dagster.store.imports.mapping.columns import MappedColumns
from cleverbetter_dagster.store.imports.mapping.documents import open_export
from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping
from cleverbetter_dagster.store.imports.readers.row_file import FileBatch, RowFile


class MappedRows(RowFile):
    """An export as a file of backtest rows, or of market features. The line of a row is that of the export."""

    def __init__(self, path: Path, mapping: ImportMapping, *, features: bool = False) -> None:
        """Open an export and match it with the mapping.

        Raises:
            ImportFileError: it cannot be read, or lacks columns that the mapping names.
        """
        self.path = path
        export = open_export(path, mapping.file, mapping.named)
        self._export = BetWindows(export, mapping, mapping.bets) if mapping.bets else export
        self._columns = MappedColumns(mapping, path, self._export.names, features=features)
        self.names = tuple(self._columns.apply(self._export.sample().slice(0, 0)).column_names)

    def _batches(self, columns: Collection[str]) -> Iterator[FileBatch]:
        for batch in self._export.batches({*self._columns.read, *columns}):
            table = self._columns.apply(batch.table)
            yield replace(batch, table=table.select([name for name in table.column_names if name in columns]))
