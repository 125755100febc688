"""What is kept of a run until its end, and which rows of the board are whose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_worlds import NO_ARRIVALS, deployed, model, plain_system, serves, trains

from policies import Controller, Launch, Size
from profiles.sharing import MPS_CAPS
from realgpu.board import Board
from realgpu.control.records import CHANGE
from realgpu.errors import RealGpuError
from realgpu.run_tables import RunTables
from realgpu.seating import Seating
from recording import MemoryRecorder
from recording.schema import BATCHES, GPUS, QUOTAS

FUNCTIONS = (
    serves(model("served", wave_s=1e-5), Size(4, 0.3, 0.6)),
    trains(model("trained", wave_s=2e-5), Size(1, 0.2, 0.4), workers=2),
)
DEPLOYMENT = deployed(FUNCTIONS, [np.zeros(9), NO_ARRIVALS], duration_s=10.0, gpus=2)


def launched(controller: Controller, function: int) -> Launch:
    """Launch an instance of a function."""
    (launch,) = controller.deploy(function, warm=True)
    assert isinstance(launch, Launch)
    return launch


def test_rows_come_in_the_order_of_time_whoever_reported_first() -> None:
    """Batches by their ends, GPUs by the times of their rows, quotas from time 0 up to the end."""
    controller = Controller(plain_system(), DEPLOYMENT)
    tables = RunTables(DEPLOYMENT, controller.books)
    server = launched(controller, 0)
    tables.enter(server, 0.0)
    job = launched(controller, 1)
    tables.enter(job, 0.5)
    tables.batch(server, 1, 2, 4.0, 5.0)
    tables.dropped(0, 3, 1, 4.5)
    tables.batch(server, 0, 1, 1.0, 4.0)
    tables.remain(server, 0.0, 0.0)
    tables.remain(job, 0.5, None)
    second = 10**9
    changes = np.array(
        [
            (-5, 0, server.instance, 0.3),
            (4 * second, 0, server.instance, 0.5),
            (11 * second, 0, server.instance, 0.6),
        ],
        CHANGE,
    )
    recorder = MemoryRecorder(quotas=True)
    tables.write(recorder, changes, 0, 10.0, MPS_CAPS, None)
    batches = recorder.columns(BATCHES)
    assert batches["first"].tolist() == [0, 3, 1]
    assert batches["instance"].tolist() == [0, -1, 0]
    quotas = recorder.columns(QUOTAS)
    assert quotas["time_s"].tolist() == [0.0, 4.0]
    gpus = recorder.columns(GPUS)
    assert gpus["time_s"].tolist() == [0.0, 0.5, 0.5, 10.0, 10.0]
    ours = gpus["active_share_s"][gpus["gpu"] == server.shards[0].gpu]
    assert ours[-1] == pytest.approx(3.0 * 0.3 + 1.0 * 0.5)


def test_rows_of_the_board_are_filled_in_and_come_back(tmp_path: Path) -> None:
    """A gang has a row on each GPU; who comes next gets other rows first, and clean ones."""
    controller = Controller(plain_system(), DEPLOYMENT)
    with Board.create(tmp_path, 4) as board:
        seating = Seating(board, ["served", "trained"])
        server, job = (launched(controller, function) for function in range(2))
        assert seating.take(server, FUNCTIONS[0]) == (0,)
        assert seating.take(job, FUNCTIONS[1]) == (1, 2)
        names = ("taken", "instance", "slo_sensitive", "request", "limit", "part", "wave_s", "model", "batch")
        assert board.seats[list(names)][:2].tolist() == [
            (1, server.instance, 1, 0.3, 0.6, 1.0, 1e-5, 0, 4),
            (1, job.instance, 0, 0.2, 0.4, 1.0, 2e-5, 1, 1),
        ]
        assert sorted(board.seats["gpu"][[1, 2]].tolist()) == [0, 1]
        board.seats["cycles"][0] = 7
        seating.give_back((0,))
        assert board.seats["taken"][0] == 0
        with pytest.raises(RealGpuError, match=r"instance 9 \(served\): finds no seat"):
            _take_all(seating, controller)
        assert board.seats["cycles"].tolist() == [0, 0, 0, 0]


def _take_all(seating: Seating, controller: Controller) -> None:
    """Take the two rows that are free, the one that was given back last, and one too many."""
    launch = launched(controller, 0)
    numbered = [Launch(n, 0, launch.shards, 0.0, cold=False, size=launch.size) for n in (7, 8, 9)]
    assert [seating.take(one, FUNCTIONS[0]) for one in numbered[:2]] == [(3,), (0,)]
    seating.take(numbered[2], FUNCTIONS[0])
