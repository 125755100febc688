"""A fake MPS in a folder, and ways to see what a test left behind."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from realgpu.mps import MpsSupervisor, MpsTimeouts

TOKEN = "DILU_TEST_MARK"
_PATIENCE_S = 20.0

QUICK = MpsTimeouts(
    command_s=10.0, start_s=30.0, fault_s=20.0, terminate_s=10.0, quit_s=20.0, kill_s=10.0, poll_s=0.02
)
"""Generous: a test that passes never waits for them."""

HASTY = MpsTimeouts(
    command_s=1.0, start_s=20.0, fault_s=0.6, terminate_s=1.0, quit_s=0.8, kill_s=0.5, poll_s=0.02
)
"""For tests in which a limit passes once the daemon is up."""

IMPATIENT = replace(HASTY, command_s=0.3, start_s=0.5)
"""For tests in which the daemon does not come up."""


class FakeMps:
    """A folder with the fake binaries, told what to do through its files."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder = folder
        self.base = base
        self.binary = folder / "nvidia-cuda-mps-control"
        source = Path(__file__).with_name("fake_control.py").read_text()
        self.binary.write_text(f"#!{sys.executable} -IS\n{source}")
        self.binary.chmod(0o755)
        server = folder / "nvidia-cuda-mps-server"
        server.write_text("#!/bin/sh\n")
        server.chmod(0o755)
        self.set_mode("ok")
        self.set_clients()
        (folder / "calls").write_text("")

    def set_mode(self, mode: str) -> None:
        """Choose what the fake does from now on."""
        fresh = self.folder / "mode.new"
        fresh.write_text(mode)
        fresh.replace(self.folder / "mode")

    def set_clients(self, *pids: int) -> None:
        """Choose who is a client."""
        (self.folder / "clients").write_text("\n".join(map(str, pids)))

    def calls(self) -> list[str]:
        """Return every call so far: `run OPTION`, `shell COMMAND`, `files LOGS` of a daemon's start."""
        return (self.folder / "calls").read_text().splitlines()

    def daemon_pid(self) -> int:
        """Return the daemon that started last."""
        return int((self.folder / "daemon.pid").read_text())

    def supervisor(self, timeouts: MpsTimeouts = QUICK, **settings: Path) -> MpsSupervisor:
        """Return a supervisor of it."""
        settings.setdefault("base_directory", self.base)
        return MpsSupervisor(timeouts=timeouts, **settings)


def marked_pids(mark: str) -> list[int]:
    """Return the living processes whose environment bears a mark, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"{TOKEN}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until_gone(mark: str) -> list[int]:
    """Wait for marked processes to end, and return those that did not."""
    deadline = time.monotonic() + _PATIENCE_S
    while (left := marked_pids(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def open_files() -> set[str]:
    """Return what this process has open, by descriptor and target, so that a leak of either shows."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except OSError:  # the one that lists
            continue
    return found
