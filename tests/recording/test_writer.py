from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recording import (
    BATCH,
    Manifest,
    MemoryRecorder,
    RecordedCluster,
    RecordedFunction,
    Recorder,
    RecordingError,
    TableSink,
)
from recording import writer as writer_module
from recording.reader import FolderTables
from recording.schema import BATCHES, GPUS, INSTANCES, QUOTAS, SYSTEM_TABLES, TRAINING

MANIFEST = Manifest(
    system="dilu",
    world="sim",
    seed=7,
    simulated_s=60.0,
    cluster=RecordedCluster(nodes=1, gpus_per_node=2, gpu="A100", gpu_memory_bytes=40),
    functions=(RecordedFunction(name="f", kind="inference", slo_s=0.1),),
)


def fill(sink: TableSink, *, pieces: int = 1, rows: int = 1000) -> None:
    """Write the same rows, handing the batches over in so many pieces."""
    packed = b"".join(BATCH.pack(0, i % 3, 4 * i, 4, i * 0.5, i * 0.5 + 0.25) for i in range(rows))
    cut = np.linspace(0, rows, pieces + 1).astype(int) * BATCH.size
    for start, end in itertools.pairwise(cut):
        sink.batches(bytearray(packed[start:end]))
    for i in range(rows):
        sink.gpu(i * 0.5, i % 2, 1, 0.3, 0.3, 0.6, 10, i * 0.1)
        sink.quota(i * 0.5, i % 2, i % 3, 0.5)
    sink.instance(0, 0, 0.0, 1.5, None, True, 4, 0.3, 0.6, (0, 1), (10, 12))
    sink.instance(1, 0, 0.0, None, 2.0, False, 4, 0.3, 0.6, [1], [10])
    sink.training(0, 2, 1.5, 60.0, 12.5, False, 2)


def written(folder: Path, fill: Callable[[TableSink], None], *, quotas: bool = False) -> dict[str, bytes]:
    """Record into `folder` and return the bytes of every file."""
    with Recorder(folder, quotas=quotas) as recorder:
        fill(recorder)
        recorder.close(MANIFEST)
        recorder.publish({"system": "dilu"})
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_equal_rows_make_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files do not depend on the sizes of the pieces in which a world hands its batches over."""
    monkeypatch.setattr(writer_module, "ROW_GROUP", 128)
    once = written(tmp_path / "once", lambda sink: fill(sink, pieces=1))
    often = written(tmp_path / "often", lambda sink: fill(sink, pieces=333))
    assert once == often


def test_files_hold_what_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Recorder` stores every row of every table in order, across row groups; nulls and lists survive."""
    monkeypatch.setattr(writer_module, "ROW_GROUP", 64)
    memory = MemoryRecorder(quotas=True)
    fill(memory)
    written(tmp_path / "dilu", fill, quotas=True)
    stored = FolderTables(tmp_path / "dilu")
    for table in SYSTEM_TABLES:
        assert stored.table(table).equals(memory.table(table)), table.name
        assert memory.table(table).num_rows > 0
    assert b"".join(rows.tobytes() for rows in stored.batch_chunks()) == next(memory.batch_chunks()).tobytes()
    assert stored.table(INSTANCES).column("ready_s").to_pylist() == [1.5, None]
    assert stored.table(INSTANCES).column("gpus").to_pylist() == [[0, 1], [1]]


def test_quotas_are_kept_only_where_asked_for(tmp_path: Path) -> None:
    """Without `quotas` there is no quota table, although the world spoke of quotas."""
    assert QUOTAS.filename not in written(tmp_path / "without", fill)
    assert QUOTAS.filename in written(tmp_path / "with", fill, quotas=True)


def test_tables_of_an_empty_run_exist(tmp_path: Path) -> None:
    """A run in which nothing happened has all its tables, with no rows."""
    files = written(tmp_path / "dilu", lambda sink: None)
    assert {t.filename for t in (BATCHES, INSTANCES, GPUS, TRAINING)} < set(files)


def test_an_aborted_run_leaves_nothing(tmp_path: Path) -> None:
    """An error inside the recording removes everything it had written, the staging folder included."""

    def interrupted(sink: TableSink) -> None:
        fill(sink)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "dilu", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_an_unpublished_run_leaves_nothing(tmp_path: Path) -> None:
    """A recording that is closed but never published does not appear."""
    with Recorder(tmp_path / "dilu") as recorder:
        recorder.close(MANIFEST)
        assert not (tmp_path / "dilu").exists()
    assert list(tmp_path.iterdir()) == []


def test_results_are_never_overwritten(tmp_path: Path) -> None:
    """A folder that exists, or whose parent does not, is refused in one line that names it."""
    (tmp_path / "dilu").mkdir()
    with pytest.raises(RecordingError, match=r"dilu: exists already"):
        Recorder(tmp_path / "dilu")
    with pytest.raises(RecordingError, match=r"nowhere: no such folder"):
        Recorder(tmp_path / "nowhere" / "dilu")
