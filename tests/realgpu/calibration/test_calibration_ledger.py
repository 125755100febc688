"""What a calibration keeps in files, and makes profiles of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from virtual_device import base, quick

from profiles import (
    InterferenceMeasurement,
    LatencySurface,
    Measurement,
    ProfileError,
    StartUpMeasurement,
    StepCurve,
    load_catalog,
    write_catalog,
)
from realgpu.calibration.failures import Failure
from realgpu.calibration.ledger import Ledger
from realgpu.calibration.profile import make_draft
from realgpu.calibration.report import CalibrationReport, fit_reports
from realgpu.errors import RealGpuError

SURFACE = LatencySurface(0.003, 0.0002, 0.0005, 0.001, 3.0)
STEP = StepCurve(0.01, 0.02, 3.0)
FAILURE = Failure("bert-base", "serve", 32, 0.5, "oom", "out of memory")


def full(folder: Path, *, train: bool = True, serve: bool = True) -> Ledger:
    """A ledger of a GPU on which one model was measured by MPS."""
    ledger = Ledger(folder)
    ledger.know({"backend": "cuda", "name": "a GPU", "gpu": "a GPU", "date": "2026-01-01"})
    ledger.know({"sm_count": 132, "memory_bytes": 80 << 30})
    for batch in (1, 2, 4, 8) if serve else ():
        for share in (0.1, 0.3, 1.0):
            took_s = SURFACE.seconds(batch, share)
            ledger.add(
                Measurement(
                    "bert-base",
                    "serve",
                    batch,
                    share,
                    "mps",
                    (took_s,) * 7,
                    150,
                    1000.0 * batch,
                    2 << 30,
                    held_out=(batch, share) == (4, 0.3),
                )
            )
    for share in (0.1, 0.3, 0.6, 1.0) if train else ():
        ledger.add(Measurement("bert-base", "train", 4, share, "mps", (STEP.seconds(share),) * 7, 450, 5e4))
    return ledger


def test_rows_are_there_again(tmp_path: Path) -> None:
    """Every kind of row is written at once, and read by the next call."""
    ledger = full(tmp_path)
    start = StartUpMeasurement("bert-base", "made on the device", 2.0, 0.5, 0.1, 0.3, 1000)
    pair = InterferenceMeasurement("bert-base:serve@0.5:b4", 0.5, "x:train@0.5:b8", 0.5, 1.5, 1e-5, 2e-5)
    ledger.add_start_up(start)
    ledger.add_interference(pair)
    ledger.add_failure(FAILURE)
    again = Ledger(tmp_path)
    assert again.measurements == ledger.measurements
    assert (again.start_ups, again.interference, again.failures) == ([start], [pair], [FAILURE])
    assert again.device == ledger.device
    assert again.failed("bert-base", "serve") == [FAILURE]
    assert again.failed("bert-base", "train") == []
    assert len(again.points("bert-base", "serve")) == 12
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_failure_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    """The next one follows the last whole line."""
    Ledger(tmp_path).add_failure(FAILURE)
    with (tmp_path / "failures.jsonl").open("a") as file:
        file.write('{"model": "be')
    again = Ledger(tmp_path)
    again.add_failure(FAILURE)
    assert Ledger(tmp_path).failures == [FAILURE, FAILURE]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("measurements.csv", "a,b\n", "line 1: found a,b"),
        ("failures.jsonl", '{"model": 1}\n', "failures.jsonl: line 1: found"),
        ("calibration.json", "[]", "calibration.json: is no JSON object"),
        ("calibration.json", "{", "calibration.json: is no JSON object"),
    ],
)
def test_what_is_no_ledger_is_refused(tmp_path: Path, name: str, text: str, fault: str) -> None:
    """In one line that names the file and what to do."""
    (tmp_path / name).write_text(text)
    with pytest.raises(RealGpuError, match=fault) as refused:
        Ledger(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    """The directory cannot be made where a file is."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RealGpuError, match="cannot be made"):
        Ledger(tmp_path / "file")


def test_facts_of_the_device_are_kept_and_held_against_others(tmp_path: Path) -> None:
    """More may become known; what is known does not change."""
    ledger = full(tmp_path)
    ledger.know({"host": {"mechanism": "mps"}})
    assert json.loads((tmp_path / "calibration.json").read_text())["host"] == {"mechanism": "mps"}
    with pytest.raises(RealGpuError, match=r"name: found measurements of 'a GPU', allowed is 'another'"):
        Ledger(tmp_path).know({"name": "another"})


def test_measurements_become_profiles_that_say_where_they_come_from(tmp_path: Path) -> None:
    """Everything measured replaces the base, the rest keeps value and origin; what is written reads back."""
    ledger = full(tmp_path / "ledger")
    ledger.add_start_up(StartUpMeasurement("bert-base", "made on the device", 2.0, 0.5, 0.1, 0.3, 10**9))
    for wave_s in (1e-5, 3e-5, 8e-5):
        ledger.add_interference(
            InterferenceMeasurement("v:serve@1:b4", 1.0, "bert-base:train@1:b4", 1.0, 1.5, wave_s, wave_s)
        )
    known = base()
    made = make_draft(ledger, known)
    assert made.notes == ()
    catalog = load_catalog(write_catalog(tmp_path / "catalog", made.draft))
    bert, before = catalog.model("bert-base"), known.model("bert-base")
    assert (catalog.gpu.name, catalog.gpu.sms, catalog.gpu.memory_bytes) == ("a GPU", 132, 80 << 30)
    assert bert.latency.seconds(3, 0.2) == pytest.approx(SURFACE.seconds(3, 0.2), rel=0.01)
    assert (bert.launches, bert.memory_bytes, bert.max_batch) == (150, 2 << 30, 8)
    assert bert.capacity is not None
    assert bert.capacity.cost_per_s == pytest.approx(8000.0 / SURFACE.seconds(8, 1.0))
    assert bert.capacity.batch_cost(4) == 4000.0
    assert bert.training is not None
    assert bert.training.step_s(0.5) == pytest.approx(STEP.seconds(0.5), rel=0.01)
    assert (bert.training.launches, bert.training.workers, bert.training.wave_s) == (450, 1, 3e-5)
    assert bert.wave_s == before.wave_s
    assert (bert.startup.runtime_s, bert.startup.context_s, bert.startup.warm_up_s) == (2.0, 0.5, 0.3)
    assert bert.startup.bandwidth_bytes_per_s == pytest.approx(1e10)
    assert bert.startup.container_s == before.startup.container_s
    origins = bert.provenance
    assert (
        origins["latency"].source
        == "measured on a GPU, 2026-01-01, by MPS percentage, 12 points in bert-base.csv"
    )
    measured = ("launches", "memory_bytes", "training.launches", "training.wave_s", "capacity.cost_per_s")
    assert {origins[path].kind for path in measured} == {"measured"}
    for path in ("slo_s", "max_batch", "wave_s", "startup.container_s"):
        assert origins[path] == before.provenance[path]


def test_points_of_another_way_of_sharing_are_left_out(tmp_path: Path) -> None:
    """A surface is of the commonest way; the whole device is part of any."""
    ledger = full(tmp_path, train=False)
    ledger.add(Measurement("bert-base", "serve", 1, 0.5, "gate", (9.0,)))
    ledger.add(Measurement("bert-base", "serve", 2, 1.0, "whole", (SURFACE.seconds(2, 1.0),)))
    made = make_draft(ledger, base())
    assert made.notes == ("bert-base: 1 points are left out, not by MPS percentage",)
    (bert,) = made.draft.models
    assert bert.latency.fit_max_error is not None
    assert bert.latency.fit_max_error < 0.01
    assert bert.training is None


def test_who_was_only_trained_serves_slower_as_it_trains_slower(tmp_path: Path) -> None:
    """Its surface is the base's times how much longer a step took: derived, and said to be."""
    known = base(quick("bert-base"))
    (bert,) = make_draft(full(tmp_path, serve=False), known).draft.models
    before = known.model("bert-base")
    assert before.training is not None
    ratio = STEP.seconds(1.0) / before.training.step_s(1.0)
    assert bert.latency.seconds(4, 0.5) == pytest.approx(ratio * before.latency.seconds(4, 0.5), rel=0.01)
    assert bert.provenance["latency"].kind == "derived"


def test_too_few_measurements_are_no_profile(tmp_path: Path) -> None:
    """A model that cannot be fitted is left out with its reason; if all are, there is no catalog."""
    ledger = Ledger(tmp_path)
    ledger.add(Measurement("bert-base", "serve", 1, 0.5, "gate", (0.01,)))
    ledger.add(Measurement("roberta-large", "train", 1, 0.5, "gate", (0.01,)))
    with pytest.raises(ProfileError, match=r"measured enough \(bert-base: left out: found too few"):
        make_draft(ledger, base())


def test_a_report_is_a_table(tmp_path: Path) -> None:
    """Points, errors, failures and what was left out, a line each; and JSON."""
    ledger = full(tmp_path / "ledger")
    made = make_draft(ledger, base())
    fits = fit_reports(made.draft.models, ledger.measurements, 60, 6)
    report = CalibrationReport(tmp_path, {}, fits, 9.0, 16, (FAILURE,), {"x: more": "no time"}, ("a note",))
    lines = report.lines()
    assert lines[1].split() == ["bert-base", "serve", "12/60", "0.0%", "0.0%", "of", "1", "mps"]
    assert lines[2].split() == ["bert-base", "train", "4/6", "0.0%", "-", "mps"]
    assert lines[3:] == [
        "failed (oom): bert-base: out of memory",
        "left out: x: more: no time",
        "note: a note",
    ]
    assert json.loads(json.dumps(report.as_json()))["failures"][0]["kind"] == "oom"
