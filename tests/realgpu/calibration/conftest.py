"""Nothing of a calibration is left after any test; and a host that poses as one with a GPU."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

REALGPU = Path(__file__).parents[1]
sys.path += [str(REALGPU), str(REALGPU / "hosts")]

from small_worlds import children, descriptors, run_folders  # noqa: E402

# The fixtures of the posed host stand in the conftest of its own tests, which has this module's name.
_SPEC = importlib.util.spec_from_file_location("posed_gpu_fixtures", REALGPU / "hosts" / "conftest.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_POSED = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_POSED)
driver_folder, gate_cache, nvml = _POSED.driver_folder, _POSED.gate_cache, _POSED.nvml
gpu, fake_mps = _POSED.gpu, _POSED.fake_mps


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """See to it that no process, no file in shared memory, no descriptor and no thread is left."""
    before = set(descriptors().values()), threading.active_count()
    yield
    assert children(os.getpid()) == set()
    assert run_folders() == []
    assert (set(descriptors().values()) - before[0], threading.active_count()) == (set(), before[1])
