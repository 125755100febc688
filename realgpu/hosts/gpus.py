"""The GPUs of this host, by the driver's word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from realgpu.errors import RealGpuError
from realgpu.hosts import ask_driver
from realgpu.mps.control import PIPE_DIRECTORY, without_mps

NO_DAEMON: Final = "/proc/no-mps"
"""A pipe directory that can never be there: who is pointed to it runs without MPS."""

ANSWER_WITHIN_S: Final = 60.0
"""Initialising a driver that nobody uses takes seconds; one that is wedged never answers. Assumed."""

INSTEAD: Final = "choose the backend cpu or virtual"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU; `uuid` names it to CUDA and NVML alike."""

    uuid: str
    name: str
    sm_count: int
    memory_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return the record for a manifest."""
        return asdict(self)


def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, in the order of CUDA; CUDA is not initialised here.

    Raises
    ------
    RealGpuError
        If there is no driver, it finds no GPU, or it does not answer.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", ask_driver.__file__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_S,
            env={**without_mps(os.environ), PIPE_DIRECTORY: NO_DAEMON},
            check=False,
        )
    except subprocess.TimeoutExpired:
        fault = f"the driver does not answer within {ANSWER_WITHIN_S:g} s"
        raise RealGpuError(f"backend cuda: {fault}; {INSTEAD}") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RealGpuError(
            f"backend cuda: asking the driver ended with {done.returncode} ({said}); {INSTEAD}"
        )
    answer = json.loads(done.stdout)
    if "fault" in answer:
        raise RealGpuError(f"backend cuda: {answer['fault']}; {INSTEAD}")
    if not answer["gpus"]:
        raise RealGpuError(f"backend cuda: the driver lists no GPU; {INSTEAD}")
    return tuple(Gpu(**gpu) for gpu in answer["gpus"])
