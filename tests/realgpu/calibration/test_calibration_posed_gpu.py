"""A calibration on a host that poses as one with a GPU: shares by MPS percentage, and by the launch gate."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from posed_host import BATCH_S, CAPACITY
from virtual_device import FEW, QUICK, base, quick

from policies import Launch
from profiles import load_catalog
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, Sharing
from realgpu.calibration import CalibrationReport, Settings, calibrate
from realgpu.calibration.calibrate import ShareBy, open_one_gpu
from realgpu.hosting import Hosting

SETTINGS = dataclasses.replace(
    FEW,
    batches=(1, 8),
    shares=(0.25, 0.5, 1.0),
    step_shares=(1.0, 0.5, 0.25),
    step_shares_held_out=(),
    patience=dataclasses.replace(QUICK, least=6, most=6, most_s=0.2, settling_s=0.02),
    start_ups=1,
)


@contextmanager
def posed(sharing: Sharing, spoil: Callable[[dict[str, str]], None]) -> Iterator[Hosting]:
    """The host for CUDA, whose workers pose."""
    with open_one_gpu("cuda", sharing) as hosting:

        def environment(launch: Launch, row: int) -> Mapping[str, str]:
            found = dict(hosting.environment(launch, row))
            found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
            spoil(found)
            return found

        program = str(Path(__file__).parents[1] / "hosts" / "posing_worker.py")
        yield dataclasses.replace(
            hosting,
            command=(sys.executable, program),
            environment=environment,
            reply_within_s=2.0,
            reply_within_expected=0.0,
        )


def calibrated(
    out: Path,
    share_by: ShareBy,
    *models: str,
    settings: Settings = SETTINGS,
    spoil: Callable[[dict[str, str]], None] = lambda environment: None,
) -> CalibrationReport:
    """Calibrate it."""
    sharing: Sharing = LAUNCH_TOKENS if share_by == "gate" else MPS_CAPS
    opened: Callable[[], AbstractContextManager[Any]] = partial(posed, sharing, spoil)
    return calibrate(
        "cuda",
        models,
        out=out,
        base=base(quick("bert-base"), quick("roberta-large")),
        share_by=share_by,
        open_hosting=opened,
        settings=settings,
    )


def test_shares_are_percentages_of_mps(fake_mps: Any, tmp_path: Path) -> None:
    """Each share is a worker of its own; launches and cost are counted, the label is the driver's word."""
    report = calibrated(tmp_path / "catalog", "mps", "bert-base:serve")
    found = load_catalog(report.catalog)
    assert report.failures == ()
    assert {row.share_by for row in found.measurements} == {"mps"}
    bert = found.model("bert-base")
    assert bert.launches == 20
    assert bert.latency.seconds(8, 0.25) / bert.latency.seconds(8, 1.0) == pytest.approx(4.0, rel=0.15)
    assert bert.capacity is not None
    assert bert.capacity.cost_per_s == pytest.approx(CAPACITY, rel=0.2)
    assert bert.capacity.batch_cost(8) == 1000
    assert (found.gpu.name, found.gpu.sms) == ("NVIDIA H100 80GB HBM3", 132)
    assert found.device is not None
    assert found.device["host"]["mechanism"] == "mps"


@pytest.mark.slow
def test_shares_are_rates_of_a_launch_gate(gpu: str, tmp_path: Path) -> None:
    """Without MPS one worker serves all shares, held to each by its gate; training too."""
    report = calibrated(tmp_path / "catalog", "gate", "bert-base:serve", "roberta-large:train")
    found = load_catalog(report.catalog)
    assert report.failures == ()
    assert {row.share_by for row in found.measurements} == {"gate"}
    latency = found.model("bert-base").latency
    assert latency.seconds(1, 0.25) == pytest.approx(4.0 * BATCH_S, rel=0.25)
    training = found.model("roberta-large").training
    assert training is not None
    assert training.step_s(0.5) == pytest.approx(2.0 * BATCH_S, rel=0.25)
    assert training.capacity is not None
    assert training.launches == 20
    assert found.device is not None
    assert found.device["host"]["mechanism"] == "time slicing+gate"
    assert not [note for note in found.device["host"]["notes"] if "starved" in note]


@pytest.mark.slow
def test_after_a_fault_of_the_device_the_host_is_opened_anew(gpu: str, tmp_path: Path) -> None:
    """What hit one worker may have hit all: the point is written down, and the campaign goes on."""
    started: list[dict[str, str]] = []

    def spoil(environment: dict[str, str]) -> None:
        started.append(environment)
        environment["POSE"] = "faults" if len(started) == 1 else ""

    report = calibrated(tmp_path / "catalog", "gate", "bert-base:serve", spoil=spoil)
    (failure,) = report.failures
    assert (failure.kind, failure.batch, failure.share) == ("crashed", 8, 1.0)
    assert "illegal memory access" in failure.reason
    assert len({environment["GATE_FILE"] for environment in started}) == 2
    assert report.fits[0].points == 6
