"""The soak finds nothing wrong with real runs, and would if there were."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak_real_world.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak_real_world", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SOAK = _load()


@pytest.fixture
def nothing_ignored() -> Iterator[None]:
    """Have runs begin as from a terminal, whatever this test run ignores."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    SOAK.do_not_pass_on_what_is_ignored()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_ignored")
def test_runs_with_faults_leave_nothing(tmp_path: Path) -> None:
    """Some with a fault, the last of which leaves what the one without a fault then removes."""
    names = ("SIGKILL worker", "SIGTERM command", "SIGKILL command and controller")
    by_name = {fault.name: fault for fault in SOAK.FAULTS}
    faults = [by_name[name] for name in names]
    endings = list(SOAK.soak(faults, tmp_path, seed=3, duration_s=0.5, usual_s=3.0))
    assert [ending.wrong for ending in endings] == [[]] * (len(faults) + 1)
    assert endings[-1].outcome == "complete"
    assert any(ending.hit for ending in endings)
    assert "SIGKILL worker" in SOAK.table(endings)


@pytest.fixture
def sleeper(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A command that ends at once, with a child that does not."""
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, SOAK.MARK: tmp_path.name}, start_new_session=True
    )


def test_what_is_left_behind_is_found(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process, wherever it went, a file in shared memory, a temporary one."""
    monkeypatch.setattr(SOAK, "GONE_WITHIN_S", 0.2)
    monkeypatch.setattr(SOAK, "SHARED_MEMORY", tmp_path)
    sleeper.wait(60)
    (tmp_path / f"dilu-run-{sleeper.pid}-1-x").mkdir()
    (tmp_path / "dilu-gate-1-abc").touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (temporary / "left").touch()
    (child,) = SOAK.marked(tmp_path.name)
    try:
        left = SOAK.left_behind(SOAK.NO_FAULT, sleeper.pid, tmp_path.name, temporary)
    finally:
        SOAK.end(sleeper, tmp_path.name)
    assert len(left) == 3
    assert left[0].startswith(f"left process {child}: ")
    assert left[1:] == [f"left {tmp_path}/dilu-run-{sleeper.pid}-1-x", f"left {temporary}/left"]
    assert SOAK.marked(tmp_path.name) == []


STATE = """{"state": "%s", "reason": %s, "systems": ["dilu"], "experiment": "x", "world": "realgpu",
"backend": "virtual", "host": "elsewhere", "pid": 1, "started": 1, "begun_at": "2026-01-01"}"""


@pytest.mark.parametrize(
    ("fault", "status", "state", "reason", "complaint"),
    [
        ("none", 0, "complete", None, None),
        ("none", 1, "aborted", "why", "exit status 1, allowed are [0]: ['last word']"),
        ("SIGKILL worker", 1, "aborted", "why", None),
        ("SIGKILL worker", 0, "aborted", "why", "exit status 0, but aborted"),
        ("SIGKILL worker", 1, "running", None, "says no ending: still running"),
        ("SIGKILL worker", 1, "aborted", "", "says no ending: aborted"),
        ("SIGKILL worker", 1, None, None, "no run.json"),
        ("SIGKILL worker", 1, "absent", None, "no run directory"),
        ("SIGINT command", 130, "absent", None, None),
        ("SIGINT command", 130, "complete", None, "exit status 130, but complete"),
        ("SIGINT command", 143, "absent", None, "exit status 143, allowed are [-2, 0, 130]"),
        ("SIGKILL command", -9, "aborted", "its process ended without a word", None),
        ("SIGKILL command", -9, "aborted", "interrupted", "exit status -9, but aborted: interrupted"),
    ],
)
def test_an_ending_is_judged(
    tmp_path: Path, fault: str, status: int, state: str | None, reason: str | None, complaint: str | None
) -> None:
    """Exit status, directory and what it says have to agree with each other and with the fault."""
    out = tmp_path / "run"
    (tmp_path / "run.log").write_text("first word\nlast word\n")
    if state != "absent":
        out.mkdir()
    if state in ("complete", "running", "aborted"):
        (out / "run.json").write_text(STATE % (state, "null" if reason is None else f'"{reason}"'))
    (found,) = [one for one in SOAK.FAULTS if one.name == fault]
    outcome, wrong = SOAK.judge(found, status, True, out)
    assert outcome == (state or "unknown")
    assert (wrong == []) == (complaint is None)
    assert complaint is None or any(one.startswith(complaint) for one in wrong)


def test_nobody_is_signalled_who_is_not_there() -> None:
    """A process without children has neither workers nor a controller."""
    chance = random.Random(0)
    assert SOAK.workers(os.getpid(), chance) == SOAK.controller(os.getpid(), chance) == []
    assert SOAK.orchestrator(os.getpid(), chance) == [os.getpid()]
    assert SOAK.orchestrator(2**22 + 1, chance) == []


def test_the_command_line_takes_whole_numbers() -> None:
    """What it does not understand is one line, status 2."""
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--runs", "many"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "--runs: invalid int value: 'many'" in result.stderr
