from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from traces.errors import TraceError
from traces.generate import ArrivalSpec, generate
from traces.statistics import TraceStatistics, describe
from traces.trace import Trace, merge


def single(
    arrival_s: NDArray[np.float64], tokens: tuple[list[int], list[int]] | None = None, tick_s: float = 1e-3
) -> Trace:
    """Return requests of one function from the first one on."""
    arrival_s = arrival_s - arrival_s[0]
    return Trace.from_columns(
        arrival_s,
        np.zeros(arrival_s.size, dtype=np.int64),
        ["f"],
        duration_s=float(arrival_s[-1]) + tick_s,
        input_tokens=tokens and tokens[0],
        output_tokens=tokens and tokens[1],
    )


def azure_llm(trace_dir: Path) -> Trace:
    """Read the conversations of Azure's LLM trace of 2023."""
    with (trace_dir / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stamps = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    tokens = [int(row["ContextTokens"]) for row in rows], [int(row["GeneratedTokens"]) for row in rows]
    return single(np.array(stamps), tokens, tick_s=1e-6)


def mooncake(trace_dir: Path, name: str) -> Trace:
    """Read a trace of Mooncake as its clock has it."""
    with gzip.open(trace_dir / "mooncake_fast25" / f"{name}_trace.jsonl.gz") as file:
        rows = [json.loads(line) for line in file]
    tokens = [row["input_length"] for row in rows], [row["output_length"] for row in rows]
    return single(np.array([row["timestamp"] for row in rows]) / 1000, tokens)


def burstgpt(trace_dir: Path) -> Trace:
    """Read BurstGPT, its failed requests included."""
    with (trace_dir / "burstgpt" / "BurstGPT_1_first400.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    tokens = [int(row["Request tokens"]) for row in rows], [int(row["Response tokens"]) for row in rows]
    return single(np.array([float(row["Timestamp"]) for row in rows]), tokens)


def azure_functions_2021(trace_dir: Path) -> Trace:
    """Read the starts of Azure's invocations of 2021."""
    (path,) = (trace_dir / "azure_functions_2021").glob("*first998.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    starts = np.array([float(row["end_timestamp"]) - float(row["duration"]) for row in rows])
    return single(np.sort(starts))


def azure_functions_2019(trace_dir: Path) -> Trace:
    """Read a sample of Azure's functions of 2019, spread evenly inside minutes."""
    arrivals = {}
    with (trace_dir / "azure_functions_2019" / "sample500_invocations.csv").open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for _, _, name, _, *minutes in rows:
            counts = np.array(minutes, dtype=np.int64)
            rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            minute = np.repeat(np.arange(counts.size), counts)
            arrivals[name] = (minute + (rank + 0.5) / counts[minute]) * 60.0
    spread = {"transform": "spread within the minute", "spread": "even"}
    return Trace.from_functions(arrivals, duration_s=28_800.0, provenance={"transforms": [spread]})


@dataclass(frozen=True)
class Published:
    """What the publisher of the files says of one of them."""

    requests: int
    span_s: float
    mean_rps: float
    peak_minute_over_mean: float
    iat_cv: float


@pytest.mark.parametrize(
    ("read", "published"),
    [
        (azure_llm, Published(19_366, 3501.72, 5.530, 1.52, 1.094)),
        (lambda path: mooncake(path, "conversation"), Published(12_031, 3537.0, 3.402, 1.21, 3.03)),
        (lambda path: mooncake(path, "synthetic"), Published(3993, 1022.0, 3.907, 1.17, 1.011)),
        (azure_functions_2021, Published(998, 6464.8, 0.154, 5.94, 1.752)),
        (burstgpt, Published(400, 37_269.0, 0.0107, 12.5, 4.561)),
    ],
    ids=["azure_llm", "mooncake", "mooncake-synthetic", "azure_2021", "burstgpt"],
)
def test_real_traces_have_their_known_statistics(
    trace_dir: Path, read: Callable[[Path], Trace], published: Published
) -> None:
    """Numbers that were computed from the files on another way come out the same, to their last digit."""
    found = describe(read(trace_dir))
    assert found.requests == published.requests
    assert found.span_s == pytest.approx(published.span_s, abs=0.05)
    assert found.mean_rps == pytest.approx(published.mean_rps, rel=5e-3 if published.mean_rps < 1 else 2e-4)
    assert found.peak_minute_over_mean == pytest.approx(published.peak_minute_over_mean, rel=4e-3)
    assert found.iat_cv == pytest.approx(published.iat_cv, rel=2e-3)


def test_llm_traces_have_their_known_tokens(trace_dir: Path) -> None:
    """Quantiles, maxima and means of tokens, and the dispersion of counts, are those known of the files."""
    found = describe(azure_llm(trace_dir))
    assert found.input_tokens is not None
    assert found.output_tokens is not None
    assert (found.input_tokens.p50, found.input_tokens.p95, found.input_tokens.p99) == (1020, 4083, 4142)
    assert (found.input_tokens.max, round(found.input_tokens.mean, 1)) == (14_050, 1154.7)
    assert (found.output_tokens.p50, found.output_tokens.p99, found.output_tokens.max) == (129, 601, 1000)
    assert found.fano_1s == pytest.approx(1.39, abs=0.005)
    assert found.fano_60s == pytest.approx(16.1, abs=0.05)
    assert found.class_functions == {"steady": 1.0, "periodic": 0.0, "bursty": 0.0, "sporadic": 0.0}
    assert found.warnings == ()


def test_ticks_and_failures_of_real_traces_are_warned_of(trace_dir: Path) -> None:
    """Mooncake's clock of 3 s, and BurstGPT's failed requests and low rate, are said in sentences."""
    assert describe(mooncake(trace_dir, "conversation")).warnings == (
        "90.2 % of the gaps are 0: arrivals come in ticks of 3 s.",
    )
    assert describe(burstgpt(trace_dir)).warnings == (
        "0.0107 requests a second load no GPU: scale the rate or compress the time.",
        "17 of 400 requests have 0 input tokens: failed, or not recorded.",
        "17 of 400 requests have 0 output tokens: failed, or not recorded.",
    )


def test_a_sample_of_azure_functions_has_its_known_statistics(trace_dir: Path) -> None:
    """Rate, peak, variation of functions and concentration are those known of the sample."""
    found = describe(azure_functions_2019(trace_dir))
    assert (found.requests, found.functions, found.empty_functions) == (3_037_902, 500, 0)
    assert round(found.window_rps * 60) == 6329
    assert found.peak_minute_over_mean == pytest.approx(1.20, abs=0.005)
    assert found.iat_cv_median == pytest.approx(0.20, abs=0.005)
    assert found.iat_cv_above_one == pytest.approx(0.24, abs=0.005)
    assert [round(100 * found.top_share[first], 1) for first in (1, 5, 10)] == [63.1, 83.6, 90.9]
    assert found.class_requests["steady"] > 0.9
    assert found.warnings[0] == (
        "Arrivals inside a minute are spread evenly: gaps shorter than that were not observed."
    )
    assert "makes 63.1 % of the requests" in found.warnings[1]


@st.composite
def small_traces(draw: st.DrawFn) -> Trace:
    """Draw traces of a few functions with times on a coarse grid, so that ties occur."""
    duration_s = draw(st.sampled_from([0.5, 59.0, 60.0, 200.0, 1e5]))
    grid = duration_s / draw(st.sampled_from([7, 1000]))
    columns = draw(st.lists(st.lists(st.integers(0, 6), max_size=40), min_size=1, max_size=5))
    return Trace.from_functions(
        {str(at): np.sort(np.array(column, dtype=np.float64)) * grid for at, column in enumerate(columns)},
        duration_s=duration_s,
    )


def variation(times: NDArray[np.float64]) -> float | None:
    """Return the coefficient of variation of gaps, `None` where there are too few or no time passes."""
    gaps = np.diff(np.sort(times))
    return float(gaps.std() / gaps.mean()) if gaps.size >= 2 and gaps.mean() > 0 else None


@given(small_traces(), st.integers(0, 6), st.integers(2, 2**20))
def test_statistics_are_their_definitions(trace: Trace, top: int, rows: int) -> None:
    """Whatever is looked at at once, each number is what a few plain lines compute of the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("traces.statistics._ROWS", rows)
        found = describe(trace, top=top)
    times = np.sort(trace.arrival_s)
    approx = pytest.approx
    assert found.span_s == (times[-1] - times[0] if times.size else 0)
    assert found.iat_cv == (None if variation(times) is None else approx(variation(times), abs=1e-9))
    for width_s, peak, fano in (
        (60.0, found.peak_minute_over_mean, found.fano_60s),
        (1.0, found.peak_second_over_mean, found.fano_1s),
    ):
        bins = math.floor(trace.duration_s / width_s)
        counts = np.bincount((times / width_s + 1e-9).astype(int), minlength=bins + 1)[:bins]
        if counts.sum():
            assert peak == approx(counts.max() / counts.mean())
            assert fano == approx(counts.var() / counts.mean(), abs=1e-9)
        else:
            assert peak is None
            assert fano is None
    own = [variation(trace.arrivals(at)) for at in range(len(trace.functions))]
    known = np.array([cv for cv in own if cv is not None])
    assert found.iat_cv_median == (approx(np.median(known), abs=1e-9) if known.size else None)
    if known.size and (np.abs(known - 1) > 1e-9).all():
        assert found.iat_cv_above_one == approx((known > 1).mean())
    assert found.empty_functions == sum(not trace.arrivals(at).size for at in range(len(trace.functions)))
    assert [function.requests for function in found.top] == sorted(trace.counts.tolist(), reverse=True)[:top]
    assert sum(found.class_functions.values()) == approx(1.0)
    assert sum(found.class_requests.values()) == approx(1.0 if times.size else 0.0)
    assert len(found.classes) == len(trace.functions)


def test_of_equally_requested_functions_the_first_is_first() -> None:
    """The most requested functions come in order, with their shares and classes."""
    trace = Trace.from_functions({"a": [1.0], "b": [1.0, 2.0], "c": [], "d": [5.0, 6.0]}, duration_s=10.0)
    found = describe(trace, top=3)
    assert [(function.name, function.requests, function.share) for function in found.top] == [
        ("b", 2, 0.4),
        ("d", 2, 0.4),
        ("a", 1, 0.2),
    ]
    assert found.top_share == {1: 0.4, 5: 1.0, 10: 1.0}
    assert describe(trace, top=0).top == ()
    many = Trace.from_functions({f"f{at}": [1.0] * (at % 3) for at in range(300)}, duration_s=10.0)
    assert [function.name for function in describe(many, top=99).top] == [f"f{at}" for at in range(2, 299, 3)]


@pytest.mark.parametrize("requests", [5, 5000])
def test_arrivals_on_the_edge_of_a_minute_belong_to_the_later_one(requests: int) -> None:
    """A time that rounding put a last bit below a whole minute counts for it, in few requests and in many."""
    times_s = np.full(requests, np.nextafter(120.0, 0.0))
    found = describe(Trace.from_functions({"f": [0.0, *times_s]}, duration_s=120.5))
    # only the first request is in a whole minute, or second
    assert (found.peak_minute_over_mean, found.peak_second_over_mean) == (2.0, 120.0)


def test_statistics_are_json() -> None:
    """All types are those of JSON, and the names that others rely on are there."""
    trace = Trace.from_columns(
        [0.0, 1.0, 2.5], [0, 1, 0], ["a", "b"], duration_s=200.0, input_tokens=[1, 2, 3]
    )
    report = describe(trace).as_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert {"requests", "span_s", "mean_rps", "peak_minute_over_mean", "iat_cv", "functions"} <= set(report)
    assert report["functions"] == 2
    assert report["input_tokens"] == {"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3, "mean": 2.0}
    assert report["output_tokens"] is None
    assert report["top"][0]["name"] == "a"
    assert report["top_share"]["1"] == pytest.approx(2 / 3)
    assert "classes" not in report


def test_an_empty_trace_is_described() -> None:
    """Without requests what needs some is None, and a warning says why."""
    for functions in ({}, {"f": []}):
        trace = Trace.from_functions(functions, duration_s=100.0)
        found = describe(trace)
        assert found.warnings == ("The trace holds no request.",)
        assert (found.requests, found.mean_rps, found.span_s) == (0, 0.0, 0.0)
        assert (found.iat_cv, found.fano_1s, found.iat_cv_median, found.input_tokens) == (None,) * 4
        json.dumps(found.as_json(), allow_nan=False)
    tokens = Trace.from_columns([], [], ["f"], duration_s=1.0, input_tokens=[])
    assert describe(tokens).input_tokens is None


def test_the_mean_rate_is_over_the_span() -> None:
    """Published tables divide by the time between first and last request; the window's rate stands beside."""
    found = describe(Trace.from_functions({"f": [10.0, 20.0, 30.0, 60.0]}, duration_s=400.0))
    assert (found.mean_rps, found.window_rps) == (4 / 50.0, 0.01)
    assert describe(Trace.from_functions({"f": [10.0]}, duration_s=50.0)).mean_rps == 1 / 50.0


def warnings_of(trace: Trace) -> tuple[str, ...]:
    """Return what a reader is warned of."""
    return describe(trace).warnings


COSTLESS = "The trace has neither durations nor tokens: what a request costs must come from elsewhere."


def test_what_is_unusual_is_warned_of() -> None:
    """Each warning comes for the trace that earns it, and alone."""
    evenly = np.arange(0.5, 100.0, 1.0)

    def trace(**functions: object) -> Trace:
        known = np.full(len(functions), 0.1)
        return Trace.from_functions(functions, duration_s=100.0, attributes={"execution_s": known})  # type: ignore[arg-type]

    assert warnings_of(trace(f=evenly)) == ()
    assert warnings_of(trace(f=evenly, g=[])) == (
        "One function (f) makes 100 % of the requests.",
        "1 of 2 functions have no request.",
    )
    assert warnings_of(trace(f=evenly / 4)) == ("All requests lie within 24.8 s of the window of 100 s.",)
    assert warnings_of(trace(f=np.repeat(evenly[::4], 4))) == (
        "75.8 % of the gaps are 0: arrivals come in ticks of 4 s.",
    )
    uneven = np.sort(np.random.default_rng(1).uniform(0, 100, 50))
    assert warnings_of(trace(f=np.repeat(uneven, 3))) == (
        "67.1 % of the gaps are 0: many requests arrive at equal times.",
    )
    assert warnings_of(Trace.from_functions({"f": evenly}, duration_s=100.0)) == (COSTLESS,)
    half = Trace.from_functions(
        {"f": evenly, "g": evenly + 0.1}, duration_s=101.0, attributes={"execution_s": np.array([1, np.nan])}
    )
    assert warnings_of(half) == ("The duration of 1 of 2 functions is unknown.",)


def test_spreads_of_merged_parts_are_found() -> None:
    """A warning on synthetic gaps comes from the parts of a merged trace too, each kind once."""

    def part(name: str, unit: str, **how: object) -> Trace:
        return Trace.from_functions(
            {name: np.arange(100.0)},
            duration_s=100.0,
            provenance={"transforms": [{"transform": f"spread within the {unit}", **how}]},
        )

    merged = merge(
        [part("a", "minute", spread="even"), part("b", "second", seed=1), part("c", "minute", spread="even")]
    )
    spread = [warning for warning in warnings_of(merged) if "spread" in warning]
    assert spread == [
        "Arrivals inside a minute are spread evenly: gaps shorter than that were not observed.",
        "Arrivals inside a second are spread at random: gaps shorter than that were not observed.",
    ]


def test_a_generated_variation_is_measured() -> None:
    """The variation of gaps that was asked for is the one that is described."""
    specs = [
        ArrivalSpec("gamma", "gamma", 20.0, cv=4.0),
        ArrivalSpec("bursty", "bursty", 20.0, cv=3.0),
        ArrivalSpec("poisson", "poisson", 20.0),
        ArrivalSpec("even", "even", 20.0),
    ]
    for spec, cv in zip(specs, (4.0, 3.0, 1.0, 0.0), strict=True):
        found = describe(generate([spec], duration_s=5000.0, seed=1))
        assert found.iat_cv == pytest.approx(cv, rel=0.05, abs=1e-4)
        assert found.iat_cv_median == pytest.approx(found.iat_cv)


@pytest.mark.parametrize("top", [-1, 1.5, True, "5"])
def test_a_bad_number_of_functions_is_refused(top: object) -> None:
    """How many functions to name is a whole number from 0."""
    with pytest.raises(TraceError, match=r"^top: found "):
        describe(Trace.from_functions({"f": [1.0]}, duration_s=10.0), top=top)  # type: ignore[arg-type]


def test_statistics_cannot_be_changed() -> None:
    """What was said of a trace stays said."""
    found = describe(Trace.from_functions({"f": [1.0]}, duration_s=10.0))
    assert isinstance(found, TraceStatistics)
    with pytest.raises(AttributeError):
        found.requests = 2  # type: ignore[misc]
