"""The fake MPS on the path, and nothing of it left after any test."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_mps import TOKEN, FakeMps, marked_pids, open_files, wait_until_gone


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Mark every process that the test starts."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(TOKEN, value)
    return value


@pytest.fixture
def fake(mark: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMps]:
    """Put the fake on the path; afterwards nothing may be left: no process, directory or descriptor."""
    base = Path("/tmp") / f"dt-{mark[:8]}"
    folder = base / "bin"
    folder.mkdir(parents=True)
    work = base / "w"
    work.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("CUDA_")]:
        monkeypatch.delenv(name)
    before = open_files()
    try:
        yield FakeMps(folder, work)
        assert wait_until_gone(mark) == []
        assert list(work.iterdir()) == []
        assert open_files() <= before
    finally:
        for pid in marked_pids(mark):
            os.kill(pid, 9)
        shutil.rmtree(base, ignore_errors=True)
