"""Every real trace, read by detection of its format, has the statistics that are published of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from traces import describe, read_trace

# requests, span [s], mean rate [req/s], peak minute over mean, CV of the gaps between all requests
HEADLINES: list[tuple[str, dict[str, Any], int, float, float, float, float | None]] = [
    ("azure_llm_2023/AzureLLMInferenceTrace_conv.csv", {}, 19_366, 3_501.72, 5.530, 1.52, 1.094),
    ("mooncake_fast25/conversation_trace.jsonl.gz", {"ticks": "keep"}, 12_031, 3_537.0, 3.402, 1.21, 3.03),
    ("mooncake_fast25/synthetic_trace.jsonl.gz", {"ticks": "keep"}, 3_993, 1_022.0, 3.907, 1.17, 1.011),
    ("azure_functions_2021", {}, 998, 6_464.8, 0.154, 5.94, 1.752),
    ("burstgpt", {"failed": "keep"}, 400, 37_269.0, 0.0107, 12.5, 4.561),
    ("azure_functions_2019", {"sample": "sample500"}, 3_037_902, 480 * 60, 6_329 / 60, 1.20, None),
    ("azure_functions_2019", {"sample": "sample10"}, 13_037_064, 1_440 * 60, 9_053 / 60, 1.08, None),
    ("azure_functions_2019", {"sample": "sample5"}, 25_268_396, 1_440 * 60, 17_548 / 60, 1.04, None),
]


@pytest.mark.parametrize(
    ("path", "options", "requests", "span_s", "rate_rps", "peak", "iat_cv"),
    HEADLINES,
    ids=[f"{path.split('/')[-1]} {options}" for path, options, *_ in HEADLINES],
)
def test_the_headline_statistics_are_met(
    trace_dir: Path,
    path: str,
    options: dict[str, Any],
    requests: int,
    span_s: float,
    rate_rps: float,
    peak: float,
    iat_cv: float | None,
) -> None:
    """Counts are exact, all else is within the rounding of the published table."""
    found = describe(read_trace(trace_dir / path, options=options))
    assert found.requests == requests
    assert found.span_s == pytest.approx(span_s, rel=1e-4)
    assert found.mean_rps == pytest.approx(rate_rps, rel=4e-3)
    assert found.peak_minute_over_mean == pytest.approx(peak, abs=0.05 if peak > 10 else 0.006)
    if iat_cv is not None:
        assert found.iat_cv == pytest.approx(iat_cv, abs=5e-3)


def test_functions_of_sample500_vary_as_published(trace_dir: Path) -> None:
    """Median CV of a function's gaps .20, a quarter above 1; one function makes 63 % of the invocations."""
    found = describe(read_trace(trace_dir / "azure_functions_2019", options={"sample": "sample500"}))
    assert found.iat_cv_median == pytest.approx(0.20, abs=5e-3)
    assert found.iat_cv_above_one == pytest.approx(0.24, abs=5e-3)
    assert found.top_share[1] == pytest.approx(0.631, abs=5e-4)
    assert found.top_share[10] == pytest.approx(0.909, abs=5e-4)


@pytest.mark.parametrize(
    ("path", "values", "mean", "most"),
    [
        ("infless/Bursty.txt", 1_007, 4.050, 14.3),
        ("infless/Periodic.txt", 1_007, 3.097, 13.8),
        ("infless/Sporadic.txt", 1_007, 0.152, 4.1),
        ("streambox/bursty-load.txt", 1_440, 1_511.6, 3_149),
        ("streambox/_bursty-load.txt", 1_440, 770, 1_593),
        ("streambox/periodic-load.txt", 1_000, 77.3, 389),
        ("streambox/sporadic-load.txt", 1_000, 1.5, 88),
    ],
)
def test_series_have_their_rates(trace_dir: Path, path: str, values: int, mean: float, most: float) -> None:
    """A value lasts a step; tenths show in steps of 1,000 s at a tenth of the rate, integers in a second."""
    step_s, scale = (1_000, 0.1) if path.startswith("infless") else (1, 1.0)
    trace = read_trace(trace_dir / path, options={"step_s": step_s, "scale": scale})
    assert trace.duration_s == values * step_s
    rates_rps = trace.rates(step_s)[0] / scale
    assert rates_rps.mean() == pytest.approx(mean, rel=4e-3)
    assert rates_rps.max() == pytest.approx(most, abs=0.011)
