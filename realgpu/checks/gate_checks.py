"""Whether the launch gate builds, sees every launch, costs little, holds rates, and lets graphs through."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from realgpu.checks.driver import need_driver
from realgpu.checks.gate_setting import BEGIN_WITHIN_S, TASK_WITHIN_S, Gated, begin, benches, gated
from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject, SubjectError
from realgpu.gate import GateFile, GateState, Mode, NativeGate, build_gate

TORCH_WORKS: Final = ("matmul", "add", "convolution", "compiled")
"""From cuBLAS, from torch itself, from cuDNN, and from Triton; the last wants a C compiler."""

SHARES: Final = (0.5, 0.25)
_SHARE_TOLERANCE: Final = 0.05
"""Assumed: what the achieved share may differ from the wanted one."""

_MOST_EXTRA_US: Final = 1.0
"""Assumed: what a launch may cost more under the gate. One costs 2 to 5 us; the gate's own C takes 0.01."""

_TICK_S: Final = 0.005
_GRAPH_LAUNCHES: Final = 32
_CAPTURE_WITHIN_S: Final = 1.0
_REPLAYS_S: Final = 0.3
_PROBE_REPLAYS: Final = 20
_HALF: Final = 0.5


def gate_build(findings: Findings, settings: Settings) -> list[str]:
    """Compile the gate, load it, and see that it charges and waits as it should."""
    begun_s = time.monotonic()
    library = build_gate()
    findings.note("build_s", time.monotonic() - begun_s)
    findings.note("library", str(library))
    findings.note("sha256", hashlib.sha256(library.read_bytes()).hexdigest())
    rate, launches = 2000, 200
    with GateFile.create(1) as file, NativeGate(library, file.path, 0) as gate:
        findings.note("gate_file_note", file.note)
        file.unsupervised()
        file.slots[0].set_rate(rate, burst=1)
        file.slots[0].set_mode(Mode.ENFORCE)
        begun_s = time.monotonic()
        for _ in range(launches):
            gate.charge(1)
        took_s = time.monotonic() - begun_s
    findings.note("achieved_over_rate", launches / took_s / rate)
    findings.note("headline", f"charges pass at {launches / took_s / rate:.1%} of their rate")
    if took_s < 0.9 * launches / rate:
        return [f"{launches} charges at {rate} a second took {took_s:.3f} s: the gate does not wait"]
    return []


def gate_effective(findings: Findings, settings: Settings) -> list[str]:
    """Compare what the gate counts with what was launched: by ourselves, and by what torch calls."""
    need_driver()
    faults = []
    with gated("gated process") as setting:
        setting.slot.set_mode(Mode.COUNT)
        begin(setting.subject, "driver")
        before, launches = setting.counters(), 100
        setting.subject.ask("driver", "launch_small", TASK_WITHIN_S, count=launches)
        counted = setting.since(before)["launches"]
        findings.note("driver", {"launched": launches, "counted": counted})
        if counted != launches:
            faults.append(f"of {launches} launches by ctypes the gate counted {counted}")
        compared = ["ctypes"]
        for work in TORCH_WORKS if settings.use_torch else ():
            wrong = _torch_launches(findings, setting, work)
            faults += wrong or []
            compared += [f"torch {work}"] if wrong is not None else []
        findings.note("headline", f"compared launches by {', '.join(compared)}")
        state = setting.slot.read("state")
        findings.note("gate_state", GateState(state).name)
        if faults or state != GateState.DRIVER_SEEN:
            findings.note("loaded_libraries", setting.cuda_libraries())
    return faults


def _torch_launches(findings: Findings, setting: Gated, work: str) -> list[str] | None:
    """Compare for one work of torch; `None` where it cannot be done here, which is no fault of the gate."""
    try:
        setting.subject.ask("torch", "prepare", BEGIN_WITHIN_S, work=work)
        before = setting.counters()
        profiled = setting.subject.ask("torch", "profiled", TASK_WITHIN_S, work=work)
    except (Skipped, SubjectError) as error:
        findings.note(f"torch {work}", {"not_done": str(error)})
        return None
    counted = setting.since(before)["launches"]
    findings.note(f"torch {work}", {"counted": counted, **profiled})
    if profiled["kernels"] == 0:
        return [f"torch {work}: the profiler saw no kernel, the gate counted {counted}"]
    if counted != profiled["kernels"]:
        return [f"torch {work}: {profiled['kernels']} kernels ran, the gate counted {counted}"]
    return []


def gate_overhead(findings: Findings, settings: Settings) -> list[str]:
    """Measure what a launch costs without the gate, and with it in each of its modes."""
    need_driver()
    faults: list[str] = []
    headlines: list[str] = []
    with Subject("process without the gate") as bare, gated("process under the gate") as setting:
        for bench in benches(settings):
            try:
                begin(bare, bench)
                begin(setting.subject, bench)
            except Skipped as error:
                if bench == "driver":
                    raise
                findings.note(bench, {"not_done": str(error)})
                continue
            costs = _launch_costs_us(bare, setting, bench, settings)
            extra_us = costs["enforced"] - costs["bare"]
            findings.note(bench, {"us_per_launch": costs, "extra_us": extra_us})
            headlines.append(f"{bench}: {costs['bare']:.2f} us a launch, {extra_us:+.2f} under the gate")
            findings.note("headline", "; ".join(headlines))
            if extra_us > _MOST_EXTRA_US:
                faults.append(f"{bench}: a launch costs {extra_us:.2f} us more under the gate")
    return faults


def _launch_costs_us(bare: Subject, setting: Gated, bench: str, settings: Settings) -> dict[str, float]:
    """Return the median cost of a launch in each state, the states taken in turns."""
    states: dict[str, tuple[Subject, Callable[[], None]]] = {
        "bare": (bare, lambda: None),
        "off": (setting.subject, lambda: setting.slot.set_mode(Mode.OFF)),
        "counted": (setting.subject, lambda: setting.slot.set_mode(Mode.COUNT)),
        "open": (setting.subject, lambda: _enforce(setting, None)),
        "enforced": (setting.subject, lambda: _enforce(setting, 1e15)),
    }
    rounds: dict[str, list[float]] = {name: [] for name in states}
    count = settings.small_launches
    for _ in range(settings.rounds):
        for name, (subject, enter) in states.items():
            enter()
            took = subject.ask(bench, "launch_small", TASK_WITHIN_S, count=count)
            rounds[name].append(1e6 * took["seconds"] / count)
    return {name: statistics.median(costs) for name, costs in rounds.items()}


def _enforce(setting: Gated, rate: float | None) -> None:
    setting.set_rate(rate, burst=0 if rate is None else rate)
    setting.slot.set_mode(Mode.ENFORCE)


def gate_rates(findings: Findings, settings: Settings) -> list[str]:
    """Give a busy process a half and a quarter of what it spends alone, and see what it achieves."""
    need_driver()
    faults: list[str] = []
    headlines: list[str] = []
    with gated("gated process") as setting:
        for bench in benches(settings):
            try:
                begin(setting.subject, bench)
                found, wrong = _achieved_shares(setting, bench, settings.busy_s)
            except (Skipped, SubjectError) as error:
                if bench == "driver":
                    raise
                findings.note(bench, {"not_done": str(error)})
                continue
            findings.note(bench, found)
            faults += [f"{bench}: {one}" for one in wrong]
            achieved = ", ".join(f"{one['share']:.1%}" for one in found["achieved"].values())
            headlines.append(f"{bench}: {achieved} of {', '.join(f'{share:.0%}' for share in SHARES)}")
            findings.note("headline", "; ".join(headlines))
    return faults


def _achieved_shares(setting: Gated, bench: str, busy_s: float) -> tuple[dict[str, Any], list[str]]:
    setting.slot.set_mode(Mode.COUNT)
    setting.subject.ask(bench, "work", TASK_WITHIN_S, seconds=busy_s / 4)  # warm
    before = setting.counters()
    alone = setting.subject.ask(bench, "work", TASK_WITHIN_S, seconds=busy_s)
    cost_per_s = setting.since(before)["spent"] / alone["seconds"]
    pace = alone["iterations"] / alone["seconds"]
    found: dict[str, Any] = {"cost_per_s": cost_per_s, "iterations_per_s": pace, "achieved": {}}
    faults = []
    if cost_per_s == 0:
        return found, ["the gate charged nothing for work that was done"]
    for share in SHARES:
        setting.set_rate(share * cost_per_s, burst=share * cost_per_s * _TICK_S)
        setting.slot.set_mode(Mode.ENFORCE)
        before = setting.counters()
        held = setting.subject.ask(bench, "work", TASK_WITHIN_S, seconds=busy_s)
        achieved = held["iterations"] / held["seconds"] / pace
        opened = setting.since(before)["deadline_opens"]
        found["achieved"][str(share)] = {"share": achieved, "deadline_opens": opened}
        if abs(achieved - share) > _SHARE_TOLERANCE:
            faults.append(f"at a rate of {share:.0%} it achieves {achieved:.1%}")
        if opened:
            faults.append(f"at a rate of {share:.0%} {opened} launches passed by their deadline")
    setting.set_rate(None, burst=0)
    return found, faults


def gate_graph(findings: Findings, settings: Settings) -> list[str]:
    """Capture a graph while the gate is shut, then see its launches charged and held to a rate."""
    need_driver()
    faults: list[str] = []
    headlines: list[str] = []
    for bench in benches(settings):
        with gated(f"gated process ({bench})") as setting:
            try:
                begin(setting.subject, bench)
                found, wrong = _captured(setting, bench)
            except (Skipped, SubjectError) as error:
                if bench == "driver":
                    raise
                findings.note(bench, {"not_done": str(error)})
                continue
            findings.note(bench, found)
            faults += [f"{bench}: {one}" for one in wrong]
            if not wrong:
                headlines.append(f"{bench}: {found['achieved_at_half_rate']:.1%} of {_HALF:.0%}")
                findings.note("headline", "; ".join(headlines))
    return faults


def _captured(setting: Gated, bench: str) -> tuple[dict[str, Any], list[str]]:
    ask = setting.subject.ask
    setting.slot.set_mode(Mode.COUNT)
    ask(bench, "begin_graph", TASK_WITHIN_S)
    before = setting.counters()
    setting.set_rate(0, burst=0)
    setting.slot.set_mode(Mode.ENFORCE)
    filled = ask(bench, "fill_graph", TASK_WITHIN_S, launches=_GRAPH_LAUNCHES)
    capture = setting.since(before)
    setting.slot.set_mode(Mode.COUNT)
    setting.set_rate(None, burst=0)
    ask(bench, "end_graph", TASK_WITHIN_S)
    found: dict[str, Any] = {"capture_s": filled["seconds"], "while_capturing": capture}
    faults = []
    if capture["blocked"] or filled["seconds"] > _CAPTURE_WITHIN_S:
        faults.append(f"capturing was held up ({capture['blocked']} launches, {filled['seconds']:.2f} s)")
    if capture["captured_launches"] < _GRAPH_LAUNCHES:
        faults.append(f"of {_GRAPH_LAUNCHES} captured launches {capture['captured_launches']} were seen")
    if faults:  # what it costs is not known then, and no rate can be set
        return found, faults
    cost = setting.slot.read("captured_cost")
    ask(bench, "launch_graph", TASK_WITHIN_S, count=1)
    before = setting.counters()
    probe = ask(bench, "launch_graph", TASK_WITHIN_S, count=_PROBE_REPLAYS)
    charged = setting.since(before)
    found |= {"graph_cost": cost, "replays": _PROBE_REPLAYS, "charged": charged}
    if charged["graph_launches"] != _PROBE_REPLAYS or charged["spent"] < _PROBE_REPLAYS * cost:
        faults.append(f"of {_PROBE_REPLAYS} graph launches {charged['graph_launches']} were charged")
        return found, faults
    replays = min(100_000, max(_PROBE_REPLAYS, int(_PROBE_REPLAYS * _REPLAYS_S / probe["seconds"])))
    alone = ask(bench, "launch_graph", TASK_WITHIN_S, count=replays)["seconds"]
    setting.set_rate(_HALF * replays * cost / alone, burst=cost)
    setting.slot.set_mode(Mode.ENFORCE)
    held = ask(bench, "launch_graph", TASK_WITHIN_S, count=replays)["seconds"]
    setting.set_rate(None, burst=0)
    found["achieved_at_half_rate"] = alone / held
    if abs(alone / held - _HALF) > 2 * _SHARE_TOLERANCE:
        faults.append(f"graphs at a rate of {_HALF:.0%} achieve {alone / held:.1%}")
    return found, faults
