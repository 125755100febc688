"""A validation as it came out: by system the error of every measure, its verdict, and its likely cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from analysis.agreement import (
    SLOWEST,
    Agreement,
    LatencyDifference,
    PathDifference,
    ServiceAtBatch,
    agreements,
    compare_paths,
    half_width,
    latency_difference,
    mean_difference,
    service_by_batch,
    values_of,
)
from experiments.validation.causes import Evidence, likely_cause
from experiments.validation.punctuality import Punctuality, punctuality
from experiments.validation.tolerances import Tolerances
from realgpu.workers.protocol import BackendName
from recording import Run

Verdict = Literal["within", "missed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of one function, or of all together.

    `verdict` is `None` where no tolerance was asked for; it holds `Agreement.absolute_error` against it.
    `conclusive` says whether the interval of confidence is on one side of the tolerance. `cause` says which
    term is the likely cause where it misses.
    """

    agreement: Agreement
    tolerance: float | None
    verdict: Verdict | None
    conclusive: bool | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class PathAgreement:
    """How far the quotas of one instance are apart in the two worlds, over the repeats that have it in both.

    `sim` and `real` are its mean quotas, `absolute` is the mean over time of their absolute difference, with
    half the width of its interval of confidence; `correlation` is the mean of the repeats in which both move.
    """

    function: str
    order: int
    n: int
    sim: float
    real: float
    absolute: float
    half_width: float | None
    correlation: float | None


@dataclass(frozen=True, slots=True)
class JudgedSystem:
    """One system, over the repeats that both worlds have finished.

    Latency differences are means over repeats; `slowest` has those of the slowest requests.
    `paths_by_repeat` holds one tuple a repeat.
    """

    system: str
    pairs: tuple[tuple[Run, Run], ...]
    rows: tuple[Row, ...]
    latency: Mapping[str, LatencyDifference]
    slowest: Mapping[str, LatencyDifference]
    service: Mapping[str, tuple[ServiceAtBatch, ...]]
    paths: tuple[PathAgreement, ...]
    paths_by_repeat: tuple[tuple[PathDifference, ...], ...]
    punctuality: Punctuality

    @property
    def missed(self) -> tuple[Row, ...]:
        """The measures that are out of tolerance."""
        return tuple(row for row in self.rows if row.verdict == "missed")


@dataclass(frozen=True, slots=True)
class ProfilesInUse:
    """The profiles of both worlds.

    `gpu` is what they describe, `directory` where they are (`None`: the experiment's own); `backend` and
    `device` say on what they were measured, if that is known.
    """

    gpu: str
    directory: str | None
    backend: str | None
    device: str | None


@dataclass(frozen=True, slots=True)
class Validation:
    """What came out, and of what.

    `complete` says whether all repeats of all systems are in it; repeat r has the seed `seed + r`.
    """

    experiment: str
    backend: BackendName
    seed: int
    repeats: int
    complete: bool
    profiles: ProfilesInUse
    tolerances: Tolerances
    notes: tuple[str, ...]
    systems: tuple[JudgedSystem, ...]
    path: Path

    @property
    def missed(self) -> tuple[tuple[str, Row], ...]:
        """System and measure of everything that is out of tolerance."""
        return tuple((system.system, row) for system in self.systems for row in system.missed)


def judge_system(system: str, pairs: Sequence[tuple[Run, Run]], tolerances: Tolerances) -> JudgedSystem:
    """Judge a system by its pairs of runs, a simulated and a real one a repeat.

    Raises
    ------
    RecordingError
        If a table is missing or corrupt.
    """
    evidence = Evidence(
        agreements=agreements([(values_of(sim), values_of(real)) for sim, real in pairs]),
        latency=_latency(pairs, None),
        slowest=_latency(pairs, SLOWEST),
        service={name: rows for index, name in _served(pairs) if (rows := service_by_batch(pairs, index))},
        punctuality=punctuality([real for _, real in pairs]),
    )
    paths = tuple(compare_paths(sim, real) for sim, real in pairs)
    return JudgedSystem(
        system=system,
        pairs=tuple(pairs),
        rows=tuple(
            judge_measure(one, tolerances.get(one.measure.name), evidence) for one in evidence.agreements
        ),
        latency=evidence.latency,
        slowest=evidence.slowest,
        service=evidence.service,
        paths=_join([path for one in paths for path in one]),
        paths_by_repeat=paths,
        punctuality=evidence.punctuality,
    )


def _served(pairs: Sequence[tuple[Run, Run]]) -> list[tuple[int, str]]:
    functions = pairs[0][0].manifest.functions
    return [(index, one.name) for index, one in enumerate(functions) if one.kind != "training"]


def _latency(pairs: Sequence[tuple[Run, Run]], slowest: float | None) -> Mapping[str, LatencyDifference]:
    """Return where latencies part, by function, over the repeats in which both worlds completed requests."""
    found = {}
    for index, name in _served(pairs):
        differences = [latency_difference(*pair, index, slowest=slowest) for pair in pairs]
        there = [one for one in differences if one is not None]
        if there:
            found[name] = mean_difference(there)
    return found


def _join(paths: Sequence[PathDifference]) -> tuple[PathAgreement, ...]:
    """Put the paths of the same instance of all repeats together."""
    found = []
    for function, order in dict.fromkeys((path.function, path.order) for path in paths):
        own = [path for path in paths if (path.function, path.order) == (function, order)]
        correlations = [path.correlation for path in own if path.correlation is not None]
        apart = [path.absolute for path in own]
        found.append(
            PathAgreement(
                function=function,
                order=order,
                n=len(own),
                sim=fmean(path.sim for path in own),
                real=fmean(path.real for path in own),
                absolute=fmean(apart),
                half_width=half_width(apart),
                correlation=fmean(correlations) if correlations else None,
            )
        )
    return tuple(found)


def judge_measure(agreement: Agreement, tolerance: float | None, evidence: Evidence) -> Row:
    """Hold a measure against its tolerance, if it has one; where only one world has it, it misses."""
    if tolerance is None:
        return Row(agreement, None, None, None, None)
    error = agreement.absolute_error
    within = error is not None and error <= tolerance and not agreement.incomparable
    cause = None if within else likely_cause(agreement, evidence)
    return Row(
        agreement, tolerance, "within" if within else "missed", _conclusive(agreement, tolerance), cause
    )


def _conclusive(agreement: Agreement, tolerance: float) -> bool | None:
    """Say whether more repeats could hardly change the verdict; `None` of one repeat, which cannot tell."""
    mean, half = agreement.mean_error, agreement.half_width
    if mean is None or half is None:
        return None
    return abs(mean) + half <= tolerance or abs(mean) - half > tolerance
