"""Reads a run: lazily, checked, from files or from memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recording.arrivals import Arrivals, first_line, read_arrivals
from recording.columns import batches_of_table
from recording.manifest import MANIFEST_FILE, SUMMARY_FILE, Manifest, read_json, read_manifest
from recording.requests import Requests, requests
from recording.schema import ARRIVALS, BATCHES, GPUS, INSTANCES, QUOTAS, TRAINING, RecordingError, Table
from recording.writer import ROW_GROUP


class TableSource(Protocol):
    """Where the tables of one system come from: a folder, or a `MemoryRecorder`."""

    def batch_chunks(self) -> Iterator[NDArray[np.void]]:
        """Rows of `batches` (`BATCH_DTYPE`), piece by piece."""

    def table(self, table: Table) -> pa.Table:
        """One whole table."""


class FolderTables:
    """The tables in a system's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batch_chunks(self) -> Iterator[NDArray[np.void]]:
        """Rows of `batches`, a row group at a time: a run need not fit into memory.

        Raises
        ------
        RecordingError
            If the file is missing, corrupt, or of another schema version.
        """
        with self._open(BATCHES) as file:
            try:
                for batch in file.iter_batches(batch_size=ROW_GROUP):
                    yield batches_of_table(batch)
            except (OSError, pa.ArrowInvalid) as error:
                raise self._unreadable(BATCHES, error) from None

    def table(self, table: Table) -> pa.Table:
        """One whole table.

        Raises
        ------
        RecordingError
            If the file is missing, corrupt, or of another schema version.
        """
        with self._open(table) as file:
            try:
                return file.read()
            except (OSError, pa.ArrowInvalid) as error:
                raise self._unreadable(table, error) from None

    def _open(self, table: Table) -> pq.ParquetFile:
        path = self.folder / table.filename
        try:
            file = pq.ParquetFile(path)
        except FileNotFoundError:
            raise RecordingError(f"{path}: not found") from None
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(table, error) from None
        if not file.schema_arrow.equals(table.arrow):
            found, allowed = ", ".join(file.schema_arrow.names), ", ".join(table.arrow.names)
            raise RecordingError(
                f"{path}: found columns {found}; allowed are {allowed}, typed as in the schema"
            )
        return file

    def _unreadable(self, table: Table, error: Exception) -> RecordingError:
        return RecordingError(
            f"{self.folder / table.filename}: cannot be read as Parquet ({first_line(error)})"
        )


class Run:
    """One system's run: manifest, workload and tables, each read when first asked for.

    Parameters
    ----------
    manifest
        What ran.
    tables
        Where the tables come from.
    arrivals
        The workload, or the `arrivals.parquet` to read it from.
    folder
        Where the run is stored, if it is.
    """

    def __init__(
        self, manifest: Manifest, tables: TableSource, arrivals: Arrivals | Path, folder: Path | None = None
    ) -> None:
        self.manifest = manifest
        self.tables = tables
        self.folder = folder
        self._arrivals = arrivals

    @cached_property
    def arrivals(self) -> Arrivals:
        """The workload as columns."""
        if isinstance(self._arrivals, Arrivals):
            return self._arrivals
        return read_arrivals(self._arrivals, len(self.manifest.functions))

    @cached_property
    def request_columns(self) -> Requests:
        """What happened to each request, as columns in the order of `arrivals`."""
        return requests(self.tables.batch_chunks(), self.arrivals)

    @cached_property
    def batches(self) -> pd.DataFrame:
        """The table `batches`, whole; `tables.batch_chunks()` gives it in pieces."""
        return self._frame(BATCHES)

    @cached_property
    def instances(self) -> pd.DataFrame:
        """The table `instances`."""
        return self._frame(INSTANCES)

    @cached_property
    def gpus(self) -> pd.DataFrame:
        """The table `gpus`."""
        return self._frame(GPUS)

    @cached_property
    def quotas(self) -> pd.DataFrame:
        """The table `quotas`; a RecordingError where the run did not keep it."""
        return self._frame(QUOTAS)

    @cached_property
    def training(self) -> pd.DataFrame:
        """The table `training`."""
        return self._frame(TRAINING)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` says.

        Raises
        ------
        RecordingError
            If the run is not stored, or the file is missing, corrupt, or names no system.
        """
        if self.folder is None:
            raise RecordingError("summary: this run is kept in memory only")
        path = self.folder / SUMMARY_FILE
        summary = read_json(path)
        if not isinstance(summary.get("system"), str):
            raise RecordingError(f"{path}: system: found {summary.get('system')!r}, allowed is a name")
        return summary

    def requests(self) -> pd.DataFrame:
        """One row a request: function, arrival_s, start_s, end_s, latency_s, dropped.

        `latency_s` is end - arrival of completed requests and NaN for the others; start_s and end_s of an
        unfinished request are NaN.
        """
        columns = self.request_columns
        names = pd.Index([function.name for function in self.manifest.functions], dtype=object)
        codes = np.repeat(np.arange(len(names)), np.diff(self.arrivals.offsets))
        latency_s = np.where(columns.dropped, np.nan, columns.end_s - self.arrivals.arrival_s)
        return pd.DataFrame(
            {
                "function": pd.Categorical.from_codes(codes, names),
                "arrival_s": self.arrivals.arrival_s,
                "start_s": columns.start_s,
                "end_s": columns.end_s,
                "latency_s": latency_s,
                "dropped": columns.dropped,
            }
        )

    def _frame(self, table: Table) -> pd.DataFrame:
        frame: pd.DataFrame = self.tables.table(table).to_pandas()
        return frame


def load(folder: Path | str, *, arrivals: Arrivals | None = None) -> Run:
    """Open the run of one system.

    Parameters
    ----------
    folder
        A system's folder, or a run directory that holds exactly one system.
    arrivals
        The workload, where it is at hand; it is read from beside the folder otherwise.

    Raises
    ------
    RecordingError
        If there is none, or several, or its manifest is unreadable or of another schema version.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_FILE).exists():
        runs = load_all(folder)
        if len(runs) > 1:
            systems = ", ".join(run.manifest.system for run in runs)
            raise RecordingError(
                f"{folder}: found {len(runs)} systems ({systems}), allowed is the folder of one"
            )
        return runs[0]
    manifest = read_manifest(folder / MANIFEST_FILE)
    where = folder.parent / ARRIVALS.filename if arrivals is None else arrivals
    return Run(manifest, FolderTables(folder), where, folder)


def load_all(folder: Path | str) -> list[Run]:
    """Open every system of a run directory, sorted by the names of their folders.

    Raises
    ------
    RecordingError
        If the folder does not exist or holds no system.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder")
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}") if path.parent.name[0] != ".")
    if not found:
        raise RecordingError(f"{folder}: no run in it; allowed are the folders that `dilu replay` writes")
    return [load(system) for system in found]
