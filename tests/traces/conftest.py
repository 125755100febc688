"""Where the real traces are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no clock", deadline=None)  # how long an example takes proves nothing
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def trace_dir() -> Path:
    """Return the directory of real traces that `DILU_TRACE_DIR` names."""
    named = os.environ.get("DILU_TRACE_DIR")
    if not named or not Path(named).is_dir():
        pytest.skip("DILU_TRACE_DIR names no directory of real traces")
    return Path(named)
