from __future__ import annotations

import numpy as np

import recording
from recording import BATCH, BATCH_DTYPE, NullRecorder
from recording.schema import ARRIVALS, BATCHES, SYSTEM_TABLES


def test_the_packed_row_is_the_table_row() -> None:
    """The struct, the NumPy layout and the Arrow schema of `batches` name the same columns, byte for byte."""
    row = np.frombuffer(BATCH.pack(1, -1, 2**40, 3, 0.5, 1.5), BATCH_DTYPE)[0]
    assert row.tolist() == (1, -1, 2**40, 3, 0.5, 1.5)
    assert BATCH_DTYPE.names == tuple(column.name for column in BATCHES.columns)
    for column in BATCHES.columns:
        assert BATCH_DTYPE[column.name] == column.type.to_pandas_dtype(), column.name


def test_every_column_says_what_it_means() -> None:
    """Each column of each table has a meaning, and a unit wherever its name has one."""
    for table in (*SYSTEM_TABLES, ARRIVALS):
        assert table.meaning
        for column in table.columns:
            assert column.meaning, column.name
            if column.name.endswith("_s"):
                assert column.unit in ("s", "share s")
            if column.name.endswith("_bytes"):
                assert column.unit == "B"


def test_a_null_recorder_takes_everything() -> None:
    """`NullRecorder` accepts every row and asks for no quotas."""
    sink: recording.TableSink = NullRecorder()
    sink.batches(BATCH.pack(0, 0, 0, 1, 0.0, 1.0))
    sink.gpu(0.0, 0, 1, 0.1, 0.1, 0.2, 1, 0.0)
    assert not sink.records_quotas


def test_the_public_face() -> None:
    """The names that others import are pinned."""
    assert set(recording.__all__) == {
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
    }
