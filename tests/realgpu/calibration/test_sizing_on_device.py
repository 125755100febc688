"""Sizing measures the device itself: what it finds is the device's, not the profile's."""

from __future__ import annotations

import pytest
from slower_worker import SLOWER
from virtual_device import QUICK, hosting, quick

from realgpu.calibration.on_device import device_measure


def test_a_measurement_is_the_devices_own() -> None:
    """Batches and shares are measured as asked, in any order, and a point only once."""
    model = quick("bert-base")
    with device_measure("virtual", model, "inference", patience=QUICK, open_hosting=hosting()) as measure:
        found = {at: measure(*at) for at in ((1, 0.5), (8, 0.2), (2, 1.0))}
        assert measure(8, 0.2) == found[8, 0.2]
    for (batch, share), seconds in found.items():
        assert seconds == pytest.approx(SLOWER * model.latency.seconds(batch, share), rel=0.1)


def test_training_steps_are_measured() -> None:
    """A training is measured by its steps, whatever batch is asked for."""
    model = quick("bert-base")
    assert model.training is not None
    with device_measure("virtual", model, "training", patience=QUICK, open_hosting=hosting()) as measure:
        found_s = measure(1, 0.5)
    assert found_s == pytest.approx(SLOWER * model.training.step_s(0.5), rel=0.1)
