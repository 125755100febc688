"""The tables of a run: columns, types, units. Every world writes these, every analysis reads only these.

A run directory holds `arrivals.parquet` once (the workload is the same for every system) and one folder a
system with the tables below, `manifest.json` and `summary.json`. Times are seconds from the start of the
trace, memory is bytes, shares are fractions of one GPU's SMs in [0, 1].
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

SCHEMA_VERSION: Final = 1
"""Raised by one whenever a column changes its name, type, unit or meaning. Readers refuse other versions."""

DROPPED: Final = -1
"""`batches.instance` of requests that no instance served."""

BATCH: Final = struct.Struct("<iiqidd")
"""One row of `batches`, packed: function, instance, first, count, start_s, end_s.

The only table on a hot path: a world appends `BATCH.pack(...)` to a bytearray and hands that over now and
then.
"""

BATCH_DTYPE: Final = np.dtype(
    [
        ("function", "<i4"),
        ("instance", "<i4"),
        ("first", "<i8"),
        ("count", "<i4"),
        ("start_s", "<f8"),
        ("end_s", "<f8"),
    ]
)
"""The layout of `BATCH` for NumPy (packed, 36 bytes)."""


class RecordingError(ValueError):
    """A run directory that cannot be written, or is not what it should be; said in one line."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, its unit ("" for a plain number), and what it means."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a run, stored as `<name>.parquet`."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, marked with the schema version."""
        fields = [pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns]
        marks = {"dilu.table": self.name, "dilu.schema_version": str(SCHEMA_VERSION)}
        return pa.schema(fields, metadata=marks)

    @property
    def filename(self) -> str:
        """Name of the file in the system's folder."""
        return f"{self.name}.parquet"


ARRIVALS: Final = Table(
    "arrivals",
    "Every request, grouped by function in the manifest's order, sorted by time in each function.",
    (
        Column("function", pa.int32(), "", "index in the manifest's `functions`"),
        Column("arrival_s", pa.float64(), "s", "when the request arrived"),
        Column("output_tokens", pa.int32(), "tokens", "to generate; null: the function's own", nullable=True),
    ),
)

BATCHES: Final = Table(
    "batches",
    "Every batch that ended, and every group of requests that was dropped, in the order in which they ended. "
    "A batch is contiguous: requests first .. first + count - 1 of its function. Requests in no row are "
    "unfinished.",
    (
        Column("function", pa.int32(), "", "index in the manifest's `functions`"),
        Column("instance", pa.int32(), "", "who served it; -1: these requests were dropped"),
        Column("first", pa.int64(), "", "index of the first request in the function's arrivals"),
        Column("count", pa.int32(), "requests", "number of requests"),
        Column("start_s", pa.float64(), "s", "when the batch began to run; when dropped: as end_s"),
        Column("end_s", pa.float64(), "s", "when the batch ended, or its requests were dropped"),
    ),
)

INSTANCES: Final = Table(
    "instances",
    "Every launch that a GPU took.",
    (
        Column("instance", pa.int32(), "", "counted from 0 in the order of launches"),
        Column("function", pa.int32(), "", "index in the manifest's `functions`; -1: only placed"),
        Column("launch_s", pa.float64(), "s", "when it was placed; it takes memory and request from here on"),
        Column("ready_s", pa.float64(), "s", "when it could serve; null: never", nullable=True),
        Column("retire_s", pa.float64(), "s", "when it left its GPUs; null: alive at the end", nullable=True),
        Column("cold", pa.bool_(), "", "a cold start; instances that are warm when the run starts are none"),
        Column("batch", pa.int32(), "requests", "largest batch (IBS)"),
        Column("request", pa.float64(), "share", "floor share"),
        Column("limit", pa.float64(), "share", "ceiling share"),
        Column("gpus", pa.list_(pa.int32()), "", "the GPUs it sits on"),
        Column("memory_bytes", pa.list_(pa.int64()), "B", "memory on each of these GPUs"),
    ),
)

GPUS: Final = Table(
    "gpus",
    "One row at each change of what is allocated on a GPU; it holds until the GPU's next row. A GPU without "
    "a row was never used. The last row of each used GPU stands at the end of the run.",
    (
        Column("time_s", pa.float64(), "s", "when it changed"),
        Column("gpu", pa.int32(), "", "index of the GPU"),
        Column("instances", pa.int32(), "", "residents"),
        Column("need", pa.float64(), "share", "sum of the residents' profiled requests: what they need"),
        Column("request", pa.float64(), "share", "sum of what the system reserves for them"),
        Column("limit", pa.float64(), "share", "sum of their limits; may exceed 1"),
        Column("memory_bytes", pa.int64(), "B", "memory allocated"),
        Column("active_share_s", pa.float64(), "share s", "integral of the share in use, from 0 to time_s"),
    ),
)

QUOTAS: Final = Table(
    "quotas",
    "Every quota that the vertical policy set. Written only where the experiment asks for it.",
    (
        Column("time_s", pa.float64(), "s", "from when it holds"),
        Column("gpu", pa.int32(), "", "index of the GPU"),
        Column("instance", pa.int32(), "", "number of the instance"),
        Column("quota", pa.float64(), "share", "the share it may use now"),
    ),
)

TRAINING: Final = Table(
    "training",
    "Every training instance that became ready.",
    (
        Column("function", pa.int32(), "", "index in the manifest's `functions`"),
        Column("instance", pa.int32(), "", "number of the instance"),
        Column("start_s", pa.float64(), "s", "when it was ready"),
        Column("end_s", pa.float64(), "s", "when it was done; else when it was retired or the run ended"),
        Column("steps", pa.float64(), "steps", "steps done, the part of the last one included"),
        Column("done", pa.bool_(), "", "did all its iterations"),
        Column("workers", pa.int32(), "", "GPUs it trained on"),
    ),
)

SYSTEM_TABLES: Final = (BATCHES, INSTANCES, GPUS, QUOTAS, TRAINING)
"""The tables in a system's folder. `QUOTAS` may be absent."""
