from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recording import Manifest, Recorder, RecordingError, load
from recording.manifest import RecordedMixedCluster

MIXED: dict[str, Any] = {
    "nodes": 3,
    "gpus_per_node": 4,
    "gpus": 6,
    "gpus_by_type": {"G2": 4, "T4": 2},
    "groups": [
        {"nodes": 2, "gpus_per_node": 1, "gpu": "T4", "gpu_memory_bytes": 16},
        {"nodes": 1, "gpus_per_node": 4, "gpu": "G2", "gpu_memory_bytes": 0},
    ],
}


def record(folder: Path, cluster: dict[str, Any]) -> Manifest:
    """Write a run on this cluster, and read its manifest."""
    manifest = Manifest.model_validate(
        {"system": "fgd", "world": "sim", "seed": 0, "simulated_s": 1.0, "cluster": cluster, "functions": ()}
    )
    with Recorder(folder / "run") as recorder:
        recorder.close(manifest)
        recorder.publish({"system": "fgd"})
    return load(folder / "run").manifest


def test_a_cluster_of_nodes_that_differ_is_kept(tmp_path: Path) -> None:
    """What is read is what was written, and says of each slot's GPU how much memory it has."""
    manifest = record(tmp_path, MIXED)
    cluster = manifest.cluster
    assert isinstance(cluster, RecordedMixedCluster)
    assert cluster.model_dump(mode="json") == MIXED
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["cluster"] == MIXED
    assert cluster.most_memory_bytes == 16
    assert cluster.memory_bytes_of(np.array([0, 4, 8, 11])).tolist() == [16, 16, 0, 0]


def test_a_cluster_of_nodes_that_are_alike_is_kept_as_ever(tmp_path: Path) -> None:
    """It has four keys and no others."""
    alike = {"nodes": 2, "gpus_per_node": 4, "gpu": "A100", "gpu_memory_bytes": 40}
    cluster = record(tmp_path, alike).cluster
    assert cluster.model_dump(mode="json") == alike
    assert cluster.most_memory_bytes == 40
    assert cluster.memory_bytes_of(np.array([7])).tolist() == [40]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": []}, r"cluster\.groups: tuple should have at least 1 item"),
        (
            {"groups": [{"nodes": 1, "gpu": "T4", "gpu_memory_bytes": 1}]},
            r"cluster\.groups\.0\.gpus_per_node",
        ),
        ({"nodes": 4}, "cluster: value error, 4 x 4 slots, but groups of 3 x 4"),
        ({"gpus_per_node": 8}, "cluster: value error, 3 x 8 slots, but groups of 3 x 4"),
    ],
)
def test_a_cluster_that_does_not_add_up_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """A manifest whose groups are missing, lack a key, or are of another size names what is wrong."""
    record(tmp_path, MIXED)
    path = tmp_path / "run" / "manifest.json"
    document = json.loads(path.read_text())
    document["cluster"].update(change)
    path.write_text(json.dumps(document))
    with pytest.raises(RecordingError, match=message):
        load(tmp_path / "run")


@pytest.mark.parametrize("gpu", [-1, 12])
def test_a_gpu_outside_the_cluster_is_found(gpu: int) -> None:
    """A table that speaks of a GPU that the cluster does not have is an error and no number."""
    cluster = RecordedMixedCluster.model_validate(MIXED)
    with pytest.raises(RecordingError, match=f"gpus: found GPU {gpu}, allowed are 0 to 11"):
        cluster.memory_bytes_of(np.array([0, gpu]))
    assert not len(cluster.memory_bytes_of(np.array([], dtype=np.int64)))
