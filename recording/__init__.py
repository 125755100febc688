"""What is kept of a run: the schema of its tables, their writer and their reader (Parquet and a manifest)."""

from recording.arrivals import Arrivals, write_arrivals
from recording.manifest import Manifest, RecordedCluster, RecordedFunction, write_json
from recording.memory import MemoryRecorder, NullRecorder
from recording.reader import Run, load, load_all
from recording.requests import Requests, requests_of_batches
from recording.schema import BATCH, BATCH_DTYPE, DROPPED, SCHEMA_VERSION, RecordingError
from recording.sink import RowSink, TableSink
from recording.writer import Recorder

__all__ = [
    "BATCH",
    "BATCH_DTYPE",
    "DROPPED",
    "SCHEMA_VERSION",
    "Arrivals",
    "Manifest",
    "MemoryRecorder",
    "NullRecorder",
    "RecordedCluster",
    "RecordedFunction",
    "Recorder",
    "RecordingError",
    "Requests",
    "RowSink",
    "Run",
    "TableSink",
    "load",
    "load_all",
    "requests_of_batches",
    "write_arrivals",
    "write_json",
]
