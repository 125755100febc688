"""What green contexts give: sizes, rates, and whether two clients of MPS get the same SMs."""

from __future__ import annotations

from typing import Any, Final

from realgpu.checks.driver import need_driver
from realgpu.checks.gate_setting import BEGIN_WITHIN_S, TASK_WITHIN_S
from realgpu.checks.green import FIRST_DRIVER
from realgpu.checks.mps_checks import client, numbers_of, supervised, used
from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject, SubjectError

_STEP_SMS: Final = 8
"""Hopper parts its SMs by eights (cuda.h, green contexts); what the driver says goes before."""


def green_contexts(findings: Findings, settings: Settings) -> list[str]:
    """Take parts of the SMs from 8 to all; see where blocks run and how fast."""
    need_driver()
    faults: list[str] = []
    sizes: list[int] = []
    with Subject("process with green contexts") as subject:
        subject.ask("driver", "begin", BEGIN_WITHIN_S)
        support = _support(findings, subject)
        with_torch = settings.use_torch and _makes_torch_context(findings, subject)
        whole, step = support["sm_count"], support["multiple_of_sms"] or _STEP_SMS
        for size in [*range(max(step, support["least_sms"]), whole, step), None]:
            try:
                found = _part(subject, size, settings, with_torch)
            except SubjectError as error:
                findings.note(f"{size or whole} SMs", {"not_done": str(error)})
                faults.append(f"{size or whole} SMs: {error}")
                continue
            findings.note(f"{size or whole} SMs", found)
            sizes.append(found["sm_count"])
            findings.note("headline", f"parts of {', '.join(map(str, sizes))} SMs")
            if found["sms_used"] > found["sm_count"]:
                faults.append(f"of a part of {found['sm_count']} SMs blocks used {found['sms_used']}")
    return faults


def _support(findings: Findings, subject: Subject) -> dict[str, Any]:
    """Return what the driver has.

    Raises
    ------
    Skipped
        If it has no green contexts.
    """
    support = subject.ask("driver", "green_support", TASK_WITHIN_S)
    findings.note("support", support)
    if support["missing_functions"]:
        lacks = ", ".join(support["missing_functions"])
        raise Skipped(f"driver for CUDA {support['driver']} (from {FIRST_DRIVER} on) lacks {lacks}")
    return support


def _makes_torch_context(findings: Findings, subject: Subject) -> bool:
    try:
        subject.ask("torch", "make_context", BEGIN_WITHIN_S)
    except (Skipped, SubjectError) as error:
        findings.note("torch", {"not_done": str(error)})
        return False
    return True


def _part(subject: Subject, size: int | None, settings: Settings, with_torch: bool) -> dict[str, Any]:
    taken = subject.ask("driver", "take_green", TASK_WITHIN_S, sm_count=size)
    found = {
        "sm_count": taken["sm_count"],
        "made_s": taken["made_s"],
        **used(subject.ask("driver", "rates", TASK_WITHIN_S, seconds=settings.measure_s)),
    }
    if with_torch:
        try:
            found["torch"] = subject.ask(
                "torch",
                "rate_on_stream",
                TASK_WITHIN_S,
                stream=taken["stream"],
                seconds=settings.measure_s,
            )
        except SubjectError as error:
            found["torch"] = {"not_done": str(error)}
    return found


def green_contexts_under_mps(findings: Findings, settings: Settings) -> list[str]:
    """Let two clients take half of the SMs each; see whether they are the same ones."""
    with (
        supervised() as supervisor,
        client(supervisor, "first") as first,
        client(supervisor, "second") as second,
    ):
        clients = (first, second)
        for subject in clients:
            subject.order("driver", "begin")
        for subject in clients:
            findings.note(f"{subject.label}: begun", subject.answer(BEGIN_WITHIN_S))
        support = _support(findings, first)
        step = support["multiple_of_sms"] or _STEP_SMS
        half = support["sm_count"] // 2 // step * step
        for subject in clients:
            subject.ask("driver", "take_green", TASK_WITHIN_S, sm_count=half)
        alone = []
        for subject in clients:
            found = used(subject.ask("driver", "rates", TASK_WITHIN_S, seconds=settings.measure_s))
            findings.note(f"{subject.label}: alone", found)
            alone.append(numbers_of(found["sm_ids"]))
        for subject in clients:
            subject.order("driver", "rates", seconds=settings.measure_s)
        for subject in clients:
            findings.note(f"{subject.label}: together", used(subject.answer(TASK_WITHIN_S)))
        findings.note("sms_in_common", len(alone[0] & alone[1]))
        findings.note("disjoint", disjoint := alone[0].isdisjoint(alone[1]))
        shared = "different SMs" if disjoint else f"{len(alone[0] & alone[1])} SMs in common"
        findings.note("headline", f"two clients with a part of {half} SMs each have {shared}")
    return []
