"""Instances to place: from a file, generated, or the pods of openb on nodes that differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import Experiment, ExperimentError, load_experiment, run_experiment
from experiments.placed import placed_instances
from policies import Cluster
from policies.functions import MixedCluster
from profiles import GpuType
from recording import load
from recording.manifest import RecordedMixedCluster

UNIFORM = "cluster: {nodes: 2, gpus_per_node: 4}\n"
LISTED = "cluster: {node_list: nodes.csv}\n"
SYSTEMS = "systems: [exclusive, dilu]\n"
OPENB = "workload: {instances: {openb: {path: pods, lifetime: forever}}}\n"
FILE = "workload: {instances: instances.csv}\n"

EVENTS = "time_s,action,name,service,kind,gpus,request,limit,memory_gb,gpu_types\n"
PODS = "name,num_gpu,gpu_milli,gpu_spec\n"
NODES = "sn,gpu,model\nn0,1,T4\nn1,1,T4\nn2,0,\nn3,2,G2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three pods and four nodes, the nodes once more beside the experiment, and one instance."""
    monkeypatch.setenv("DILU_TRACES", str(tmp_path / "fetched"))
    (tmp_path / "pods").mkdir()
    rows = "a,1,500,\nb,1,1000,G2\nc,2,1000,\nd,0,0,\n"
    (tmp_path / "pods" / "openb_pod_list_default.csv").write_text(PODS + rows)
    (tmp_path / "pods" / "openb_pod_list_other.csv").write_text(PODS + "e,1,10,\n")
    (tmp_path / "pods" / "nodes.csv").write_text(NODES)
    (tmp_path / "nodes.csv").write_text("sn,gpu,model,gpu_memory_gb\nn0,4,V100,32\n")
    (tmp_path / "instances.csv").write_text(EVENTS + "0,start,a,s,inference,1,0.3,0.6,30,V100|T4\n")
    return tmp_path


def load_text(folder: Path, text: str, **options: object) -> Experiment:
    """Write an experiment and load it."""
    path = folder / "lab.yaml"
    path.write_text(text)
    return load_experiment(path, **options)  # type: ignore[arg-type]


def refused(experiment: Experiment) -> str:
    """Return what is said of instances that cannot be placed."""
    with pytest.raises(ExperimentError) as caught:
        placed_instances(experiment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_generated_instances_follow_the_seed(folder: Path) -> None:
    """The same ones each time, on the cluster that the experiment has."""
    experiment = load_text(folder, UNIFORM + SYSTEMS + "workload: {instances: {generate: {instances: 20}}}\n")
    first, again = placed_instances(experiment), placed_instances(experiment)
    assert first == again
    assert first is not None
    assert first.cluster is experiment.cluster
    assert first.provenance == {"instances": 20}


def test_requests_are_no_instances() -> None:
    """Where requests arrive, nothing is placed beforehand."""
    assert placed_instances(load_experiment("quickstart")) is None


def test_pods_and_nodes_come_from_one_folder(folder: Path) -> None:
    """The list of nodes is the one beside the pods, and both say where they are from."""
    placed = placed_instances(load_text(folder, LISTED + SYSTEMS + OPENB))
    assert placed is not None
    t4, g2 = GpuType("T4", 0, 0), GpuType("G2", 0, 0)
    assert placed.cluster == MixedCluster((Cluster(2, 1, t4), Cluster(1, 2, g2)))
    assert [event.name for event in placed.events] == ["a", "b", "c"]
    assert placed.provenance["instances"] == 3
    assert placed.provenance["openb"]["left_out"] == {"without_gpu": 1}
    assert placed.provenance["node_list"]["nodes_without_gpu_left_out"] == 1


def test_a_file_of_pods_has_its_nodes_beside_it(folder: Path) -> None:
    """And `--trace` replaces the path of pods, as it does that of a trace."""
    file = folder / "pods" / "openb_pod_list_other.csv"
    placed = placed_instances(load_text(folder, LISTED + SYSTEMS + OPENB, trace=file))
    assert placed is not None
    assert placed.cluster.gpus == 4
    assert [event.name for event in placed.events] == ["e"]


def test_a_list_of_nodes_from_the_command_line_is_where_we_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other path that is given there."""
    monkeypatch.chdir(folder)
    experiment = load_text(folder, UNIFORM + SYSTEMS + OPENB, changes=["cluster={node_list: nodes.csv}"])
    with pytest.raises(ExperimentError, match="instance 'b' needs 1 x 0 GiB of G2"):
        placed_instances(experiment)


def test_instances_of_a_file_go_on_listed_nodes(folder: Path) -> None:
    """The list is then beside the experiment, and memory is what it says."""
    placed = placed_instances(load_text(folder, LISTED + SYSTEMS + FILE))
    assert placed is not None
    assert placed.cluster == MixedCluster((Cluster(1, 4, GpuType("V100", 32 * 2**30, 0)),))
    assert placed.events[0].gpu_types == frozenset({"V100", "T4"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            UNIFORM + FILE,
            "instance 'a' needs 1 x 30 GiB of T4|V100, allowed is what a node has: 4 x 40 GiB of A100",
        ),
        (
            LISTED.replace("nodes.csv", "pods/nodes.csv") + FILE,
            "instance 'a' needs 1 x 30 GiB of T4|V100, allowed is what a node has: 1 x unknown memory of T4",
        ),
        (LISTED.replace("nodes", "none") + FILE, "none.csv: cannot be read: No such file"),
        (LISTED + OPENB.replace("pods", "nowhere"), "nowhere: cannot be read: No such file"),
        (
            LISTED + OPENB.replace("pods", "openb"),
            "lab.yaml:2: workload.instances.openb.path: is not fetched;",
        ),
        (
            LISTED + OPENB.replace("path: pods, ", ""),
            "openb.path: found nothing; name one, or give --trace PATH",
        ),
        (
            LISTED + OPENB.replace("pods,", "pods, pods: othr,"),
            "lab.yaml:2: workload.instances.openb.pods: found 'othr'; did you mean 'other'?",
        ),
        (
            LISTED + OPENB.replace("forever", "traced"),
            "default.csv: line 1: pod_phase: the column is missing",
        ),
        (LISTED + OPENB.replace("pods", "/dev/zero"), "found '/dev/zero', allowed is a regular file"),
        (
            LISTED.replace("nodes.csv", "/dev/zero") + FILE,
            "cluster.node_list: found '/dev/zero', allowed is a regular",
        ),
        (
            UNIFORM + FILE.replace("instances.csv", "/dev/zero"),
            "found '/dev/zero', allowed is a regular file",
        ),
        (UNIFORM + FILE.replace("instances.csv", "none.csv"), "none.csv"),
    ],
)
def test_what_cannot_be_placed_is_one_line(folder: Path, text: str, message: str) -> None:
    """What is missing, larger than any node, or no file, is named."""
    said = refused(load_text(folder, text + SYSTEMS))
    assert message in said, said


def test_an_instance_wider_than_a_node_is_refused(folder: Path) -> None:
    """However little each of its parts needs."""
    (folder / "instances.csv").write_text(EVENTS + "0,start,a,s,training,5,0.3,0.6,1,\n")
    said = refused(load_text(folder, UNIFORM + SYSTEMS + FILE))
    assert "instance 'a' needs 5 x 1 GiB, allowed is what a node has: 4 x 40 GiB" in said


def test_a_cluster_of_too_many_slots_is_refused(folder: Path) -> None:
    """Slots count, since each has a number: two nodes of which one is very wide."""
    (folder / "nodes.csv").write_text("sn,gpu,model\na,1,T4\nb,600000,T4\n")
    said = refused(load_text(folder, LISTED + SYSTEMS + FILE.replace("30,V100|T4", "")))
    assert "found 2 nodes of up to 600000 GPUs, allowed are up to 1000000 GPUs" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            LISTED.replace("}", ", nodes: 2}") + FILE,
            "lab.yaml:1: cluster.nodes: found 2 beside node_list, allowed is",
        ),
        (
            LISTED.replace("}", ", gpu: T4}") + FILE,
            "cluster.gpu: found 'T4' beside node_list, allowed is one or",
        ),
        (
            "cluster: {}\n" + FILE,
            "lab.yaml:1: cluster.nodes: found nothing, this key is required, or node_list",
        ),
        (
            "cluster: {nodes: 1}\n" + FILE,
            "cluster.gpus_per_node: found nothing, this key is required, or node_list",
        ),
        (
            LISTED + "workload: {synthesize: {a: {kind: even, rate_rps: 1}}}\nduration_s: 1\n",
            "lab.yaml:1: cluster.node_list: found 'nodes.csv', allowed only with workload.instances: ",
        ),
        (
            LISTED + OPENB.replace("{openb:", "{file: x.csv, openb:"),
            "workload.instances: allowed is one of a file name, generate, openb",
        ),
        (
            LISTED + OPENB.replace("forever", "for ever"),
            "lifetime: found 'for ever'; did you mean 'forever'?",
        ),
        (LISTED + OPENB.replace("path", "paht"), "openb.paht: unknown key; did you mean 'path'?"),
    ],
)
def test_a_cluster_has_one_form(folder: Path, text: str, message: str) -> None:
    """Nodes that are alike or a list, the latter for instances alone; keys are checked as elsewhere."""
    with pytest.raises(ExperimentError) as caught:
        load_text(folder, text + SYSTEMS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_on_listed_nodes(folder: Path) -> None:
    """By hand: the sharing pod opens the first T4, the next two the G2 node, which then has too few for c."""
    run = run_experiment(load_text(folder, LISTED + SYSTEMS + OPENB), out=folder / "run")
    for summary in run.summaries:
        assert (summary["launches"], summary["launches_refused"]) == (2, 1)
        assert summary["peak_gpus"] == 2
        assert summary["memory_fragmentation"] is None
        assert summary["sm_fragmentation"] == pytest.approx((2 * 0.5 + 1 * 0.0) / 3)
        read = load(folder / "run" / summary["system"])
        cluster = read.manifest.cluster
        assert isinstance(cluster, RecordedMixedCluster)
        assert (cluster.nodes, cluster.gpus_per_node, cluster.gpus) == (3, 2, 4)
        assert cluster.gpus_by_type == {"G2": 2, "T4": 2}
        assert [list(gpus) for gpus in read.instances["gpus"]] == [[0], [4]]  # 1 and 3 are empty slots
        assert read.manifest.further["workload"]["openb"]["placed"] == 3
