"""Whether MPS starts here, what its shell says, and what a percentage gives to a client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from realgpu.checks.driver import need_driver
from realgpu.checks.gate_setting import BEGIN_WITHIN_S, TASK_WITHIN_S
from realgpu.checks.record import Findings, Skipped, in_one_line
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject, SubjectError
from realgpu.mps import MpsControl, MpsError, MpsState, MpsSupervisor, MpsTimeouts, probe

PERCENTAGES: Final = (10, 25, 50, 100)

TIMEOUTS: Final = MpsTimeouts(
    command_s=5.0, start_s=15.0, fault_s=5.0, terminate_s=5.0, quit_s=6.0, kill_s=3.0, poll_s=0.05
)
"""Shorter than those of a run: a check has a budget."""

_SLACK_SMS: Final = 2
"""SMs come in pairs, the TPCs; a cap that is rounded within one is no fault."""

_GONE_WITHIN_S: Final = 8.0
_QUIT_LIMIT_S: Final = 3
_NO_SUCH_PID: Final = 2**22 + 1
"""Above any process id of Linux (`/proc/sys/kernel/pid_max` is at most 2^22)."""


@contextmanager
def supervised() -> Iterator[MpsSupervisor]:
    """Run a private daemon.

    Raises
    ------
    Skipped
        If it cannot be started; that this is so is told by the check `mps_start`.
    """
    need_driver()
    supervisor = MpsSupervisor(timeouts=TIMEOUTS)
    try:
        supervisor.start()
    except MpsError as error:
        raise Skipped(f"no MPS: {error}") from None
    with supervisor_stopping(supervisor):
        yield supervisor


@contextmanager
def supervisor_stopping(supervisor: MpsSupervisor) -> Iterator[None]:
    """Stop a started supervisor on every way out."""
    try:
        yield
    finally:
        supervisor.stop()


def client(supervisor: MpsSupervisor, label: str, percentage: float | None = None) -> Subject:
    """Start a subject that is to be a client."""
    environment = supervisor.client_environment(percentage)
    return Subject(label, environment, before_kill=supervisor.terminate_client)


def mps_start(findings: Findings, settings: Settings) -> list[str]:
    """Start a private daemon, keep what it says of itself, and end it."""
    need_driver()
    capability = probe(timeout_s=TIMEOUTS.command_s)
    findings.note("capability", capability.as_json())
    supervisor = MpsSupervisor(timeouts=TIMEOUTS)
    begun_s = time.monotonic()
    try:
        supervisor.start()
    except MpsError as error:
        return [str(error)]
    with supervisor_stopping(supervisor):
        findings.note("start_s", time.monotonic() - begun_s)
        findings.note("record", supervisor.record())
        findings.note("server_statuses", supervisor.server_statuses())
        begun_s = time.monotonic()
        ending = supervisor.stop()
    assert ending is not None
    findings.note("stop_s", stop_s := time.monotonic() - begun_s)
    findings.note("headline", f"{capability.version or 'started'}; ended on {ending.how} in {stop_s:.1f} s")
    findings.note("ending", {"how": ending.how, "left": ending.left, "log": ending.log})
    if ending.left:
        return [f"processes {', '.join(map(str, ending.left))} outlived SIGKILL"]
    return [] if ending.how == "quit" else [f"the daemon did not end on quit, but {ending.how}"]


def mps_clients(findings: Findings, settings: Settings) -> list[str]:
    """Start clients at several percentages; see what they are given, alone and two at a time."""
    faults: list[str] = []
    with supervised() as supervisor:
        clients = {f"{percentage} %": percentage for percentage in PERCENTAGES} | {"50 % again": 50}
        subjects: dict[str, Subject] = {}
        try:
            for name, percentage in clients.items():
                subjects[name] = client(supervisor, f"client at {name}", percentage)
                subjects[name].order("driver", "begin")
            begun = {name: subject.answer(BEGIN_WITHIN_S) for name, subject in subjects.items()}
            with_torch = settings.use_torch and _make_torch_contexts(findings, subjects)
            findings.note("listed_clients", _listed(supervisor))
            alone = {}
            for name, subject in subjects.items():
                alone[name] = found = _given(begun[name], subject, settings, with_torch)
                findings.note(name, found)
                if found["attribute_133"] != 1:
                    faults.append(f"at {name} device attribute 133 is {found['attribute_133']}, not 1")
            faults += _too_many_sms(clients, alone)
            both = _together(subjects, ("50 %", "50 % again"), alone, settings)
            findings.note("two at 50 %", both)
            seen = ", ".join(f"{name}: {found['sms_used']}" for name, found in alone.items())
            findings.note("headline", f"SMs used at {seen}; in common {both['sms_in_common']}")
        finally:
            for subject in subjects.values():
                subject.close()
    return faults


def _make_torch_contexts(findings: Findings, subjects: dict[str, Subject]) -> bool:
    """Have all clients import torch at the same time; return whether they can use it."""
    for subject in subjects.values():
        subject.order("torch", "make_context")
    usable = True
    for subject in subjects.values():
        try:
            subject.answer(BEGIN_WITHIN_S)
        except (Skipped, SubjectError) as error:
            findings.note("torch", {"not_done": str(error)})
            usable = False
    return usable


def _listed(supervisor: MpsSupervisor) -> Any:
    try:
        return [one.pid for one in supervisor.clients()]
    except MpsError as error:
        return f"not readable: {error}"


def _given(begun: dict[str, Any], subject: Subject, settings: Settings, with_torch: bool) -> dict[str, Any]:
    """Return what a client has of the device."""
    evidence = begun["evidence"]
    found = {
        "attribute_133": evidence["mps_enabled"],
        "attribute_16": evidence["sm_count"],
        "in_client_list": evidence["in_client_list"],
        "context_s": begun["context_s"],
        **used(subject.ask("driver", "rates", TASK_WITHIN_S, seconds=settings.measure_s)),
    }
    if with_torch:
        found["torch"] = subject.ask("torch", "rates", TASK_WITHIN_S, seconds=settings.measure_s)
    return found


def used(rates: dict[str, Any]) -> dict[str, Any]:
    """Return what `DriverBench.rates` found, the SMs counted and put as ranges."""
    ids = rates["sm_ids"]
    rest = {name: value for name, value in rates.items() if name != "sm_ids"}
    return {"sms_used": len(ids), "sm_ids": ranges(ids), **rest}


def ranges(numbers: list[int]) -> str:
    """Return sorted numbers as text, such as `0-7, 12`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def numbers_of(text: str) -> set[int]:
    """Return the numbers that `ranges` put as text."""
    found: set[int] = set()
    for part in filter(None, text.split(", ")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _too_many_sms(clients: dict[str, int], alone: dict[str, dict[str, Any]]) -> list[str]:
    whole = alone["100 %"]["sms_used"]
    return [
        f"at {name} blocks ran on {alone[name]['sms_used']} of {whole} SMs"
        for name, percentage in clients.items()
        if alone[name]["sms_used"] > percentage / 100 * whole + _SLACK_SMS
    ]


def _together(
    subjects: dict[str, Subject], pair: tuple[str, str], alone: dict[str, dict[str, Any]], settings: Settings
) -> dict[str, Any]:
    """Have two clients work at once; return which SMs they share, and what each keeps of its pace."""
    seconds = 4 * settings.measure_s
    pace = {
        name: subjects[name].ask("driver", "work", TASK_WITHIN_S, seconds=seconds)["iterations"]
        for name in pair
    }
    for name in pair:
        subjects[name].order("driver", "work", seconds=seconds)
    both = {name: subjects[name].answer(TASK_WITHIN_S)["iterations"] for name in pair}
    first, second = (numbers_of(alone[name]["sm_ids"]) for name in pair)
    return {
        "sms_in_common": len(first & second),
        "pace_kept": {name: both[name] / max(1, pace[name]) for name in pair},
    }


def mps_control_texts(findings: Findings, settings: Settings) -> list[str]:
    """Give the daemon's shell every command that asks, keep its words, and see that we can read them."""
    faults: list[str] = []
    with supervised() as supervisor:
        control = supervisor.control
        servers = control.server_pids()
        server = servers[0] if servers else 0
        said = {"help": _said(control, "help")}
        _keep(findings, said, control, ["get_server_list", f"get_server_status {server}", "ps"], "no client")
        with client(supervisor, "client") as subject:
            subject.ask("driver", "begin", BEGIN_WITHIN_S)
            asking = [
                "ps",
                f"get_client_list {server}",
                f"get_device_client_list {server}",
                "get_default_active_thread_percentage",
                f"get_active_thread_percentage {server}",
                "get_default_device_pinned_mem_limit 0",
                f"terminate_client {server} {_NO_SUCH_PID}",
                "no_such_command",
            ]
            _keep(findings, said, control, asking, "one client")
            faults += _unreadable(control, server, subject.pid)
        findings.note("active_without_clients", _status_of(control, server))
        faults += _quits(findings, supervisor, control)
    return faults


def _keep(
    findings: Findings, said: dict[str, str], control: MpsControl, commands: list[str], when: str
) -> None:
    for command in commands:
        said[f"{command} ({when})"] = _said(control, command)
        findings.note("said", said)


def _said(control: MpsControl, command: str) -> str:
    try:
        return control.ask(command)
    except MpsError as error:
        return f"[{error.cause}] {error}"


def _status_of(control: MpsControl, server: int) -> str:
    try:
        return control.server_status(server)
    except MpsError as error:
        return f"[{error.cause}] {error}"


def _unreadable(control: MpsControl, server: int, pid: int) -> list[str]:
    """Return what of the answers our own reading does not take, with one client running."""
    faults = []
    for name, look in {
        "get_server_status": lambda: control.server_status(server),
        "get_client_list": lambda: control.client_pids(server),
        "ps": control.clients,
    }.items():
        try:
            found: Any = look()
        except MpsError as error:
            faults.append(f"{name} cannot be read: {in_one_line(str(error))}")
            continue
        if name == "get_client_list" and pid not in found:
            faults.append(f"get_client_list has {found}, not the client {pid}")
    return faults


def _quits(findings: Findings, supervisor: MpsSupervisor, control: MpsControl) -> list[str]:
    """See that `quit -t` is known and ends the daemon."""
    command = f"quit -t {_QUIT_LIMIT_S}"
    findings.note(command, _said(control, command))
    begun_s = time.monotonic()
    while supervisor.state() is not MpsState.ABSENT:
        if time.monotonic() - begun_s > _GONE_WITHIN_S:
            return [f"{command} does not end the daemon within {_GONE_WITHIN_S:g} s"]
        time.sleep(TIMEOUTS.poll_s)
    findings.note("quit_s", quit_s := time.monotonic() - begun_s)
    findings.note("headline", f"all answers kept; {command} ended the daemon in {quit_s:.1f} s")
    return []


def client_endings(findings: Findings, settings: Settings) -> list[str]:
    """End an idle client, and terminate a busy one: every other must go on."""
    faults: list[str] = []
    seconds = settings.busy_s
    with supervised() as supervisor:
        subjects = {name: client(supervisor, f"{name} client") for name in ("idle", "busy", "surviving")}
        try:
            for subject in subjects.values():
                subject.order("driver", "begin")
            for subject in subjects.values():
                subject.answer(BEGIN_WITHIN_S)
            subjects["idle"].close()
            findings.note("after_idle_exit", subjects["surviving"].ask("driver", "work", 30.0, seconds=0.1))
            for name in ("busy", "surviving"):
                subjects[name].order("driver", "work", seconds=(4 if name == "busy" else 2) * seconds)
            time.sleep(seconds / 2)
            begun_s = time.monotonic()
            findings.note("known_to_server", supervisor.terminate_client(subjects["busy"].pid))
            findings.note("terminate_s", time.monotonic() - begun_s)
            findings.note("busy_client", end := _its_end(subjects["busy"], 4 * seconds + 20.0))
            findings.note("headline", f"the terminated client: {end.get('error', 'went on')}")
            subjects["busy"].kill()
            findings.note("surviving_client", _went_on(subjects["surviving"], faults, 2 * seconds + 20.0))
            findings.note("server_statuses", statuses := supervisor.server_statuses())
            if set(statuses.values()) != {"ACTIVE"}:
                faults.append(f"after terminate_client servers are {statuses}")
            with client(supervisor, "later client") as later:
                findings.note("later_client", later.ask("driver", "begin", BEGIN_WITHIN_S)["sm_count"])
        finally:
            for subject in subjects.values():
                subject.close()
    return faults


def _its_end(subject: Subject, within_s: float) -> dict[str, Any]:
    """Return what a client was told when it was terminated; 810 is what the guide names."""
    try:
        return {"went_on": subject.answer(within_s)}
    except SubjectError as error:
        return {"error": str(error), "code": error.code}


def _went_on(subject: Subject, faults: list[str], within_s: float) -> Any:
    try:
        subject.answer(within_s)
        return subject.ask("driver", "work", within_s, seconds=0.1)
    except SubjectError as error:
        faults.append(f"terminating one client hit another: {error}")
        return {"error": str(error), "code": error.code}
