"""How far a run is: `run.json` in its directory says whether it is complete, and if not, why.

It is written when a run begins, after each system, and when it ends. Process ids and dates stand here and
nowhere else, so that tables, manifests and summaries of equal runs stay equal.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experiments.schema import RUN_FILE
from realgpu.process_start import started_at
from realgpu.workers.protocol import BackendName
from recording import RecordingError, write_json
from recording.manifest import read_json

LOST: Final = "its process ended without a word"
"""Why a run was aborted whose process could not say it: it was killed, or the machine went down."""


class RunState(BaseModel):
    """What `run.json` says.

    Attributes
    ----------
    state
        `running`, `complete`, or `aborted`.
    reason
        Why it was aborted, in one line.
    system
        The one that runs, or in which the run was aborted.
    finished
        Systems whose results are whole, of `systems`, in the order in which they ran.
    world, backend
        What carried it out; `backend` is of the real world.
    host, pid, started
        The process: its machine, its id, and when it was started, in clock ticks since boot, by which it is
        told from a later one of the same id; `None` where the system does not say.
    begun_at, ended_at
        ISO 8601, UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Literal["running", "complete", "aborted"]
    reason: str | None = None
    system: str | None = None
    finished: tuple[str, ...] = ()
    systems: tuple[str, ...]
    experiment: str
    world: Literal["sim", "realgpu"]
    backend: BackendName | None
    host: str
    pid: Annotated[int, Field(ge=1)]
    started: int | None
    begun_at: str
    ended_at: str | None = None

    def __str__(self) -> str:
        """Say in one line how far it is."""
        where = "" if self.system is None else f" in system {self.system}"
        finished = f"finished: {', '.join(self.finished)}" if self.finished else "no system finished"
        if self.state == "complete":
            return f"complete; {finished}"
        if self.state == "running":
            return f"still running{where}; {finished}"
        return f"aborted{where}: {self.reason}; {finished}"


class RunProgress:
    """Keeps the `run.json` of a run that goes on in this process.

    Parameters
    ----------
    folder
        The run directory.
    """

    def __init__(
        self,
        folder: Path,
        experiment: str,
        systems: tuple[str, ...],
        world: Literal["sim", "realgpu"],
        backend: BackendName | None,
    ) -> None:
        self._path, self._beside = run_files(folder)
        pid = os.getpid()
        self._keep(
            RunState(
                state="running",
                systems=systems,
                experiment=experiment,
                world=world,
                backend=backend,
                host=socket.gethostname(),
                pid=pid,
                started=started_at(pid),
                begun_at=_now(),
            )
        )

    def begin(self, system: str) -> None:
        """Take note of the system that runs."""
        self._keep(self._state.model_copy(update={"system": system}))

    def finish(self, system: str) -> None:
        """Take note that a system's results are whole."""
        finished = (*self._state.finished, system)
        self._keep(self._state.model_copy(update={"system": None, "finished": finished}))

    def complete(self) -> None:
        """Take note that the run is."""
        self._keep(self._state.model_copy(update={"state": "complete", "ended_at": _now()}))

    def abort(self, reason: str) -> None:
        """Take note that the run goes no further, and why."""
        text = reason.encode("utf-8", "backslashreplace").decode()  # names of files may be no text
        update = {"state": "aborted", "reason": " ".join(text.split()), "ended_at": _now()}
        self._keep(self._state.model_copy(update=update))

    @property
    def system(self) -> str | None:
        """The system that runs, or in which the run was aborted."""
        return self._state.system

    def _keep(self, state: RunState) -> None:
        """Write it beside and put it in its place, so that a reader finds the old state or the new one."""
        self._state = state
        write_json(self._beside, state.model_dump(mode="json"))
        self._beside.replace(self._path)


def run_files(folder: Path) -> tuple[Path, Path]:
    """Return where the state of a run directory lies, and where it is written first."""
    return folder / RUN_FILE, folder / f".{RUN_FILE}.new"


def run_state(folder: Path) -> RunState | None:
    """Return how far the run in a run directory is; `None` if nothing there says it.

    One that calls itself running, but whose process no longer runs on this machine, was aborted. Of another
    machine's processes nothing can be known: its word stands.

    Raises
    ------
    RecordingError
        If `run.json` is damaged.
    """
    path = folder / RUN_FILE
    if not path.exists():
        return None
    try:
        state = RunState.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordingError(f"{path}: {where}: {first['msg'].lower()}") from None
    if state.state == "running" and state.host == socket.gethostname() and not _runs(state):
        return state.model_copy(update={"state": "aborted", "reason": LOST})
    return state


def _runs(state: RunState) -> bool:
    """Whether the process of a run still runs, on this machine."""
    if state.started is not None:
        return started_at(state.pid) == state.started
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
