"""What can go wrong on a host, what is done about it, and which tests show that it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from small_worlds import children, deployed, model, plain_system, run_folders, run_virtually, serves

from experiments import load_experiment, run_experiment
from experiments.run_state import run_state
from policies import Size
from realgpu import household
from realgpu.errors import RealGpuError
from recording import load_all

TESTS = Path(__file__).parents[1]
HERE = f"realgpu/{Path(__file__).name}"


@dataclass(frozen=True)
class Row:
    """An event, what is done about it, and the tests of that, below `tests/`."""

    event: str
    action: str
    tests: tuple[str, ...]


TABLE = (
    Row(
        "MPS is not installed, its daemon fails, or the driver says that a process is no client",
        "go on without, say so, and never call the result MPS",
        (
            "realgpu/mps/test_mps_supervisor.py::test_without_a_binary_the_state_is_absent",
            "realgpu/mps/test_mps_supervisor.py::test_a_daemon_that_dies_at_start_is_reported_with_its_words",
            "realgpu/mps/test_mps_evidence.py::test_attribute_0_is_not_mps_whatever_else_is_said",
            "realgpu/hosts/test_device_environment.py::test_caps_without_mps_become_rates",
            "realgpu/hosts/test_device_environment.py::test_a_daemon_that_does_not_do_what_it_is_asked_is_said",
            "realgpu/hosts/test_device_means.py::test_a_run_is_called_mps_only_if_every_worker_says_so",
            "realgpu/hosts/test_device_runs.py::test_a_worker_that_misses_the_daemon_denies_the_label",
        ),
    ),
    Row(
        "a worker crashes, or there is a GPU fault under MPS, which poisons all clients",
        "end all workers, mark the run; wait for the server, or have a new daemon",
        (
            "realgpu/test_world_endings.py::test_a_worker_that_is_killed_ends_the_run",
            f"{HERE}::test_a_crash_marks_the_run_and_keeps_what_had_finished",
            "realgpu/hosts/test_device_runs.py::test_a_fault_of_the_device_ends_the_run_invalid",
            "realgpu/mps/test_mps_supervisor.py::test_a_fault_that_passes_is_waited_out",
            "realgpu/mps/test_mps_supervisor.py::test_a_fault_that_stays_gets_a_new_daemon",
            "realgpu/mps/test_mps_supervisor.py::test_a_fault_for_ever_fails_the_recovery_and_leaves_nothing",
        ),
    ),
    Row(
        "a worker hangs",
        "name it; tell MPS before it is killed",
        (
            "realgpu/test_world_endings.py::test_a_worker_that_does_one_thing_wrong_is_named[never-ready-",
            "realgpu/test_world_endings.py::test_a_worker_that_does_one_thing_wrong_is_named[never-done-",
            "realgpu/test_world_endings.py::test_who_is_halted_ends_the_run[instance 0",
            "realgpu/test_world_endings.py::test_a_worker_that_will_not_stop_is_ended_and_the_run_stands",
            "realgpu/mps/test_mps_clients.py::test_a_hung_client_is_terminated_before_it_may_be_killed",
            "realgpu/hosts/test_device_runs.py::test_a_worker_that_hangs_is_told_to_mps_before_it_is_killed",
        ),
    ),
    Row(
        "the controller dies or hangs",
        "launch gates open after 250 ms; the run is aborted",
        (
            "realgpu/gate/test_gate_waiting.py::test_a_dead_controller_opens",
            "realgpu/test_world_endings.py::test_a_controller_that_is_killed_ends_the_run",
            "realgpu/test_world_endings.py::test_a_vertical_policy_with_a_bug_ends_the_run",
            "realgpu/test_world_endings.py::test_who_is_halted_ends_the_run[controller]",
        ),
    ),
    Row(
        "a launch starves at its gate",
        "it passes at its deadline, and the run says so",
        (
            "realgpu/gate/test_gate_waiting.py::test_the_deadline_opens",
            "realgpu/hosts/test_device_environment.py::test_starved_gates_are_noted",
        ),
    ),
    Row(
        "a device or a host runs out of memory",
        "the worker says so, and the run names it",
        (
            "realgpu/workers/test_computed_worker.py::test_out_of_memory_is_said",
            "realgpu/test_world_endings.py::test_a_worker_that_does_one_thing_wrong_is_named[failed-",
        ),
    ),
    Row(
        "the gate is preloaded, and sees no launch",
        "the worker says what of the driver is loaded, and the run ends",
        (
            "realgpu/gate/test_gate_interception.py::test_every_launch_is_caught",
            "realgpu/gate/test_gate_interception.py::test_a_wrong_environment_is_said_once_and_harms_nobody",
            "realgpu/hosts/test_device_runs.py::test_a_gate_that_is_not_preloaded_is_noticed",
        ),
    ),
    Row(
        "the time that a run may take is nearly used up",
        "it is refused or given up while there is time to end it in order; what had finished is kept",
        (
            "realgpu/test_world_refusals.py::test_what_the_host_cannot_do_is_said_in_a_line",
            f"{HERE}::test_time_that_is_used_up_while_workers_start_leaves_nothing",
        ),
    ),
    Row(
        "something is left of another run",
        "what a killed run left is removed; whatever somebody else uses is left alone",
        (
            "realgpu/mps/test_mps_supervisor.py::test_a_foreign_daemon_is_refused_and_left_alone",
            "realgpu/test_world_endings.py::test_what_a_killed_household_left_is_removed_by_the_next_run",
            "realgpu/gate/test_gate_shared.py::test_files_of_killed_processes_are_found",
            f"{HERE}::test_only_what_nobody_uses_is_removed",
        ),
    ),
)


def test_every_row_has_tests_that_are_there() -> None:
    """Names may be those of all cases of a test, or of some; pytest itself finds them."""
    named = [test for row in TABLE for test in row.tests]
    files = sorted({f"tests/{test.partition('::')[0]}" for test in named})
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = found.stdout.splitlines()
    there = [line.removeprefix("tests/") for line in lines if "::" in line]
    assert len(there) > len(named) // 2, found.stdout + found.stderr
    skipped = [file for file in files if any(line.startswith("SKIPPED") and file in line for line in lines)]
    missing = [
        test
        for test in named
        if not any(_is_of(one, test) for one in there) and not _is_in_one_of(skipped, test)
    ]
    assert missing == []
    assert all(row.tests for row in TABLE)


def _is_of(found: str, named: str) -> bool:
    return found == named or found.startswith(named if "[" in named else f"{named}[")


def _is_in_one_of(files: list[str], named: str) -> bool:
    """Whether a test is in a file that is skipped as a whole here, for want of torch."""
    file, _, test = named.partition("::")
    return f"tests/{file}" in files and f"\ndef {test}(" in (TESTS / file).read_text()


LAB = """\
cluster: {nodes: 1, gpus_per_node: 1}
functions: [{name: vision, model: resnet152, batch: 4, request: 0.5, limit: 0.5}]
workload: {synthesize: {vision: {kind: poisson, rate_rps: 10}}}
systems: [mps-r, dilu]
duration_s: 0.5
"""


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Have this process end up without children, and without folders in shared memory."""
    yield
    assert children(os.getpid()) == set()
    assert run_folders() == []


def test_a_crash_marks_the_run_and_keeps_what_had_finished(tmp_path: Path) -> None:
    """The second system's worker is killed: the first one's results are whole, the directory says why."""
    experiment = tmp_path / "lab.yaml"
    experiment.write_text(LAB)

    def kill(system: str, now_s: float, end_s: float) -> None:
        if system == "dilu" and now_s > 0.0:
            (worker,) = [child for child in children(os.getpid()) if os.getpgid(child) == child]
            os.kill(worker, signal.SIGKILL)

    with pytest.raises(RealGpuError, match=r"system dilu: instance 0 \(vision\): ended unasked \(SIGKILL\)"):
        run_experiment(load_experiment(experiment), world="realgpu", out=tmp_path / "run", progress=kill)
    state = run_state(tmp_path / "run")
    assert state is not None
    assert (state.state, state.system, state.finished) == ("aborted", "dilu", ("mps-r",))
    assert str(state.reason).startswith("instance 0 (vision): ended unasked (SIGKILL)")
    (kept,) = load_all(tmp_path / "run")
    assert kept.summary["requests"] == kept.summary["completed"] + kept.summary["unfinished"]


ONE = deployed([serves(model("only", floor_s=0.05), Size(1, 0.3, 0.3))], [np.array([0.05])], duration_s=0.2)


def test_time_that_is_used_up_while_workers_start_leaves_nothing() -> None:
    """The workers that had begun are ended within the time that was kept for it."""
    with pytest.raises(RealGpuError, match="budget_s: used up before everybody was ready"):
        run_virtually(ONE, plain_system(), budget_s=10.21)


def test_only_what_nobody_uses_is_removed() -> None:
    """The folder of a process that lives stays; those of one that has ended, or whose id was reused, go."""
    place = household.SHARED_MEMORY
    if not os.access(place, os.W_OK):
        pytest.skip(f"{place} cannot be written")
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    names = {
        "used": f"{household.PREFIX}{os.getpid()}-{started}-",
        "reused": f"{household.PREFIX}{os.getpid()}-{started + 1}-",
        "ended": f"{household.PREFIX}4194305-1-",
        "of somebody else": "dilu-running-4194305-1-",
    }
    folders = {what: Path(tempfile.mkdtemp(prefix=name, dir=place)) for what, name in names.items()}
    try:
        run_virtually(ONE, plain_system())
        assert [what for what, folder in folders.items() if folder.exists()] == ["used", "of somebody else"]
    finally:
        for folder in folders.values():
            if folder.exists():
                folder.rmdir()
