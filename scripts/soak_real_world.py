#!/usr/bin/env python3
"""Run a short experiment for real, again and again, each time with one fault, and see that nothing stays.

A run is the command itself, `dilu replay ... --world realgpu`, in a process of its own; after a random time a
random process of it gets a signal. Afterwards no process of it may live, nothing of it may lie in shared
memory or among temporary files, its exit status must be the right one, and its directory must say that it is
complete, say why it was aborted, or not be there (interrupted before a system had finished).

Prints a table by fault. Status: 0, or 1 if anything was left behind or went wrong.

    python scripts/soak_real_world.py [--runs 50] [--seed N] [--backend virtual|cpu] [--out DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.run_state import LOST, run_state

REPOSITORY: Final = Path(__file__).resolve().parents[1]

EXPERIMENT: Final = """\
cluster: {{nodes: 1, gpus_per_node: 2}}
functions:
  - {{name: answers, model: bert-base, batch: 4, request: 0.3, limit: 0.45, min_instances: 1}}
  - {{name: ranking, model: roberta-large, batch: 4, request: 0.3, limit: 0.45, min_instances: 1}}
  - {{name: vision-training, model: resnet152, training: true, request: 0.2, limit: 0.6, workers: 1}}
workload:
  synthesize:
    answers: {{kind: poisson, rate_rps: 20}}
    ranking: {{kind: bursty, rate_rps: 10, period_s: 2}}
systems: [dilu, mps-r]
duration_s: {duration_s}
"""

SHARED_MEMORY: Final = Path("/dev/shm")
MARK: Final = "DILU_SOAK_RUN"
"""Environment variable by which processes of a run are known, wherever they went."""

WORST_S: Final = 180.0
"""No run takes so long, whatever happened to it: most is the import of torch, thrice, on a busy machine."""

GONE_WITHIN_S: Final = 10.0
"""After the command has ended, what it could not see to itself ends within so long."""

Whom = Callable[[int, random.Random], Sequence[int]]
"""Given the command's process id, who gets the signal; nobody if they are not there (yet)."""


def orchestrator(pid: int, chance: random.Random) -> Sequence[int]:
    """Return the command itself."""
    return [pid] if alive(pid) else []


def controller(pid: int, chance: random.Random) -> Sequence[int]:
    """Return the fork of the command that was started first: later ones are workers that begin."""
    forks = [child for child in children(pid) if command_of(child) == command_of(pid)]
    return sorted(forks, key=started)[:1]


def workers(pid: int, chance: random.Random) -> Sequence[int]:
    """Return one of the workers, at random."""
    found = [child for child in children(pid) if b"realgpu.workers" in command_of(child)]
    return [chance.choice(found)] if found else []


def both(pid: int, chance: random.Random) -> Sequence[int]:
    """Return those who could clean up, the one that would do it after the other's death first."""
    found = controller(pid, chance)
    return [*found, pid] if found else []


@dataclass(frozen=True)
class Fault:
    """A signal to some process of a run."""

    name: str
    whom: Whom | None = None
    number: int = 0
    statuses: frozenset[int] = frozenset({0})
    """Exit statuses that are right if it was hit; 0 where the run may have been over all the same."""


ENDS_RUN: Final = frozenset({0, 1})
NO_FAULT: Final = Fault("none")
FAULTS: Final = (
    NO_FAULT,
    Fault("SIGKILL worker", workers, signal.SIGKILL, ENDS_RUN),
    Fault("SIGTERM worker", workers, signal.SIGTERM, ENDS_RUN),
    Fault("SIGSTOP worker", workers, signal.SIGSTOP, ENDS_RUN),
    Fault("SIGKILL controller", controller, signal.SIGKILL, ENDS_RUN),
    Fault("SIGSTOP controller", controller, signal.SIGSTOP, ENDS_RUN),
    Fault("SIGKILL command", orchestrator, signal.SIGKILL, frozenset({-signal.SIGKILL})),
    Fault("SIGKILL command and controller", both, signal.SIGKILL, frozenset({-signal.SIGKILL})),
    # Dying of the signal itself is what happens before the command has handlers for it.
    Fault("SIGINT command", orchestrator, signal.SIGINT, frozenset({0, 130, -signal.SIGINT})),
    Fault("SIGTERM command", orchestrator, signal.SIGTERM, frozenset({0, 143, -signal.SIGTERM})),
    Fault("SIGHUP command", orchestrator, signal.SIGHUP, frozenset({0, 129, -signal.SIGHUP})),
)


@dataclass
class Ending:
    """How a run ended."""

    fault: Fault
    status: int
    outcome: str
    hit: bool
    after_s: float
    """From the signal, or from the start if there was none, until the command and all of its had ended."""
    wrong: list[str] = field(default_factory=list)


def soak(
    faults: Sequence[Fault],
    place: Path,
    *,
    seed: int,
    backend: str = "virtual",
    duration_s: float = 3.0,
    usual_s: float | None = None,
) -> Iterator[Ending]:
    """Run once for each fault, and return how; after the last, once without any.

    The last one has to remove what killed runs have left.

    Parameters
    ----------
    place
        An empty folder; run directories are made there.
    duration_s
        Of each of two systems.
    usual_s
        What a run takes that has no fault: signals come within so long. `None`: a first one tells.
    """
    chance = random.Random(seed)
    experiment = place / "soak.yaml"
    experiment.write_text(EXPERIMENT.format(duration_s=duration_s))
    if usual_s is None:
        first = run_once(NO_FAULT, experiment, place / "run-0", backend, 0.0, chance)
        usual_s = first.after_s
        yield first
    for number, fault in enumerate(faults, start=1):
        moment_s = chance.uniform(0.0, usual_s)
        yield run_once(fault, experiment, place / f"run-{number}", backend, moment_s, chance)
    last = run_once(NO_FAULT, experiment, place / f"run-{len(faults) + 1}", backend, 0.0, chance)
    if stale := [file.name for file in shared_files() if not alive(owner(file))]:
        last.wrong.append(f"left {', '.join(stale)} of runs that were killed")
    yield last


def run_once(
    fault: Fault, experiment: Path, out: Path, backend: str, moment_s: float, chance: random.Random
) -> Ending:
    """Run once, send the fault's signal after some time, and look at what is left."""
    temporary = out.with_name(f"{out.name}-temporary")
    temporary.mkdir()
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "dilu", "replay", str(experiment), "--world", "realgpu"]
    command += ["--backend", backend, "--seed", str(chance.randrange(1000)), "--out", str(out)]
    environment = {**os.environ, MARK: mark, "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    begun_s = time.monotonic()
    with out.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        hit = strike(fault, process, begun_s + moment_s, chance)
        since_s = time.monotonic() if hit else begun_s
        status = process.wait(WORST_S)
        wrong = left_behind(fault, process.pid, mark, temporary)
        after_s = time.monotonic() - since_s
    finally:
        end(process, mark)
    outcome, complaints = judge(fault, status, hit, out)
    wrong += complaints
    shutil.rmtree(temporary)
    return Ending(fault, status, outcome, hit, after_s, wrong)


def end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End what still runs of a run: gently, as long as the command is there to do it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(GONE_WITHIN_S)
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def strike(fault: Fault, process: subprocess.Popen[bytes], at_s: float, chance: random.Random) -> bool:
    """Send the signal at its time, or once there is somebody to send it to; whether it was sent."""
    if fault.whom is None:
        return False
    while process.poll() is None:
        if time.monotonic() >= at_s and (pids := fault.whom(process.pid, chance)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, fault.number)
            return True
        time.sleep(0.002)
    return False


def left_behind(fault: Fault, pid: int, mark: str, temporary: Path) -> list[str]:
    """Say what of a run is still there although its command has ended, having waited for it to go."""
    stays = fault.whom is both  # there is nobody left who could remove its files

    def found() -> Iterator[str]:
        yield from (f"process {one}: {command_of(one).decode()[:60]}" for one in marked(mark))
        yield from (str(file) for file in shared_files() if owner(file) == pid and not stays)
        yield from (str(file) for file in temporary.iterdir())

    end_s = time.monotonic() + GONE_WITHIN_S
    while any(found()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return [f"left {thing}" for thing in found()]


def judge(fault: Fault, status: int, hit: bool, out: Path) -> tuple[str, list[str]]:
    """Return what became of the run directory, and what is wrong with it and the exit status."""
    wrong = []
    allowed = fault.statuses if hit else frozenset({0})
    if status not in allowed:
        last = out.with_suffix(".log").read_text().strip().splitlines()[-1:]
        wrong.append(f"exit status {status}, allowed are {sorted(allowed)}: {last}")
    if not out.exists():
        return "absent", wrong + (["no run directory"] if status in (0, 1) else [])
    state = run_state(out)
    killed = status == -signal.SIGKILL
    if state is None:
        return "unknown", wrong + ([] if killed else ["no run.json"])  # killed before it had written it
    if (state.state == "complete") != (status == 0):
        wrong.append(f"exit status {status}, but {state}")
    if state.state == "running" or (state.state == "aborted" and not state.reason):
        wrong.append(f"says no ending: {state}")
    if (state.reason == LOST) != killed:
        wrong.append(f"exit status {status}, but {state}")
    there = [system for system in state.systems if (out / system / "summary.json").exists()]
    if not set(state.finished) <= set(there):
        wrong.append(f"says {state}, but there are {there}")
    if half := [path.name for path in out.glob(".*") if not killed]:
        wrong.append(f"left {', '.join(half)} in the run directory")
    return state.state, wrong


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(one) for one in task.read_text().split()]
    return found


def marked(mark: str) -> list[int]:
    """Return the processes that live and have this mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes() and alive(int(process.name)):
                found.append(int(process.name))
    return found


def command_of(pid: int) -> bytes:
    """Return the command line of a process, its words apart."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return status_of(pid)[:1] not in ([], ["Z"], ["X"])


def started(pid: int) -> int:
    """Return when a process was started, in clock ticks since boot; 0 if it is gone."""
    fields = status_of(pid)
    return int(fields[19]) if fields else 0


def status_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def shared_files() -> list[Path]:
    """Return what real worlds have put into shared memory: the run's folder, and launch gates."""
    return sorted(SHARED_MEMORY.glob("dilu-*"))


def owner(file: Path) -> int:
    """Return the process id that such a name carries, as in `dilu-run-1234-5678-abc`; 0 if none."""
    pid = file.name.split("-")[2:3]
    return int(pid[0]) if pid and pid[0].isdecimal() else 0


def table(endings: Sequence[Ending]) -> str:
    """Lay out how runs ended, a row a fault."""
    head = f"{'fault':<32}{'runs':>5}{'hit':>5}{'complete':>10}{'aborted':>9}{'absent':>8}{'wrong':>7}"
    lines = [f"{head}{'median s':>10}{'max s':>7}  exit statuses"]
    for fault in FAULTS:
        rows = [ending for ending in endings if ending.fault is fault]
        if not rows:
            continue
        became = Counter(ending.outcome for ending in rows)
        hit_s = [ending.after_s for ending in rows if ending.hit or fault.whom is None]
        spent = f"{statistics.median(hit_s):10.1f}{max(hit_s):7.1f}" if hit_s else f"{'':17}"
        statuses = Counter(ending.status for ending in rows)
        lines.append(
            f"{fault.name:<32}{len(rows):>5}{sum(ending.hit for ending in rows):>5}{became['complete']:>10}"
            f"{became['aborted']:>9}{became['absent'] + became['unknown']:>8}"
            f"{sum(bool(ending.wrong) for ending in rows):>7}{spent}  "
            + ", ".join(f"{status} x{count}" for status, count in sorted(statuses.items()))
        )
    return "\n".join(lines)


def main() -> int:
    """Soak, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, help="runs with a fault, or none (default 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=("virtual", "cpu"), default="virtual")
    parser.add_argument("--duration", type=float, default=3.0, metavar="S", help="of each system (default 3)")
    parser.add_argument("--out", type=Path, help="keep run directories and logs in this new folder")
    arguments = parser.parse_args()
    do_not_pass_on_what_is_ignored()
    chance = random.Random(arguments.seed)
    deck = [FAULTS[number % len(FAULTS)] for number in range(arguments.runs)]
    chance.shuffle(deck)

    endings: list[Ending] = []
    with contextlib.ExitStack() as stack:
        if arguments.out is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dilu-soak-")))
        else:
            place = arguments.out
            place.mkdir(parents=True)
        stack.callback(lambda: print(table(endings)))
        try:
            for ending in soak(
                deck, place, seed=arguments.seed, backend=arguments.backend, duration_s=arguments.duration
            ):
                endings.append(ending)
                say(ending)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    wrong = [ending for ending in endings if ending.wrong]
    if wrong:
        print(f"{len(wrong)} of {len(endings)} runs left something behind or ended wrongly", file=sys.stderr)
    return 1 if wrong else 0


def do_not_pass_on_what_is_ignored() -> None:
    """Have runs ignore no signal, though we may: in the background of a shell, or under `nohup`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)  # handlers are not inherited


def say(ending: Ending) -> None:
    """Say how a run ended, where somebody watches or something is wrong."""
    if ending.wrong or sys.stderr.isatty():
        said = f"{ending.fault.name}: {ending.outcome}, exit status {ending.status}, {ending.after_s:.1f} s"
        print("; ".join([said, *ending.wrong]), file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
