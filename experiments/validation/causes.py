"""Which term is the likely cause of an error, in one sentence with its numbers.

Likely, not proven: terms are those of the latency's decomposition (`analysis.agreement.latency_terms`), and
what else differs between the worlds stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from analysis.agreement import Agreement, LatencyDifference, ServiceAtBatch
from experiments.validation.punctuality import Punctuality, Spread

NOTABLE: Final = 0.02
"""A quota, a batch or a start-up that differs by a smaller part is not named. Assumed."""

QUEUEING: Final = "queueing"
"""The term that only adds up what the others cause."""

_OF_TAIL: Final = ("p95", "p99", "svr")
_OF_ALL: Final = ("mean", "p50")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a system in both worlds; latency differences are means over repeats, by function."""

    agreements: tuple[Agreement, ...]
    latency: Mapping[str, LatencyDifference]
    slowest: Mapping[str, LatencyDifference]
    service: Mapping[str, tuple[ServiceAtBatch, ...]]
    punctuality: Punctuality

    def of(self, function: str | None, measure: str) -> Agreement | None:
        """Return the agreement of a measure, if it applies."""
        for one in self.agreements:
            if (one.function, one.measure.name) == (function, measure):
                return one
        return None

    def differs(self, function: str | None, measure: str) -> Agreement | None:
        """Return the agreement of a measure that notably differs."""
        found = self.of(function, measure)
        if found is None or (not found.incomparable and (found.absolute_error or 0.0) <= NOTABLE):
            return None
        return found


def likely_cause(missed: Agreement, evidence: Evidence) -> str:
    """Say what most likely made a measure miss its tolerance."""
    name, function = missed.measure.name, missed.function
    if name in _OF_TAIL or name in _OF_ALL:
        return _of_latency(function, evidence, tail=name in _OF_TAIL)
    if name == "throughput":
        return f"requests were not done at the end; {_of_latency(function, evidence, tail=True)}"
    if name == "training":
        return _of_training(function, evidence)
    if name == "quota":
        return f"tick lateness: {_ticks(evidence)}, and the launch cycles that the policy saw differ"
    if name == "batch":
        return f"send lateness: {_sending(evidence)}, so that other requests were there when batches closed"
    if name == "share":
        return f"what instances did differs: {_largest_latency(evidence)}"
    return "scaling: polls saw other rates, or instances took another time to start up"


def _of_latency(function: str | None, evidence: Evidence, *, tail: bool) -> str:
    differences = evidence.slowest if tail else evidence.latency
    if function is None:  # whose requests differ most
        function = max(differences, key=lambda name: abs(differences[name].total_s), default=None)
        if function is None:
            return "no requests were completed in both worlds"
        return f"{function}: {_of_latency(function, evidence, tail=tail)}"
    found = differences.get(function)
    if found is None:
        return "one world completed no requests"
    terms = {
        "service at the same batch size": found.service_s,
        "batching": found.batching_s,
        QUEUEING: found.queueing_s,
        "handover": found.handover_s,
    }
    longer = found.total_s >= 0
    largest = _largest(terms, longer=longer)
    listed = ", ".join(f"{name} {_ms(value)}" for name, value in terms.items())
    which = "the slowest requests" if tail else "requests"
    return (
        f"{which} take {abs(found.total_s) * 1e3:.2f} ms {'longer' if longer else 'less'} in the real world "
        f"({listed}); most of it is {largest}: {_reason(largest, terms, function, evidence, longer=longer)}"
    )


def _largest(terms: Mapping[str, float], *, longer: bool) -> str:
    """Return the term that does most of a difference in this direction."""
    return max(terms, key=lambda name: terms[name] if longer else -terms[name])


def _reason(term: str, terms: Mapping[str, float], function: str, evidence: Evidence, *, longer: bool) -> str:
    """Say what is behind a term."""
    start_up = evidence.differs(function, "start_up") or _other_cold_starts(function, evidence)
    quota, rows = evidence.differs(function, "quota"), evidence.service.get(function, ())
    if term == "handover":
        return f"send lateness, {_sending(evidence)}, and messages and wake-ups"
    if term == "batching":
        batch = evidence.of(function, "batch")
        if not longer:
            return "batches are smaller" if batch is None else _both(batch)
        return f"send lateness, {_sending(evidence)}, lets more requests into a batch"
    if term == QUEUEING:
        if start_up is not None:
            return f"start-up, {_both(start_up)}"
        others = {name: value for name, value in terms.items() if name != QUEUEING}
        behind = _largest(others, longer=longer)
        return (
            f"requests wait for batches that end {'later' if longer else 'earlier'}, above all by {behind}: "
            f"{_reason(behind, others, function, evidence, longer=longer)}"
        )
    if quota is not None and _explains(quota, rows):
        return f"its quota differs, {_both(quota)}; {_ticks(evidence)}"
    return f"interference, or the profile; {_service(rows)}"


def _explains(quota: Agreement, rows: tuple[ServiceAtBatch, ...]) -> bool:
    """Say whether a quota's difference is half of the service's: that goes with 1 / quota at most."""
    most = _most_common(rows)
    if most is None or quota.absolute_error is None:
        return True
    sim_s, real_s = most
    return abs(sim_s / real_s - 1.0) <= 2.0 * quota.absolute_error


def _other_cold_starts(function: str, evidence: Evidence) -> Agreement | None:
    found = evidence.of(function, "cold_starts")
    return found if found is not None and found.absolute_error else None


def _of_training(function: str | None, evidence: Evidence) -> str:
    quotas = [
        one
        for one in evidence.agreements
        if one.measure.name == "quota"
        and (one.function == function or (function is None and evidence.of(one.function, "training")))
        and evidence.differs(one.function, "quota")
    ]
    if quotas:
        return f"the quota of {quotas[0].function} differs, {_both(quotas[0])}; {_ticks(evidence)}"
    return "interference, or the profile: steps take another time on the same quota"


def _largest_latency(evidence: Evidence) -> str:
    return _of_latency(None, evidence, tail=False)


def _both(agreement: Agreement) -> str:
    """Return both worlds' values in words."""
    measure = agreement.measure
    values = (
        "none" if value is None else f"{value * measure.scale:.{measure.digits}f}"
        for value in (agreement.sim_mean, agreement.real_mean)
    )
    unit = f" {measure.unit}" if measure.unit else ""
    return f"{measure.label} {' / '.join(values)}{unit} (sim / real)"


def _service(rows: tuple[ServiceAtBatch, ...]) -> str:
    """Return the mean service of both worlds at the size that both served most often."""
    most = _most_common(rows)
    if most is None:
        return "no batch size occurred in both worlds"
    return f"the commonest batch takes {most[0] * 1e3:.2f} / {most[1] * 1e3:.2f} ms (sim / real)"


def _most_common(rows: tuple[ServiceAtBatch, ...]) -> tuple[float, float] | None:
    """Return it in seconds, at the size in which most requests were served in both."""
    found, most = None, 0
    for row in rows:
        requests = row.size * min(row.sim_batches, row.real_batches)
        if row.sim_s is not None and row.real_s is not None and requests > most:
            found, most = (row.sim_s, row.real_s), requests
    return found


def _sending(evidence: Evidence) -> str:
    return _spread("batches were sent", evidence.punctuality.sending)


def _ticks(evidence: Evidence) -> str:
    return _spread("ticks began", evidence.punctuality.ticks)


def _spread(what: str, spread: Spread | None) -> str:
    if spread is None:
        return f"{what} at no known times"
    return f"{what} {spread.p50_s * 1e3:.2f} ms late (median; p99 {spread.p99_s * 1e3:.2f})"


def _ms(time_s: float) -> str:
    return f"{time_s * 1e3:+.2f}"
