from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_parent import Agency, lives, open_files

from realgpu.board import Board


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board of four seats, nobody on them."""
    with Board.create(tmp_path, 4) as board:
        yield board


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[Agency]:
    """Workers, of which nothing is left after the test: no process, no descriptor, no file but logs."""
    before = open_files()
    agency = Agency(tmp_path)
    yield agency
    pids = [worker.process.pid for worker in agency.hired]
    for worker in agency.hired:
        worker.close()
    assert not [pid for pid in pids if lives(pid)]
    assert open_files() == before
    assert {path.suffix for path in tmp_path.iterdir() if path.suffix} <= {".log"}
