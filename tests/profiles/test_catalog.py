import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from profiles import (
    Capacity,
    LatencySurface,
    ModelProfile,
    Point,
    Prefill,
    ProfileError,
    StartUp,
    TrainingProfile,
    load_catalog,
)
from profiles.catalog import SHIPPED
from profiles.reading import read_points

MODELS = list(load_catalog().models.values())
PREFILL = "prefill: {kind: measured, source: here, tokens: 128, seconds: {1: 0.01}}\n"
CAPACITY = """\
capacity:
  cost_model: blocks
  cost_per_s: {value: 9.0, kind: measured, source: here}
  batch_cost:
    kind: measured
    source: here
    points: {1: 2.0}
"""
Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Copy the shipped catalog and replace a piece of one of its files."""

    def edit(file: str, old: str, new: str) -> Path:
        directory = tmp_path / "catalog"
        shutil.copytree(SHIPPED, directory)
        text = (directory / file).read_text(encoding="utf-8")
        assert old in text
        (directory / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return directory

    return edit


def test_the_shipped_catalog_has_the_paper_s_models_on_its_gpu() -> None:
    """Seven models, five of them with raw points, on an A100 of 40 GiB."""
    catalog = load_catalog()
    assert list(catalog.models) == [
        "bert-base",
        "chatglm3-6b",
        "gpt2-large",
        "llama2-7b",
        "resnet152",
        "roberta-large",
        "vgg19",
    ]
    assert (catalog.gpu.name, catalog.gpu.memory_bytes, catalog.gpu.sms) == (
        "A100-40GB-PCIE",
        40 * 2**30,
        108,
    )
    assert [len(model.latency.points) for model in MODELS] == [60, 0, 60, 50, 60, 60, 0]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_no_value_goes_without_its_origin(model: ModelProfile) -> None:
    """Every number of a profile has a provenance, and every provenance belongs to a number."""
    own = {"name", "kind", "latency", "startup", "training", "capacity", "prefill", "provenance"}
    expected = {field.name for field in fields(ModelProfile)} - own
    # A fit's coefficients, errors and range share one origin; weights and warm-up stand at the model.
    expected |= {"latency"} | ({"latency.points"} if model.latency.points else set())
    expected |= {f"startup.{f.name}" for f in fields(StartUp)} - {
        "startup.weights_bytes",
        "startup.warm_up_s",
    }
    expected |= {"warm_up_s"}
    assert model.training is not None
    expected |= {f"training.{f.name}" for f in fields(TrainingProfile)}
    expected -= {"training.step", "training.capacity"}
    expected |= {"training.floor_s", "training.work_s", "training.g"}
    if model.kind == "inference":
        expected -= {"output_tokens"}
    assert set(model.provenance) == expected


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_origins_say_what_was_done(model: ModelProfile) -> None:
    """A surface with points is fitted and has an error; one without is derived and claims none."""
    kind = model.provenance["latency"].kind
    assert kind == ("fitted" if model.latency.points else "derived")
    assert (model.latency.fit_mean_error is not None) == bool(model.latency.points)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_fits_the_gpu_it_was_profiled_on(model: ModelProfile) -> None:
    """Serving and training instances have room on one GPU, and weights are part of the instance."""
    assert model.training is not None
    assert model.weights_bytes < model.memory_bytes <= load_catalog().gpu.memory_bytes
    assert model.training.memory_bytes <= load_catalog().gpu.memory_bytes


def test_measure_prefers_raw_points() -> None:
    """On the grid a profile answers what was measured, elsewhere what the surface says."""
    model = load_catalog().model("roberta-large")
    assert model.measure(4, 0.3) == 0.0342
    assert model.measure(4, 0.3) != model.latency.seconds(4, 0.3)
    assert model.measure(5, 0.33) == model.latency.seconds(5, 0.33)


def test_measurement_follows_the_kind_of_the_function() -> None:
    """Serving is measured by batches, training by steps; a profile without training says so."""
    model = load_catalog().model("bert-base")
    assert model.training is not None
    assert model.measurement("inference")(4, 0.5) == model.measure(4, 0.5)
    assert model.measurement("training")(1, 0.5) == model.training.step_s(0.5)
    served_only = ModelProfile(**{f.name: getattr(model, f.name) for f in fields(model)} | {"training": None})
    with pytest.raises(ProfileError, match="bert-base: training: found none"):
        served_only.measurement("training")


def test_an_unknown_model_names_the_nearest() -> None:
    """A typing error is answered with what was probably meant."""
    with pytest.raises(ProfileError, match="found 'roberta', nearest is 'roberta-large'"):
        load_catalog().model("roberta")


def test_a_catalog_is_read_once() -> None:
    """Asking again gives the same object."""
    assert load_catalog() is load_catalog(SHIPPED)


def test_a_catalog_that_changed_is_read_again(edited: Edit) -> None:
    """A file that is other than it was makes the catalog another, and one that is not does not."""
    directory = edited("vgg19.yaml", "value: 0.08", "value: 0.25")
    first = load_catalog(directory)
    assert load_catalog(directory) is first
    text = (directory / "vgg19.yaml").read_text(encoding="utf-8")
    (directory / "vgg19.yaml").write_text(text.replace("value: 0.25", "value: 0.26"), encoding="utf-8")
    assert load_catalog(directory).model("vgg19").slo_s == 0.26
    (directory / "vgg19.yaml").unlink()
    assert "vgg19" not in load_catalog(directory).models


def test_capacity_and_prefill_are_read_with_their_origins(edited: Edit) -> None:
    """The optional sections of a file arrive in the profile."""
    catalog = load_catalog(edited("llama2-7b.yaml", "training:", CAPACITY + PREFILL + "training:"))
    model = catalog.model("llama2-7b")
    assert model.capacity == Capacity("blocks", 9.0, measured=((1, 2.0),))
    assert model.prefill == Prefill(128, ((1, 0.01),))
    assert {path for path, origin in model.provenance.items() if origin.source == "here"} == {
        "capacity.cost_per_s",
        "capacity.batch_cost",
        "prefill",
    }


def test_held_out_points_are_read_from_their_column(edited: Edit) -> None:
    """A fourth column marks points that no fit has seen; what is neither true nor false is refused."""
    directory = edited("vgg19.yaml", "name", "name")
    path = directory / "some.csv"
    path.write_text("batch,share,seconds,held_out\n1,0.5,0.2,true\n2,0.5,0.3,false\n", encoding="utf-8")
    assert read_points(path) == (Point(1, 0.5, 0.2, True), Point(2, 0.5, 0.3))
    for bad in ("1,0.5,0.2", "1,0.5,0.2,yes", "1,0.5,0.2,true,4"):
        path.write_text(f"batch,share,seconds,held_out\n{bad}\n", encoding="utf-8")
        with pytest.raises(ProfileError, match=r"some\.csv: line 2: found 1,0\.5,0\.2.*, and true or false"):
            read_points(path)


def test_a_device_is_read_and_reported(edited: Edit) -> None:
    """The manifest beside the profiles is in the catalog and in its report; without one there is no entry."""
    directory = edited("vgg19.yaml", "name", "name")
    (directory / "device.json").write_text('{"name": "H100", "sms": 132}', encoding="utf-8")
    catalog = load_catalog(directory)
    assert catalog.device == {"name": "H100", "sms": 132}
    assert catalog.provenance_report()["device"] == catalog.device
    assert "device" not in load_catalog().provenance_report()
    for bad, message in (("[1]", "found list"), ("{", "line 1: found text that is not JSON")):
        (directory / "device.json").write_text(bad, encoding="utf-8")
        with pytest.raises(ProfileError, match=rf"device\.json: {message}"):
            load_catalog(directory)


def test_extrapolations_are_those_since_the_last_forgetting() -> None:
    """A catalog says of which models more was asked than was fitted, in words, until it is told to forget."""
    catalog = pickle.loads(pickle.dumps(load_catalog()))
    catalog.model("vgg19").latency.seconds(4, 0.5)
    assert catalog.extrapolations() == {}
    catalog.model("vgg19").latency.seconds(64, 0.02)
    assert catalog.extrapolations() == {
        "vgg19": "asked for batches up to 64, fitted up to 32 and for shares down to 0.02, fitted from 0.1"
    }
    catalog.forget()
    assert catalog.extrapolations() == {}
    catalog.model("vgg19").latency.seconds(64, 0.5)
    assert list(catalog.extrapolations()) == ["vgg19"]


def test_profiles_travel_to_other_processes() -> None:
    """A catalog pickles, and its models are hashable and equal on arrival."""
    catalog = load_catalog()
    arrived = pickle.loads(pickle.dumps(catalog))
    assert arrived == catalog
    assert {hash(model) for model in arrived.models.values()} == {hash(model) for model in MODELS}
    assert arrived.model("vgg19").provenance == catalog.model("vgg19").provenance


def test_the_provenance_report_is_json() -> None:
    """A manifest can hold the report as it is, and finds the fit's error in it."""
    report = json.loads(json.dumps(load_catalog().provenance_report()))
    assert report["gpu"]["name"] == "A100-40GB-PCIE"
    assert report["gpu"]["values"]["startup.context_s"]["kind"] == "assumed"
    roberta = report["models"]["roberta-large"]
    assert roberta["fit_mean_error"] == load_catalog().model("roberta-large").latency.fit_mean_error
    assert roberta["values"]["memory_bytes"]["kind"] == "published"


def test_a_user_s_catalog_replaces_the_shipped_one(edited: Edit) -> None:
    """A directory of the same format is read instead."""
    catalog = load_catalog(edited("vgg19.yaml", "value: 0.08", "value: 0.25"))
    assert catalog.model("vgg19").slo_s == 0.25


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("vgg19.yaml", "slo_s:", "slo:", r"vgg19\.yaml: slo_s: found nothing, the field is required"),
        ("vgg19.yaml", "kind: inference", "kind: inference\nflops: 1", r"flops: unknown field, nearest is"),
        (
            "vgg19.yaml",
            "  workers:",
            "  worker: 2\n  workers:",
            r"training\.worker: unknown field, nearest is 'workers'",
        ),
        ("vgg19.yaml", "  g: ", "  mean: 1\n  g: ", r"latency\.mean: unknown field, nearest is 'mean_error'"),
        ("vgg19.yaml", "value: 0.08", "value: fast", r"slo_s\.value: found 'fast', input should be"),
        ("vgg19.yaml", "value: 0.08", "value: -1.0", r"slo_s\.value: found -1\.0, input should be greater"),
        ("vgg19.yaml", "  value: 32\n", "  value: 32.5\n", r"max_batch\.value: found 32\.5, input should be"),
        ("vgg19.yaml", "  value: 0.08\n", "  value: true\n", r"slo_s\.value: found True"),
        ("vgg19.yaml", "kind: derived", "kind: guessed", r"latency\.kind: found 'guessed', input should be"),
        ("vgg19.yaml", "  source: >-\n    As resnet152.", "  source: ' '", r"slo_s\.source: found ' '"),
        (
            "vgg19.yaml",
            "name: vgg19",
            "name: vgg16",
            r"name: found 'vgg16', allowed is the file's own name 'vgg19'",
        ),
        ("vgg19.yaml", "kind: inference", "kind: llm", r"output_tokens: found nothing, an llm needs"),
        ("llama2-7b.yaml", "kind: llm", "kind: inference", r"output_tokens: found a value, only an llm"),
        ("vgg19.yaml", "batches: [1, 32]", "batches: [32, 1]", r"vgg19\.yaml: batches: found \[32, 1\]"),
        (
            "vgg19.yaml",
            "kind: inference",
            "kind: [inference",
            r"vgg19\.yaml: line \d+: found text that is not",
        ),
        (
            "gpu.yaml",
            "format: 1",
            "format: 2",
            r"gpu\.yaml: format: found 2, this version reads 1: read it with the version that wrote it, or",
        ),
        ("gpu.yaml", "format: 1", "format: one", r"gpu\.yaml: format: found 'one', input should be 1"),
        (
            "vgg19.yaml",
            "  shares: [0.1, 1.0]",
            "  shares: [0.1, 1.0]\n  held_out_points: 3",
            r"held_out_points: ",
        ),
        (
            "vgg19.yaml",
            "  shares: [0.1, 1.0]",
            "  shares: [0.1, 1.0]\n  covariance: [[1.0]]",
            r"covariance: found",
        ),
        (
            "vgg19.yaml",
            "training:",
            PREFILL + "training:",
            r"vgg19\.yaml: prefill: found a section",
        ),
        (
            "vgg19.yaml",
            "training:",
            CAPACITY.replace("    points: {1: 2.0}\n", "") + "training:",
            r"vgg19\.yaml: batch_cost: allowed are either costs by batch or a line",
        ),
        (
            "vgg19.yaml",
            "training:",
            CAPACITY.replace("{1: 2.0}", "{4: 2.0, 1: 1.0}") + "training:",
            r"vgg19\.yaml: batch_cost: found batches \[4, 1\]",
        ),
        (
            "vgg19.yaml",
            "training:",
            CAPACITY.replace("cost_per_s: {value: 9.0,", "cost_per_s: {value: 0.0,") + "training:",
            r"vgg19\.yaml: capacity\.cost_per_s\.value: found 0\.0",
        ),
        ("resnet152.yaml", "file: resnet152.csv", "file: gone.csv", r"gone\.csv: found no readable file"),
        (
            "resnet152.csv",
            "batch,share,seconds",
            "batch,sm,seconds",
            r"resnet152\.csv: line 1: found batch,sm,sec",
        ),
        (
            "resnet152.csv",
            "2,0.1,",
            "2,many,",
            r"resnet152\.csv: line 3: found 2,many,0\.0369, allowed are three",
        ),
        (
            "resnet152.csv",
            "2,0.1,",
            "2,10,",
            r"resnet152\.csv: line 3: found 2,10,0\.0369, allowed is batch >= 1",
        ),
        (
            "resnet152.csv",
            "2,0.1,",
            "2,",
            r"resnet152\.csv: line 3: found 2,0\.0369, allowed are three numbers",
        ),
    ],
)
def test_a_bad_file_is_refused_by_file_and_field(
    edited: Edit, file: str, old: str, new: str, message: str
) -> None:
    """One line says which file, which field, what was found and what is allowed."""
    directory = edited(file, old, new)
    with pytest.raises(ProfileError, match=message) as caught:
        load_catalog(directory)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_mapping_is_refused(edited: Edit) -> None:
    """A YAML list is not a model."""
    directory = edited("vgg19.yaml", "name", "name")
    (directory / "vgg19.yaml").write_text("- vgg19\n", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"vgg19\.yaml: found list, allowed is a mapping"):
        load_catalog(directory)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    """A path that is not there is named."""
    with pytest.raises(ProfileError, match="nowhere: found no directory"):
        load_catalog(tmp_path / "nowhere")


def test_a_catalog_without_models_is_refused(tmp_path: Path) -> None:
    """gpu.yaml alone is no catalog, and neither is a directory without it."""
    with pytest.raises(ProfileError, match=r"gpu\.yaml: found no readable file"):
        load_catalog(tmp_path)
    (tmp_path / "one").mkdir()
    shutil.copy(SHIPPED / "gpu.yaml", tmp_path / "one" / "gpu.yaml")
    with pytest.raises(ProfileError, match="found no model file"):
        load_catalog(tmp_path / "one")


def test_points_are_read_in_order() -> None:
    """The first and last line of a file are the first and last point."""
    points = read_points(SHIPPED / "llama2-7b.csv")
    assert (points[0], points[-1]) == (Point(1, 0.1, 0.0947), Point(16, 1.0, 0.0429))


def test_surfaces_remember_the_range_of_their_points() -> None:
    """The range in a file is the range of its points."""
    for model in MODELS:
        latency: LatencySurface = model.latency
        if latency.points:
            assert latency.batches == (
                min(p.batch for p in latency.points),
                max(p.batch for p in latency.points),
            )
            assert latency.shares == (
                min(p.share for p in latency.points),
                max(p.share for p in latency.points),
            )
            assert model.max_batch == latency.batches[1]
