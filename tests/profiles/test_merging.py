from dataclasses import replace

import pytest

from profiles import (
    Catalog,
    GpuType,
    InterferenceMeasurement,
    Measurement,
    ProfileError,
    StartUpMeasurement,
    draft_of,
    load_catalog,
    merge_catalogs,
)

GPU = GpuType("H100", 80 * 2**30, 132)


def catalog(name: str, *models: str, slo_s: float, device: dict[str, object] | None = None) -> Catalog:
    """Return a catalog of some shipped models, with one row of each kind a model that carries `name`."""
    draft = draft_of(load_catalog())
    return replace(
        draft,
        gpu=GPU,
        host=replace(draft.host, context_s=slo_s),
        models=[replace(model, slo_s=slo_s) for model in draft.models if model.name in models],
        device=device,
        measurements=[Measurement(m, "serve", 1, 0.5, "mps", (0.1,), neighbour=name) for m in models],
        start_ups=[StartUpMeasurement(m, name, 1.0, 1.0, 1.0, 1.0, 1) for m in models],
        interference=[InterferenceMeasurement(f"{m}:serve", 0.5, name, 0.5, 1.5, 1e-6) for m in models],
    ).catalog()


OLD = catalog("old", "vgg19", "resnet152", slo_s=1.0, device={"gpu": {"uuid": "GPU-1"}, "driver": "580.1"})
NEW = catalog("new", "resnet152", "bert-base", slo_s=2.0, device={"uuid": "GPU-1", "day": "Monday"})


def test_models_of_both_come_together_and_the_first_keeps_its_own() -> None:
    """Unless asked otherwise, a model that both have stays as it was, with its own measurements."""
    merged = merge_catalogs(OLD, NEW)
    assert {name: model.slo_s for name, model in merged.models.items()} == {
        "bert-base": 2.0,
        "resnet152": 1.0,
        "vgg19": 1.0,
    }
    assert {(row.model, row.neighbour) for row in merged.measurements} == {
        ("bert-base", "new"),
        ("resnet152", "old"),
        ("vgg19", "old"),
    }
    assert {(row.model, row.tier) for row in merged.start_ups} == {
        ("bert-base", "new"),
        ("resnet152", "old"),
        ("vgg19", "old"),
    }
    assert {(row.victim, row.neighbour) for row in merged.interference} == {
        ("bert-base:serve", "new"),
        ("resnet152:serve", "old"),
        ("vgg19:serve", "old"),
    }
    assert merged.device == OLD.device
    assert {model.startup.context_s for model in merged.models.values()} == {1.0}


def test_the_newer_one_wins_when_asked() -> None:
    """With `replace_models`, models, host and manifest of the second replace those of the first."""
    merged = merge_catalogs(OLD, NEW, replace_models=True)
    assert {name: model.slo_s for name, model in merged.models.items()} == {
        "bert-base": 2.0,
        "resnet152": 2.0,
        "vgg19": 1.0,
    }
    assert {row.neighbour for row in merged.measurements if row.model == "resnet152"} == {"new"}
    assert merged.device == NEW.device
    assert {model.startup.context_s for model in merged.models.values()} == {2.0}


def test_a_merge_with_itself_changes_nothing() -> None:
    """A catalog already holds all of itself, measurements included."""
    assert merge_catalogs(OLD, OLD) == OLD
    assert merge_catalogs(OLD, OLD, replace_models=True) == OLD


def test_a_catalog_without_a_device_takes_the_other_s() -> None:
    """What is not known cannot differ, and is taken from the one that knows."""
    bare = replace(OLD, device=None)
    assert merge_catalogs(bare, NEW).device == NEW.device
    assert merge_catalogs(OLD, replace(NEW, device=None), replace_models=True).device == OLD.device


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(NEW, gpu=replace(GPU, name="A100")), "gpu: name: found 'A100' beside 'H100'"),
        (replace(NEW, gpu=replace(GPU, memory_bytes=1)), "gpu: memory_bytes: found 1 beside 85899345920"),
        (replace(NEW, gpu=replace(GPU, sms=108)), "gpu: sms: found 108 beside 132"),
        (replace(NEW, device={"uuid": "GPU-2"}), "device: uuid: found 'GPU-2' beside 'GPU-1'"),
        (replace(NEW, device={"host": {"driver": "570"}}), "device: driver: found '570' beside '580.1'"),
    ],
)
def test_catalogs_of_other_devices_are_refused(other: Catalog, message: str) -> None:
    """What differs is named: profiles of different devices do not compare."""
    with pytest.raises(ProfileError, match=message):
        merge_catalogs(OLD, other)
