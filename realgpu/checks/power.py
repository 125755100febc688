"""What the device draws and at which clocks it runs while it computes."""

from __future__ import annotations

from typing import Any, Final

from realgpu.checks.driver import need_driver
from realgpu.checks.gate_setting import begin
from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject
from realgpu.sampling import DeviceSampler

CLOCK_EVENTS: Final = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}
"""Bits of `nvmlClocksEventReasons` (nvml.h)."""

_SLOWDOWNS: Final = 0x8 | 0x20 | 0x40 | 0x80
_BUSY_TIMES: Final = 4
_MARGIN_S: Final = 30.0


def power_and_clocks(findings: Findings, settings: Settings) -> list[str]:
    """Sample the device at rest and while one process computes."""
    need_driver()
    with Subject("busy process") as subject:
        bench = "driver"
        begin(subject, bench)
        if settings.use_torch:
            try:
                begin(subject, "torch")
                bench = "torch"
            except Skipped as error:
                findings.note("torch", {"not_done": str(error)})
        seconds = _BUSY_TIMES * settings.busy_s
        with DeviceSampler(device_hz=20.0, activity_hz=5.0) as sampler:
            if sampler.reason is not None:
                raise Skipped(sampler.reason)
            subject.ask(bench, "work", seconds + _MARGIN_S, seconds=seconds)
    findings.note("worked_with", bench)
    findings.note("record", sampler.record())
    table, activity = sampler.samples(), sampler.activity()
    assert table is not None
    columns = table.columns()
    findings.note("device", device := _summaries(columns))
    if device["power_w"] and device["sm_clock_mhz"]:
        watts, clocks = device["power_w"], device["sm_clock_mhz"]
        text = f"{watts['most']:.0f} W at most, SM clock {clocks['median']:.0f} MHz in the median"
        findings.note("headline", text)
    findings.note("activity", None if activity is None else _summaries(activity.columns()))
    seen = 0
    for reasons in columns["clock_event_reasons"]:
        seen |= 0 if reasons != reasons else int(reasons)
    findings.note("clock_events", [name for bit, name in CLOCK_EVENTS.items() if seen & bit])
    if not len(table):
        return ["the sampler took no sample"]
    if seen & _SLOWDOWNS:
        slow = ", ".join(name for bit, name in CLOCK_EVENTS.items() if seen & bit & _SLOWDOWNS)
        return [f"the device slowed down ({slow}): timings do not compare"]
    return []


def _summaries(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: _summary(column) for name, column in columns.items() if name != "time_s"}


def _summary(column: Any) -> dict[str, float] | None:
    """Return least, median and most of what was read."""
    values = sorted(float(value) for value in column if value == value)
    if not values:
        return None
    return {"least": values[0], "median": values[len(values) // 2], "most": values[-1]}
