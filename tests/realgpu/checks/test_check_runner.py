"""Whatever one check does, it is recorded, the others are made, and nothing stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_host import PATIENCE_S, FakeHost
from fake_mps import TOKEN, marked_pids

from realgpu.checks import CHECKS, Check, named
from realgpu.checks.listing import body_of
from realgpu.checks.processes import MARK, scratch_folder
from realgpu.checks.subject import ROOT, python_environment

MODULE = "misbehaving_checks"


def odd(name: str, limit_s: float = PATIENCE_S, estimate_s: float = 1.0, needs_device: bool = False) -> Check:
    """One of the checks of `misbehaving_checks`."""
    return Check(name, MODULE, estimate_s, limit_s, needs_device, "")


def test_each_end_of_a_check_is_recorded_and_the_next_is_made(bare_host: FakeHost) -> None:
    """Passing, failing, raising, lacking something, dying: each has its record, in the file as well."""
    records = bare_host.make(
        odd("raises"),
        odd("dies"),
        odd("finds_faults"),
        odd("is_skipped"),
        odd("lacks_a_package"),
        odd("finds_nothing_wrong"),
    )
    ends = {name: (record.passed, record.reason) for name, record in records.items()}
    assert ends == {
        "raises": (False, "ZeroDivisionError: in the check"),
        "dies": (False, "its process ended (-9): about to die"),
        "finds_faults": (False, "one thing; another thing"),
        "is_skipped": (None, "no such thing here"),
        "lacks_a_package": (None, "needs the package no_such_package_anywhere"),
        "finds_nothing_wrong": (True, None),
        "nothing_left": (True, None),
    }
    assert records["raises"].found == {"before": 1}
    assert records["finds_nothing_wrong"].found["numbers"] == [1.5, None, ["x"]]
    written = json.loads((bare_host.out / "checks.json").read_text())
    assert [record["name"] for record in written] == list(records)
    assert "ZeroDivisionError" in bare_host.log  # the traceback is kept


def test_a_check_that_hangs_is_ended_with_all_it_started(bare_host: FakeHost) -> None:
    """The budget ends it before its own limit does; what it had seen is kept, its subject goes as well."""
    records = bare_host.make(odd("hangs"), budget_s=1.3)
    assert records["hangs"].passed is False
    assert records["hangs"].reason == "not done within 1 s"
    assert records["hangs"].found == {"seen": "this much"}
    assert records["nothing_left"].passed is True


def test_a_check_that_ignores_the_end_is_killed(bare_host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace comes SIGKILL."""
    monkeypatch.setattr("realgpu.checks.processes.GRACE_S", 0.1)
    monkeypatch.setattr("realgpu.checks.processes.Limited.end.__defaults__", (signal.SIGTERM, 0.1))
    records = bare_host.make(odd("is_deaf", limit_s=0.8))
    assert (records["is_deaf"].passed, records["nothing_left"].passed) == (False, True)


def test_what_is_left_behind_is_told_and_ended(bare_host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that escaped from its group is found by its mark."""
    monkeypatch.setattr("realgpu.checks.runner._ENDS_WITHIN_S", 0.2)
    records = bare_host.make(odd("leaves_a_process"))
    pid = records["leaves_a_process"].found["pid"]
    assert records["nothing_left"].passed is False
    assert records["nothing_left"].reason == f"processes {pid} had to be ended"
    assert pid not in marked_pids(os.environ[TOKEN])


def test_what_a_check_prints_goes_to_the_log_shortened(bare_host: FakeHost) -> None:
    """The log does not grow with a library's chatter."""
    records = bare_host.make(odd("prints"))
    assert records["prints"].passed is True
    assert "words that somebody's library" in bare_host.log
    assert len(bare_host.log) < 400_000


def test_a_check_that_wants_more_than_is_left_is_not_begun(bare_host: FakeHost) -> None:
    """It is recorded as skipped, and a shorter one after it is made."""
    records = bare_host.make(odd("raises", estimate_s=500), odd("finds_nothing_wrong"), budget_s=100)
    assert records["raises"].passed is None
    assert records["raises"].reason is not None
    assert records["raises"].reason.startswith("skipped: wants about 500 s, ")
    assert records["finds_nothing_wrong"].passed is True


def test_without_a_device_only_what_needs_none_is_made(bare_host: FakeHost) -> None:
    """The others say why not."""
    records = bare_host.make(odd("raises", needs_device=True), odd("finds_nothing_wrong"), backend="virtual")
    assert records["raises"].passed is None
    assert records["raises"].reason == "skipped: backend virtual: there is no device to look at"
    assert records["finds_nothing_wrong"].passed is True


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_is_where_the_list_says(check: Check) -> None:
    """Its limit leaves room over its estimate."""
    assert callable(body_of(check.module, check.name))
    assert check.limit_s > 1.5 * check.estimate_s


def test_a_driver_that_is_missing_is_no_fault(bare_host: FakeHost) -> None:
    """Checks of the device say what is missing."""
    records = bare_host.make("gate_overhead", "mps_clients", "green_contexts")
    assert len(records) == 4
    for name, record in records.items():
        if name != "nothing_left":
            assert record.passed is None
            assert record.reason is not None
            assert "libcuda.so.1" in record.reason


def test_what_a_killed_run_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder, known by a process that no longer is; that of one that runs stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead, running, other = "dilu-x-4194305-abc", f"dilu-x-{os.getpid()}-abc", "dilu-x-name-abc"
    for name in (dead, running, other):
        (tmp_path / name).mkdir()
    with scratch_folder("dilu-x-") as made:
        assert made.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {running, other, made.name}
    assert {path.name for path in tmp_path.iterdir()} == {running, other}


def test_an_unknown_check_is_refused() -> None:
    """The line names those that there are."""
    with pytest.raises(ValueError, match=r"check: found 'gate', allowed are inventory, gate_build, "):
        named(["gate"])


def test_an_interrupted_run_keeps_its_records(bare_host: FakeHost) -> None:
    """The check that runs is ended, the others are recorded as not made, the table is printed."""
    program = (
        "import sys; from realgpu.checks import listing, __main__ as face\n"
        f"face.CHECKS = tuple(listing.Check(name, {MODULE!r}, 1, 60, False, '') "
        "for name in ('finds_nothing_wrong', 'hangs', 'raises'))\n"
        f"sys.argv[1:] = ['--out', {str(bare_host.out)!r}]\n"
        "sys.exit(face.main())"
    )
    environment = python_environment({**os.environ, MARK: ""})
    environment["PYTHONPATH"] += f":{Path(__file__).parent}"
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    path = bare_host.out / "checks.json"
    deadline_s = time.monotonic() + PATIENCE_S
    while not path.exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.3)  # let the one that hangs begin
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    records = {one["name"]: one for one in json.loads(path.read_text())}
    assert records["finds_nothing_wrong"]["passed"] is True
    assert (records["hangs"]["passed"], records["hangs"]["reason"]) == (False, "interrupted")
    assert (records["raises"]["passed"], records["raises"]["reason"]) == (None, "skipped: interrupted before")
    assert records["nothing_left"]["passed"] is True
    assert "2 passed, 1 failed, 1 not done" in printed


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--budget", "0"], "--budget: found 0, allowed is more than 0 seconds"),
        (["--only", "gates"], "check: found 'gates', allowed are inventory,"),
    ],
)
def test_bad_input_is_refused_in_a_line(tmp_path: Path, arguments: list[str], fault: str) -> None:
    """Status 2, and nothing is written."""
    call = [sys.executable, "-m", "realgpu.checks", "--out", str(tmp_path / "out"), *arguments]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(fault)
    assert not (tmp_path / "out").exists()
