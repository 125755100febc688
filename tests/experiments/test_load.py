from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from experiments import Experiment, ExperimentError, load_experiment, shipped_experiments

LAB = """\
cluster:
  nodes: 2
  gpus_per_node: 4
functions:
  - name: vision
    model: resnet152
    slo_s: 0.2
  - name: chat
    model: llama2-7b
    output_tokens: 32
  - name: job
    model: bert-base
    training: true
    workers: 2
    request: 0.3
    limit: 0.6
workload:
  synthesize:
    vision: {kind: poisson, rate_rps: 20}
    chat: {kind: gamma, rate_rps: 1, cv: 3}
systems:
  - dilu
  - {system: dilu, label: dilu-gamma-2, config: {placement.gamma: 2.0}}
seed: 3
duration_s: 30
"""


def write(folder: Path, text: str = LAB) -> Path:
    """Write an experiment file."""
    path = folder / "lab.yaml"
    path.write_text(text)
    return path


def load(folder: Path, old: str = "", new: str = "", **options: object) -> Experiment:
    """Load the experiment above with one piece of its text replaced."""
    assert old in LAB
    return load_experiment(write(folder, LAB.replace(old, new, 1)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", shipped_experiments())
def test_shipped_experiments_are_valid(name: str) -> None:
    """Every experiment that ships loads by name."""
    experiment = load_experiment(name)
    assert experiment.name == name
    assert len(experiment.systems) > 1


def test_what_is_left_out_comes_from_the_profile(tmp_path: Path) -> None:
    """Kind, memory, SLO and tokens of a function are the model's where the file says nothing."""
    experiment = load(tmp_path)
    vision, chat, job = experiment.functions
    assert (vision.kind, vision.slo_s, vision.size) == ("inference", 0.2, None)
    assert vision.memory_bytes == experiment.catalog.model("resnet152").memory_bytes
    assert (chat.kind, chat.output_tokens, chat.slo_s) == (
        "llm",
        32,
        experiment.catalog.model("llama2-7b").slo_s,
    )
    assert (job.kind, job.workers, job.slo_s) == ("training", 2, None)
    assert job.size is not None
    assert (job.size.batch, job.size.request, job.size.limit) == (1, 0.3, 0.6)


def test_systems_take_labels_and_constants(tmp_path: Path) -> None:
    """A system may run twice under two labels, with constants of its own."""
    systems = load(tmp_path).systems
    assert list(systems) == ["dilu", "dilu-gamma-2"]
    assert systems["dilu"] != systems["dilu-gamma-2"]
    assert "gamma=2.0" in systems["dilu-gamma-2"].describe()["placement"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("  nodes: 2", "  nods: 2", 2, "cluster.nods: unknown key; did you mean 'nodes'?"),
        ("  nodes: 2", "  nodes: 0", 2, "cluster.nodes: found 0, allowed is from 1"),
        ("  nodes: 2", "  nodes: true", 2, "cluster.nodes: found True, allowed is a number"),
        ("  nodes: 2", "  nodes: two", 2, "cluster.nodes: found 'two', allowed is a whole number"),
        ("  nodes: 2\n", "", 1, "cluster.nodes: found nothing, this key is required"),
        (
            "  nodes: 2",
            "  nodes: 2\n  gpu: H100",
            3,
            "cluster.gpu: found 'H100', allowed is 'A100-40GB-PCIE'",
        ),
        ("  nodes: 2", "  nodes: 2\n  nodes: 3", 3, "cluster.nodes: found twice, first on line 2"),
        ("slo_s: 0.2", "slo_s: -0.2", 7, "functions[0].slo_s: found -0.2, allowed is above 0"),
        ("slo_s: 0.2", "slo_s: .nan", 7, "functions[0].slo_s: found nan, allowed is "),
        ("slo_s: 0.2", "slo: 0.2", 7, "functions[0].slo: unknown key; did you mean 'slo_s'?"),
        (
            "slo_s: 0.2",
            "memory_gb: 41",
            7,
            "functions[0].memory_gb: found 41, allowed is up to the 40 of a GPU",
        ),
        (
            "slo_s: 0.2",
            "kind: llm",
            7,
            "functions[0].kind: found 'llm', allowed for resnet152 is 'inference'",
        ),
        ("slo_s: 0.2", "kind: infrence", 7, "functions[0].kind: found 'infrence'; did you mean 'inference'?"),
        (
            "slo_s: 0.2",
            "batch: 4",
            5,
            "functions[0]: found part of a size, allowed are batch, request and limit",
        ),
        ("slo_s: 0.2", "workers: 2", 7, "functions[0].workers: found 2, allowed only for training"),
        ("resnet152", "resnet", 6, "functions[0].model: found 'resnet', nearest is 'resnet152'"),
        ("name: chat", "name: vision", 8, "functions[1].name: found 'vision' twice"),
        (
            "workers: 2",
            "workers: 8",
            14,
            "functions[2].workers: found 8, allowed is up to the GPUs of a node (4)",
        ),
        (
            "request: 0.3",
            "request: 1.3",
            15,
            "functions[2].request: found 1.3, allowed is above 0 and up to 1",
        ),
        ("limit: 0.6", "limit: 0.2", 16, "functions[2].limit: found 0.2, allowed is from the request (0.3)"),
        (
            "  synthesize:",
            "  instances: x.csv\n  synthesize:",
            17,
            "workload: found synthesize and instances, allowed",
        ),
        ("poisson", "poison", 19, "workload.synthesize.vision.kind: found 'poison'; did you mean 'poisson'?"),
        (
            "rate_rps: 20",
            "rate: 20",
            19,
            "workload.synthesize.vision.rate: unknown key; did you mean 'rate_rps'?",
        ),
        ("  - dilu\n", "  - dilo\n", 22, "systems[0]: system: found 'dilo'; did you mean 'dilu'?"),
        ("placement.gamma", "placement.gama", 23, "systems[1].config: placement.gama: "),
        ("dilu-gamma-2", "../dilu", 23, "systems[1].label: found '../dilu', allowed are letters, digits"),
        (", label: dilu-gamma-2", "", 23, "systems[1]: found 'dilu' twice; give one of them a label"),
        ("seed: 3", "seed: -3", 24, "seed: found -3, allowed is from 0"),
        ("duration_s: 30", "duration_s: 0", 25, "duration_s: found 0, allowed is above 0"),
        ("duration_s: 30", "duration_s: [", 26, "not YAML"),
        ("seed: 3", "seed: !!python/object:os.system 3", 24, "not YAML"),
        ("seed: 3", "<<: 3", 24, "<<: unknown key"),
        ("seed: 3", "seed: 3\0", 24, "found character #x0000, allowed is text"),
        ("seed: 3", 'profiles: "a\\0b"', 24, "profiles: found character #x0000, allowed is text"),
        ("seed: 3", "seed: 2024-13-01", 24, "seed: found no timestamp"),
        (
            "dilu-gamma-2",
            "comparison.csv",
            23,
            "systems[1].label: found 'comparison.csv', allowed is no name",
        ),
        ("nodes: 2", "nodes: 250001", 1, "cluster: found 1000004 GPUs, allowed are up to 1000000"),
        ("nodes: 2", f"nodes: {'9' * 30}", 2, "allowed is from 1 and up to 1000000"),
    ],
)
def test_every_mistake_is_one_line_with_its_place(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    """A mistake is said in one line that names file, line, field, what was found and what is allowed."""
    with pytest.raises(ExperimentError) as caught:
        load(tmp_path, old, new)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{tmp_path / 'lab.yaml'}:{line}: "), text
    assert message in text, text


def test_no_file_and_no_text(tmp_path: Path) -> None:
    """A missing, empty or binary file, and an unknown name, are each one line."""
    with pytest.raises(
        ExperimentError, match=r"experiment 'quikstart': unknown; did you mean 'quickstart'\?"
    ):
        load_experiment("quikstart")
    with pytest.raises(ExperimentError, match=r"nowhere\.yaml: No such file"):
        load_experiment(tmp_path / "nowhere.yaml")
    with pytest.raises(ExperimentError, match="found nothing, allowed is a mapping"):
        load_experiment(write(tmp_path, ""))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match="not UTF-8"):
        load_experiment(tmp_path / "binary.yaml")


def test_aliases_cannot_blow_up(tmp_path: Path) -> None:
    """A document of aliases to aliases is refused and not expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ExperimentError, match="more than 100000 values"):
        load_experiment(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: " + "[" * 5000], ids=["alias of itself", "deep"])
def test_endless_nesting_is_refused(tmp_path: Path, text: str) -> None:
    """A list inside itself, and one nested thousands deep, are one line and no exhausted stack."""
    with pytest.raises(ExperimentError, match=r"lab\.yaml: nested too deeply, or an alias of itself$"):
        load_experiment(write(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("functions=[{name: a, model: vgg19}]", "functions: found 1, allowed is nothing"),
        ("duration_s=60", "duration_s: found 60, allowed is nothing"),
        (
            "workload.instances.generate.instances=1000001",
            "found 1000001, allowed is from 1 and up to 1000000",
        ),
    ],
)
def test_instances_stand_alone(change: str, message: str) -> None:
    """Beside instances neither functions nor a duration are taken, and there may not be too many of them."""
    with pytest.raises(ExperimentError) as caught:
        load_experiment("cluster-3200", changes=[change])
    assert message in str(caught.value)


def test_weights_of_models_are_above_0() -> None:
    """The bound of a value in a mapping is named as that of a key."""
    change = "workload.trace.map.models.vgg19=0"
    with pytest.raises(ExperimentError, match=r"vgg19: found 0, allowed is a number above 0$"):
        load_experiment("azure-functions", trace="traces", changes=[change])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("cluster.nodes=8", ("cluster", "nodes", 8)),
        ("functions[0].slo_s=0.5", ("functions", 0, "slo_s", 0.5)),
        ("functions.1.output_tokens=7", ("functions", 1, "output_tokens", 7)),
        ("workload.synthesize[vision].rate_rps=5", ("workload", "synthesize", "vision", "rate_rps", 5)),
        ("systems=[exclusive, dilu]", ("systems", ["exclusive", "dilu"])),
        ("record_quotas=true", ("record_quotas", True)),
    ],
)
def test_values_change_by_path(tmp_path: Path, change: str, expected: tuple[object, ...]) -> None:
    """`--set` reaches keys, list entries and whole sections; its value is YAML."""
    value: object = load_experiment(write(tmp_path), changes=[change]).document.values
    *path, last = expected
    for part in path:
        value = value[part]  # type: ignore[index]
    assert value == last


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cluster.nodes", "--set cluster.nodes: allowed is KEY=VALUE"),
        (
            "clutser.nodes=8",
            "--set clutser.nodes=8: the experiment has no key 'clutser'; did you mean 'cluster'?",
        ),
        ("cluster.nods=8", "--set cluster.nods=8: cluster.nods: unknown key; did you mean 'nodes'?"),
        ("functions[9].slo_s=1", "functions has no entry 9; allowed are [0] to [2]"),
        ("cluster.nodes.x=1", "cluster.nodes is 2, which has no parts"),
        ("cluster..nodes=1", "found 'cluster..nodes', allowed is a path such as functions[0].slo_s"),
        ("cluster.nodes=[", "not YAML"),
        ("cluster.nodes=0", "--set cluster.nodes=0: cluster.nodes: found 0, allowed is from 1"),
    ],
)
def test_bad_changes_name_the_change(tmp_path: Path, change: str, message: str) -> None:
    """A change that leads nowhere, or to a wrong value, is said with the change as its place."""
    with pytest.raises(ExperimentError) as caught:
        load_experiment(write(tmp_path), changes=[change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_systems_are_chosen_by_label_name_or_all(tmp_path: Path) -> None:
    """A label of the file keeps its constants; other names are systems; all is every system."""
    path = write(tmp_path)
    chosen = load_experiment(path, systems=["exclusive", "dilu-gamma-2"]).systems
    assert list(chosen) == ["exclusive", "dilu-gamma-2"]
    assert "gamma=2.0" in chosen["dilu-gamma-2"].describe()["placement"]
    assert {"dilu", "exclusive", "infless+-l"} <= set(load_experiment(path, systems=["all"]).systems)
    with pytest.raises(ExperimentError, match=r"--system dilo: systems\[0\]: .*did you mean 'dilu'"):
        load_experiment(path, systems=["dilo"])


def test_a_trace_needs_an_experiment_that_has_one(tmp_path: Path) -> None:
    """`--trace` replaces the path of a trace and is refused where requests are synthesized."""
    with pytest.raises(ExperimentError, match="workload: has no trace that --trace x could replace"):
        load_experiment(write(tmp_path), trace="x")
    experiment = load_experiment("azure-functions", trace="x")
    assert experiment.path("workload", "trace", "path") == Path("x")


def test_paths_start_from_the_file_that_names_them(tmp_path: Path) -> None:
    """A relative path in the file is relative to the file; one from the command line to where we are."""
    path = write(tmp_path, LAB + "profiles: mine\n")
    with pytest.raises(ExperimentError, match=rf"lab\.yaml:26: profiles: {tmp_path / 'mine'}"):
        load_experiment(path)
    with pytest.raises(ExperimentError, match=r"--set profiles=mine: profiles: "):
        load_experiment(path, changes=["profiles=mine"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cluster", "functions", "workload", "systems", "name", "model", "x"]),
                c,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_accepted_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    """Whatever a YAML file holds, loading it ends in an experiment or in one line, never in a traceback."""
    base = yaml.safe_load(LAB)
    if isinstance(document, dict):
        base.update(document)
    else:
        base["functions"] = document
    path = write(tmp_path_factory.mktemp("any"), yaml.safe_dump(base, allow_unicode=True))
    said = ""
    try:
        load_experiment(path)
    except ExperimentError as error:
        said = str(error)
    assert "\n" not in said
