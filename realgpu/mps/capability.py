"""What this host has of MPS: the binaries, their version, and whether a daemon already serves it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realgpu.mps.control import CONTROL_BINARY, MpsControl, MpsError, without_mps

SERVER_BINARY = "nvidia-cuda-mps-server"
_LONGEST_TEXT = 8000


@dataclass(frozen=True, slots=True)
class MpsCapability:
    """What was found; JSON-able through `as_json`.

    Attributes
    ----------
    control_path, server_path
        The binaries; `None` where the path has none. They come with the driver, never with CUDA or a wheel.
    version
        What `-v` prints; `None` where it fails, as it may on a driver that does not know the option.
    usage
        What `--help` prints.
    ambient_daemon
        Whether a daemon answers where this process's environment points: one that is not ours.
    """

    control_path: str | None
    server_path: str | None
    version: str | None
    usage: str | None
    ambient_daemon: bool

    @property
    def installed(self) -> bool:
        """Whether a daemon and its servers can be started at all."""
        return self.control_path is not None and self.server_path is not None

    @property
    def static_partitioning(self) -> bool:
        """Whether the usage names it: CUDA 13.1 and later; driver 580 does not have it."""
        return self.usage is not None and "static-partitioning" in self.usage

    def as_json(self) -> dict[str, Any]:
        """Return the record for a manifest."""
        return {
            **asdict(self),
            "installed": self.installed,
            "static_partitioning": self.static_partitioning,
        }


def probe(binary: str | Path = CONTROL_BINARY, *, timeout_s: float = 5.0) -> MpsCapability:
    """Look at this host; starts nothing that stays, and never fails."""
    control_path = shutil.which(str(binary))
    if control_path is None:
        return MpsCapability(None, shutil.which(SERVER_BINARY), None, None, False)
    beside = Path(control_path).resolve().parent / SERVER_BINARY
    return MpsCapability(
        control_path=control_path,
        server_path=str(beside) if beside.exists() else shutil.which(SERVER_BINARY),
        version=_printed_by(control_path, "-v", timeout_s),
        usage=_printed_by(control_path, "--help", timeout_s),
        ambient_daemon=answers(MpsControl(binary=control_path, timeout_s=timeout_s)),
    )


def answers(control: MpsControl) -> bool:
    """Whether something serves this pipe directory: a daemon, or one that is wedged and keeps us waiting."""
    try:
        control.ask("get_server_list")
    except MpsError as error:
        return error.cause == "timeout"
    return True


def _printed_by(path: str, option: str, timeout_s: float) -> str | None:
    """Return what an option prints, whatever the exit status of a usage text is."""
    try:
        process = subprocess.run(
            [path, option],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            env=without_mps(os.environ),
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip()[:_LONGEST_TEXT] or None
