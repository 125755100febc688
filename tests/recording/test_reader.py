from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recording import (
    BATCH,
    Arrivals,
    Manifest,
    RecordedCluster,
    RecordedFunction,
    Recorder,
    RecordingError,
    load,
    load_all,
    write_arrivals,
)

FUNCTIONS = (
    RecordedFunction(name="f", kind="inference", slo_s=0.1),
    RecordedFunction(name="g", kind="inference", slo_s=0.1),
)
ARRIVALS = Arrivals.from_functions([np.array([0.0, 1.0, 2.0]), np.array([0.5])])


def record(folder: Path, *, system: str = "dilu") -> Path:
    """Record a run of four requests: two served in one batch, one dropped, one unfinished."""
    folder.mkdir(exist_ok=True)
    manifest = Manifest(
        system=system,
        world="sim",
        seed=0,
        simulated_s=10.0,
        cluster=RecordedCluster(nodes=1, gpus_per_node=1, gpu="A100", gpu_memory_bytes=40),
        functions=FUNCTIONS,
    )
    with Recorder(folder / system) as recorder:
        recorder.batches(BATCH.pack(0, 5, 0, 2, 1.0, 1.5) + BATCH.pack(1, -1, 0, 1, 3.0, 3.0))
        recorder.close(manifest)
        recorder.publish({"system": system})
    write_arrivals(folder / "arrivals.parquet", ARRIVALS)
    return folder / system


def test_every_request_has_one_row(tmp_path: Path) -> None:
    """`requests()` tells completed, dropped and unfinished requests apart; latency is end - arrival."""
    frame = load(record(tmp_path)).requests()
    assert frame["function"].tolist() == ["f", "f", "f", "g"]
    assert frame["arrival_s"].tolist() == [0.0, 1.0, 2.0, 0.5]
    assert frame["dropped"].tolist() == [False, False, False, True]
    np.testing.assert_array_equal(frame["latency_s"], [1.5, 0.5, np.nan, np.nan])
    np.testing.assert_array_equal(frame["end_s"], [1.5, 1.5, np.nan, 3.0])


def test_a_run_directory_opens_by_itself_or_by_system(tmp_path: Path) -> None:
    """One system in a run directory is found; of several all are listed, and `load` asks which."""
    record(tmp_path)
    assert load(tmp_path).summary == {"system": "dilu"}
    record(tmp_path, system="exclusive")
    assert [run.manifest.system for run in load_all(tmp_path)] == ["dilu", "exclusive"]
    with pytest.raises(RecordingError, match=r"found 2 systems \(dilu, exclusive\)"):
        load(tmp_path)


def read_everything(folder: Path) -> None:
    """Read every file of a run."""
    run = load(folder)
    run.requests()
    assert len(run.instances) == len(run.gpus) == 0


@pytest.mark.parametrize("name", ["batches.parquet", "instances.parquet", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "cut short", "not the format"])
def test_damaged_files_are_named(tmp_path: Path, name: str, damage: str) -> None:
    """A missing, truncated or foreign file gives one line that names it, whatever is read."""
    folder = record(tmp_path)
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut short" else b"\xff\x00" * 40)
    with pytest.raises(RecordingError) as caught:
        read_everything(folder)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value) or damage == "missing"


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    """A run of another schema version is refused, naming both versions."""
    path = record(tmp_path) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(RecordingError, match=r"schema_version: found 99, this version reads 1"):
        load(tmp_path)


def test_a_manifest_lacking_a_key_is_refused(tmp_path: Path) -> None:
    """A manifest without a key that readers rely on is refused, naming the key."""
    path = record(tmp_path) / "manifest.json"
    document = json.loads(path.read_text())
    del document["cluster"]["nodes"]
    path.write_text(json.dumps(document))
    with pytest.raises(RecordingError, match=r"cluster\.nodes: field required"):
        load(tmp_path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    """A table with other columns than the schema's is refused, naming the file."""
    path = record(tmp_path) / "gpus.parquet"
    pq.write_table(pa.table({"time_s": [1.0]}), path)
    with pytest.raises(RecordingError, match=r"gpus\.parquet: found columns time_s; allowed are time_s, gpu"):
        load(tmp_path).gpus  # noqa: B018 -- reading it is the point


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (BATCH.pack(0, 1, 0, 2, 1.0, 2.0) + BATCH.pack(0, 1, 1, 1, 2.0, 3.0), "a request stands in two rows"),
        (BATCH.pack(0, 1, 2, 2, 1.0, 2.0), r"requests 2 \+ 2 of function 0 never arrived"),
        (BATCH.pack(2, 1, 0, 1, 1.0, 2.0), "an index outside the manifest's 2 functions"),
    ],
)
def test_contradictions_between_tables_are_found(tmp_path: Path, rows: bytes, message: str) -> None:
    """Batches that serve a request twice, or one that never arrived, are an error and no number."""
    folder = record(tmp_path)
    manifest = load(folder).manifest
    with Recorder(tmp_path / "wrong") as recorder:
        recorder.batches(rows)
        recorder.close(manifest)
        recorder.publish({})
    with pytest.raises(RecordingError, match=message):
        load(tmp_path / "wrong").requests()


def test_a_summary_names_its_system(tmp_path: Path) -> None:
    """A summary without a system is refused by its file."""
    folder = record(tmp_path)
    (folder / "summary.json").write_text("{}")
    with pytest.raises(RecordingError, match=r"summary\.json: system: found None, allowed is a name"):
        _ = load(folder).summary


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    """A folder without a run, or no folder at all, is said in one line."""
    with pytest.raises(RecordingError, match="no run in it"):
        load(tmp_path)
    with pytest.raises(RecordingError, match="no such folder"):
        load(tmp_path / "nowhere")
