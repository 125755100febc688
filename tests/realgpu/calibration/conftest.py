"""Nothing of a calibration is left after any test: no process, no file in shared memory, no descriptor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1])]

from small_worlds import children, descriptors, run_folders


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """See to it."""
    before = set(descriptors().values()), threading.active_count()
    yield
    assert children(os.getpid()) == set()
    assert run_folders() == []
    assert (set(descriptors().values()) - before[0], threading.active_count()) == (set(), before[1])
