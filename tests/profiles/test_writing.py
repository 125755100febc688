import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles import (
    Capacity,
    CatalogDraft,
    GpuType,
    HeldOut,
    HostStartUp,
    InterferenceMeasurement,
    LatencySurface,
    Measurement,
    ModelProfile,
    Point,
    Prefill,
    ProfileError,
    Provenance,
    StartUpMeasurement,
    StepCurve,
    TrainingProfile,
    append_measurements,
    draft_of,
    load_catalog,
    write_catalog,
    writing,
)
from profiles.catalog import SHIPPED
from profiles.draft import origin_paths

ROWS = (
    Measurement("tiny", "serve", 1, 0.5, "mps", (0.1, 0.2)),
    Measurement("tiny", "serve", 2, 0.5, "mps", (0.3,), held_out=True),
)
START_UPS = (StartUpMeasurement("tiny", "disk", 2.5, 0.5, 0.25, 0.125, 1000),)
INTERFERENCE = (InterferenceMeasurement("tiny:serve:b1", 0.5, "tiny:train:b8", 0.5, 1.5, 1e-6, 8e-5),)

seconds = st.floats(1e-9, 1e6)
shares = st.tuples(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0)).map(lambda pair: (min(pair), max(pair)))
errors = st.none() | st.floats(0.0, 10.0)
held_outs = st.none() | st.builds(HeldOut, st.integers(1, 99), st.floats(0.0, 9.0), st.floats(0.0, 9.0))
texts = st.text(min_size=1).filter(lambda text: bool(text.strip()))
provenances = st.builds(
    Provenance, st.sampled_from(["measured", "fitted", "published", "derived", "assumed"]), texts
)
points = st.lists(
    st.builds(Point, st.integers(1, 512), st.floats(1e-6, 1.0), st.floats(1e-9, 1e9), st.booleans()),
    max_size=4,
).map(tuple)
amounts = st.dictionaries(st.integers(1, 512), st.floats(1e-9, 1e18), min_size=1, max_size=4).map(
    lambda by_batch: tuple(sorted(by_batch.items()))
)


def covariances(size: int) -> st.SearchStrategy[Any]:
    """Return covariances of so many coefficients, or none."""
    row = st.tuples(*[st.floats(-1e9, 1e9)] * size)
    return st.none() | st.tuples(*[row] * size)


surfaces = st.builds(
    LatencySurface,
    seconds,
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(1.0, 20.0),
    batches=st.tuples(st.integers(1, 4), st.integers(4, 64)),
    shares=shares,
    fit_mean_error=errors,
    fit_max_error=errors,
    points=points,
    covariance=covariances(5),
    held_out=held_outs,
)
steps = st.builds(
    StepCurve,
    st.floats(0.0, 1e3),
    seconds,
    st.floats(1.0, 20.0),
    shares=st.none() | shares,
    fit_mean_error=errors,
    fit_max_error=errors,
    points=points,
    covariance=covariances(3),
    held_out=held_outs,
)
capacities = st.none() | st.builds(
    Capacity, st.sampled_from(["blocks", "launches", "time"]), st.floats(1e-3, 1e18), measured=amounts
)
capacities |= st.builds(
    Capacity,
    st.just("blocks"),
    st.floats(1e-3, 1e18),
    line=st.tuples(st.floats(0.0, 1e9), st.floats(1e-9, 1e9)),
)
counts = st.integers(1, 2**50)
waves = st.floats(0.0, 1.0)
HOST = HostStartUp(1.0, 2.5, 0.4, 3.5e9)
trainings = st.none() | st.builds(
    TrainingProfile, counts, counts, counts, counts, waves, steps, capacity=capacities
)


@st.composite
def models(draw: st.DrawFn, name: str) -> ModelProfile:
    """Return any profile that a file can hold."""
    llm = draw(st.booleans())
    model = ModelProfile(
        name=name,
        kind="llm" if llm else "inference",
        latency=draw(surfaces),
        slo_s=draw(seconds),
        output_tokens=draw(counts) if llm else 1,
        max_batch=draw(counts),
        memory_bytes=draw(counts),
        weights_bytes=(weights := draw(counts)),
        launches=draw(counts),
        wave_s=draw(waves),
        startup=HOST.of(weights, draw(waves)),
        training=draw(trainings),
        capacity=draw(capacities),
        prefill=draw(st.none() | st.builds(Prefill, counts, amounts)) if llm else None,
    )
    origin = draw(provenances)
    return replace(model, provenance=dict.fromkeys(origin_paths(model), origin))


HOST_ORIGINS = {
    path: Provenance("assumed", "by hand")
    for path in ("memory_bytes", "sms", *(f"startup.{name}" for name in HostStartUp.__slots__))
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
drafts = st.builds(
    CatalogDraft,
    st.builds(GpuType, texts, counts, counts),
    st.just(HOST),
    st.just(HOST_ORIGINS),
    st.tuples(models("one"), models("no")),
    st.none() | st.dictionaries(st.text(), json_values, max_size=3),
    st.just(ROWS) | st.just(()),
    st.just(START_UPS) | st.just(()),
    st.just(INTERFERENCE) | st.just(()),
)


@given(drafts)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, draft: CatalogDraft) -> None:
    """Any catalog comes back as it was, to the last bit and with every origin."""
    directory = tmp_path_factory.getbasetemp() / "written" / "catalog"
    shutil.rmtree(directory, ignore_errors=True)
    found, meant = load_catalog(write_catalog(directory, draft)), draft.catalog()
    assert found == meant
    assert found.gpu_provenance == meant.gpu_provenance
    for name, model in meant.models.items():
        assert found.model(name).provenance == model.provenance
    assert found.provenance_report() == meant.provenance_report()
    assert draft_of(found).catalog() == found


Make = Callable[..., CatalogDraft]


@pytest.fixture
def draft() -> CatalogDraft:
    """Return a draft of two shipped models."""
    shipped = draft_of(load_catalog())
    return replace(shipped, models=tuple(m for m in shipped.models if m.name in ("vgg19", "resnet152")))


def test_the_shipped_catalog_is_written_in_its_own_shape(tmp_path: Path) -> None:
    """Every field of every shipped file stands in the written one, in the same order, with the same text."""
    directory = write_catalog(tmp_path / "a100", draft_of(load_catalog()))
    assert load_catalog(directory) == load_catalog()
    assert load_catalog(directory).provenance_report() == load_catalog().provenance_report()
    for shipped in SHIPPED.glob("*.yaml"):
        keys = [
            [line.split(":")[0] for line in path.read_text(encoding="utf-8").splitlines() if is_key(line)]
            for path in (shipped, directory / shipped.name)
        ]
        assert keys[0] == keys[1], shipped.name


def is_key(line: str) -> bool:
    """Whether a line of YAML is a field, not a line of text."""
    words = line.split()
    return bool(words) and words[0].endswith(":") and words[0][:-1].isidentifier() and words[0] != "kernels:"


@pytest.mark.parametrize(
    "name", ["yes", "1e3", " two  blanks ", "next\x85line", "\u2028", "# no: comment", "'", '"']
)
def test_odd_names_are_written_so_that_they_read_back(tmp_path: Path, draft: CatalogDraft, name: str) -> None:
    """A number, a comment or an end of line for YAML stays a name, and so does a long origin made of it."""
    origin = Provenance("assumed", f"{name}. " * 40 + "x")
    odd = replace(draft, gpu=GpuType(name, 1, 1), provenance=dict.fromkeys(draft.provenance, origin))
    found = load_catalog(write_catalog(tmp_path / "catalog", odd))
    assert found.gpu.name == name
    assert found.gpu_provenance["sms"] == origin


def test_a_written_directory_holds_these_files(tmp_path: Path, draft: CatalogDraft) -> None:
    """Only what there is gets a file, and nothing is left beside."""
    whole = replace(
        draft, device={"name": "H100"}, measurements=ROWS, start_ups=START_UPS, interference=INTERFERENCE
    )
    write_catalog(tmp_path / "deep" / "whole", whole)
    write_catalog(tmp_path / "deep" / "bare", draft)
    bare = {"gpu.yaml", "resnet152.csv", "resnet152.yaml", "vgg19.yaml"}
    assert {path.name for path in (tmp_path / "deep" / "bare").iterdir()} == bare
    assert {path.name for path in (tmp_path / "deep" / "whole").iterdir()} == bare | {
        "device.json",
        "measurements.csv",
        "start_ups.csv",
        "interference.csv",
    }
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"bare", "whole"}


def test_a_directory_in_use_is_not_overwritten_unasked(tmp_path: Path, draft: CatalogDraft) -> None:
    """An empty one is taken, one with files is refused, and replaced when asked: only if it is a catalog."""
    directory = tmp_path / "catalog"
    directory.mkdir()
    write_catalog(directory, draft)
    with pytest.raises(ProfileError, match="catalog: found 4 files, allowed is a new or an empty directory"):
        write_catalog(directory, draft)
    slower = replace(draft, models=(replace(draft.models[0], slo_s=0.5),))
    assert load_catalog(write_catalog(directory, slower, overwrite=True)).model("resnet152").slo_s == 0.5
    assert not (directory / "vgg19.yaml").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.yaml").write_text("dear", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"home: found neither gpu\.yaml nor measurements\.csv, only"):
        write_catalog(tmp_path / "home", draft, overwrite=True)
    with pytest.raises(ProfileError, match=r"letter\.yaml: found a file, allowed is a new or an empty dir"):
        write_catalog(tmp_path / "home" / "letter.yaml", draft, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"catalog", "home"}


def test_overwriting_loses_no_measurement_and_no_other_file(tmp_path: Path, draft: CatalogDraft) -> None:
    """Measurements that a draft has not are not thrown away, and figures and logs stay."""
    directory = tmp_path / "catalog"
    directory.mkdir()
    append_measurements(directory / "measurements.csv", ROWS)
    (directory / "log.txt").write_text("so far", encoding="utf-8")
    (directory / "figures").mkdir()
    (directory / "figures" / "one.png").write_bytes(b"png")
    with pytest.raises(ProfileError, match=r"measurements\.csv: found measurements that the draft has not"):
        write_catalog(directory, draft, overwrite=True)
    write_catalog(directory, replace(draft, measurements=ROWS), overwrite=True)
    assert load_catalog(directory).measurements == ROWS
    assert (directory / "log.txt").read_text(encoding="utf-8") == "so far"
    assert (directory / "figures" / "one.png").read_bytes() == b"png"


def test_a_link_to_a_catalog_stays_a_link(tmp_path: Path, draft: CatalogDraft) -> None:
    """What a symbolic link points to is replaced, not the link."""
    write_catalog(tmp_path / "v1", draft)
    (tmp_path / "current").symlink_to("v1")
    slower = replace(draft, models=(replace(draft.models[0], slo_s=0.5),))
    write_catalog(tmp_path / "current", slower, overwrite=True)
    assert (tmp_path / "current").is_symlink()
    assert load_catalog(tmp_path / "v1").model("resnet152").slo_s == 0.5


@pytest.mark.parametrize("fails_at", ["rename", "_write_yaml", "_keep_foreign_files"])
def test_a_write_that_breaks_leaves_what_was_there(
    tmp_path: Path, draft: CatalogDraft, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    """Wherever it breaks, the old catalog is there as a whole, and nothing else."""
    directory = write_catalog(tmp_path / "catalog", draft)
    before = load_catalog(directory)
    renames = []
    rename = Path.rename

    def broken(*arguments: Any) -> Any:
        if fails_at == "rename":
            renames.append(arguments)
            if len(renames) != 2:
                return rename(*arguments)
        raise OSError("no space left")

    monkeypatch.setattr(*((Path, "rename") if fails_at == "rename" else (writing, fails_at)), broken)
    with pytest.raises(OSError, match="no space left"):
        write_catalog(directory, replace(draft, models=draft.models[:1]), overwrite=True)
    monkeypatch.undo()
    assert load_catalog(directory) == before
    assert [path.name for path in tmp_path.iterdir()] == ["catalog"]


def test_a_folder_left_beside_by_another_is_not_touched(tmp_path: Path, draft: CatalogDraft) -> None:
    """A writer takes a free name for its folder, and removes no other."""
    left = tmp_path / f".catalog.{os.getpid()}-0"
    left.mkdir()
    write_catalog(tmp_path / "catalog", draft)
    assert left.is_dir()


def test_a_draft_says_what_it_lacks(draft: CatalogDraft) -> None:
    """Each thing that cannot be written is one line with the name of the field."""
    model = draft.models[0]
    origins = dict(model.provenance)
    del origins["slo_s"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"models": ()}, "models: found none"),
        ({"models": (model, model)}, "models: found 'resnet152' twice"),
        ({"models": (replace(model, name="../x"),)}, r"models: found the name '\.\./x'"),
        ({"models": (replace(model, name="gpu"),)}, "models: found the name 'gpu'"),
        ({"models": (replace(model, provenance=origins),)}, "resnet152: provenance: found none of slo_s"),
        ({"models": (replace(model, output_tokens=4),)}, "resnet152: output_tokens: found 4"),
        ({"provenance": {}}, r"gpu\.yaml: provenance: found none of memory_bytes, sms, startup\.container_s"),
        ({"device": {"when": object()}}, "device: found what JSON cannot hold"),
        ({"device": {"power_w": float("nan")}}, "device: found what JSON cannot hold"),
    ]
    for changes, message in cases:
        with pytest.raises(ProfileError, match=message) as caught:
            replace(draft, **changes).catalog()
        assert "\n" not in str(caught.value)


def test_a_value_that_no_file_may_hold_is_refused(tmp_path: Path, draft: CatalogDraft) -> None:
    """What reading would refuse is never put in place, and the line names where it would have stood."""
    bad = replace(draft, models=(replace(draft.models[0], slo_s=-1.0),))
    with pytest.raises(ProfileError, match=r"catalog/resnet152\.yaml: slo_s\.value: found -1\.0"):
        write_catalog(tmp_path / "catalog", bad)
    assert list(tmp_path.iterdir()) == []


def test_models_of_two_hosts_make_no_draft(draft: CatalogDraft) -> None:
    """A catalog says once how long a host takes; models that say different things do not fit in one."""
    catalog = draft.catalog()
    model = catalog.model("vgg19")
    other = replace(model, startup=replace(model.startup, context_s=9.0))
    with pytest.raises(ProfileError, match="startup: found 2 hosts"):
        draft_of(replace(catalog, models=catalog.models | {"vgg19": other}))


def test_the_host_of_a_draft_starts_its_models(draft: CatalogDraft) -> None:
    """A measured import time replaces that of the models."""
    catalog = replace(draft, host=replace(draft.host, runtime_s=7.5)).catalog()
    assert {model.startup.runtime_s for model in catalog.models.values()} == {7.5}
