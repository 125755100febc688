"""A parent written by hand: it lays out a board, starts workers on it, and speaks the protocol with them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from profiles import ModelProfile, load_catalog
from profiles.sharing import LAUNCH_TOKENS, Sharing
from realgpu.board import Board
from realgpu.workers import Begin, Channel, Done, Message, Ready, Run, packed

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
"""No answer takes so long, however busy the machine is."""

MODELS = ("bert-base", "roberta-large", "resnet152", "llama2-7b")

Kind = TypeVar("Kind", bound=Message)


def model(name: str) -> ModelProfile:
    """A model of the shipped catalog."""
    return load_catalog().model(name)


def sit(
    board: Board,
    row: int,
    profile: ModelProfile,
    *,
    gpu: int = 0,
    quota: float = 1.0,
    job: str = "serve",
    part: float = 1.0,
    batch: int = 8,
    request: float = 0.3,
    limit: float = 0.6,
) -> None:
    """Fill a row of the board as orchestrator and controller do."""
    training = profile.training if job == "train" else None
    row_ = board.seats[row]
    row_["instance"], row_["gpu"], row_["part"], row_["batch"] = row, gpu, part, batch
    row_["slo_sensitive"], row_["is_llm"] = job == "serve", profile.kind == "llm"
    row_["request"], row_["limit"], row_["quota"] = request, limit, quota
    row_["wave_s"] = profile.wave_s if training is None else training.wave_s
    row_["model"] = MODELS.index(profile.name)
    row_["taken"] = 1


def begin(
    board: Board,
    profile: ModelProfile,
    *,
    rows: Sequence[int] = (0,),
    job: str = "serve",
    sharing: Sharing = LAUNCH_TOKENS,
    **fields: Any,
) -> Begin:
    """A `Begin` for a virtual worker; `fields` replace others."""
    values: dict[str, Any] = {
        "board": str(board.path),
        "seats": tuple(rows),
        "backend": "virtual",
        "job": job,
        "model": profile.name,
        "profile": packed(profile),
        "batch": 8,
        "sharing": packed(sharing),
        "interference": None,
        "iterations": None,
        "seed": 1,
        "models": MODELS,
        "options": {},
    }
    return Begin(**{**values, **fields})


class Worker:
    """A worker process and the parent's end of its socket. A context manager that leaves nothing."""

    def __init__(
        self, log: Path, *, python: str = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        ours, theirs = socket.socketpair()
        self.log = log
        with theirs, log.open("wb") as output:
            self.process = subprocess.Popen(
                [python, "-m", "realgpu.workers", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env={**os.environ, **(environment or {})},
            )
        self.channel = Channel(ours)

    def expect(self, kind: type[Kind]) -> Kind:
        """Receive the next message, which is of this kind."""
        message = self.channel.receive(PATIENCE_S)
        assert isinstance(message, kind), (message, self.log.read_text())
        return message

    def start(self, message: Begin) -> Ready:
        """Send a `Begin` and wait until the worker is ready."""
        self.channel.send(message)
        return self.expect(Ready)

    def serve(self, count: int, iterations: int = 1, first: int = 0) -> float:
        """Have a batch served, and return the seconds it took."""
        self.channel.send(Run(first, count, iterations))
        done = self.expect(Done)
        return (done.end_ns - done.start_ns) / 1e9

    def status(self) -> int:
        """Wait for the process to end."""
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """End it, if it has not yet."""
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Agency:
    """Hires workers for a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.hired: list[Worker] = []

    def hire(self, **settings: Any) -> Worker:
        """Start a worker process."""
        worker = Worker(self._folder / f"worker-{len(self.hired)}.log", **settings)
        self.hired.append(worker)
        return worker


class Till:
    """A gate that lets everything pass, and keeps the receipts."""

    def __init__(self) -> None:
        self.charged: list[int] = []

    def charge(self, cost: int) -> None:
        """Take note of a cost."""
        self.charged.append(cost)

    def close(self) -> None:
        """Do nothing."""


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def open_files() -> list[str]:
    """What this process has open, each as the kernel names it."""
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            names.append(str(descriptor.readlink()))
    return sorted(name for name in names if not name.startswith("/proc/"))


def wait_until(condition: Any, patience_s: float = PATIENCE_S) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
