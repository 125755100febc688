"""Writes a system's tables as Parquet while the run goes on, in little memory, complete or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from recording.columns import table_of_batches, table_of_rows
from recording.manifest import MANIFEST_FILE, SUMMARY_FILE, Manifest, write_json
from recording.schema import BATCH, BATCHES, QUOTAS, SYSTEM_TABLES, RecordingError, Table
from recording.sink import RowSink

ROW_GROUP: Final = 131_072
"""Rows of a row group, whatever the sizes in which rows come: equal rows make equal files."""


class TableWriter:
    """Writes one table in row groups of `ROW_GROUP` rows."""

    def __init__(self, path: Path, table: Table) -> None:
        self._writer = pq.ParquetWriter(path, table.arrow, compression="zstd", compression_level=1)
        self._pending: list[pa.Table] = []
        self._rows = 0

    def append(self, rows: pa.Table) -> None:
        """Write what makes full row groups, keep the rest."""
        self._pending.append(rows)
        self._rows += rows.num_rows
        if self._rows < ROW_GROUP:
            return
        pending = pa.concat_tables(self._pending)
        full = self._rows - self._rows % ROW_GROUP
        for start in range(0, full, ROW_GROUP):
            self._write(pending.slice(start, ROW_GROUP))
        self._pending = [pending.slice(full)]
        self._rows -= full

    def close(self) -> None:
        """Write the last row group and the file's footer."""
        if self._rows:
            self._write(pa.concat_tables(self._pending))
        self._writer.close()

    def _write(self, group: pa.Table) -> None:
        # One chunk a column: chunk borders would show in the file's pages.
        self._writer.write_table(group.combine_chunks(), row_group_size=ROW_GROUP)


class Recorder(RowSink):
    """Writes the tables of one system into `folder`, which appears only when everything is in it.

    Until then they grow in a hidden folder beside it (`staging`). Use it as a context manager: leaving it
    without `publish` throws everything away.

    Parameters
    ----------
    folder
        The folder to make; its parent must exist, the folder must not.
    quotas
        Whether to keep every quota as well.

    Raises
    ------
    RecordingError
        If the folder exists or its parent does not.

    Examples
    --------
    >>> with Recorder(Path("runs/quickstart-1/dilu")) as recorder:  # doctest: +SKIP
    ...     outcome = simulate(deployment, system, seed=0, recorder=recorder)
    ...     recorder.close(manifest)
    ...     recorder.publish(summarise(load(recorder.staging)))
    """

    def __init__(self, folder: Path, *, quotas: bool = False) -> None:
        if folder.exists():
            raise RecordingError(f"{folder}: exists already; results are never overwritten")
        if not folder.parent.is_dir():
            raise RecordingError(f"{folder.parent}: no such folder")
        self.folder = folder
        self.records_quotas = quotas
        self.staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        self._packed = bytearray()
        tables = [table for table in SYSTEM_TABLES if quotas or table is not QUOTAS]
        self._writers = {table.name: TableWriter(self.staging / table.filename, table) for table in tables}
        self._rows: dict[str, list[tuple[object, ...]]] = {table.name: [] for table in tables}

    def batches(self, buffer: bytes | bytearray) -> None:
        """Take packed rows of `batches`."""
        self._packed += buffer
        if len(self._packed) >= ROW_GROUP * BATCH.size:
            self._flush_batches()

    def row(self, table: Table, values: tuple[object, ...]) -> None:
        """Take one row of another table."""
        rows = self._rows[table.name]
        rows.append(values)
        if len(rows) >= ROW_GROUP:
            self._flush_rows(table)

    def close(self, manifest: Manifest) -> None:
        """Finish the tables and write the manifest; both can be read in `staging` from here on."""
        self._flush_batches()
        for table in SYSTEM_TABLES:
            if table is not BATCHES and table.name in self._writers:
                self._flush_rows(table)
        self._close_writers()
        write_json(self.staging / MANIFEST_FILE, manifest.model_dump(mode="json"))

    def publish(self, summary: Mapping[str, Any]) -> Path:
        """Add `summary.json` and give the folder its name; returns it."""
        write_json(self.staging / SUMMARY_FILE, summary)
        self.staging.chmod(0o755)  # made for its owner only, as temporary folders are
        return self.staging.rename(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, pa.ArrowInvalid):
            self._close_writers()
        shutil.rmtree(self.staging, ignore_errors=True)

    def _flush_batches(self) -> None:
        self._writers[BATCHES.name].append(table_of_batches(bytes(self._packed)))
        self._packed.clear()

    def _flush_rows(self, table: Table) -> None:
        self._writers[table.name].append(table_of_rows(self._rows[table.name], table))
        self._rows[table.name].clear()

    def _close_writers(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()
