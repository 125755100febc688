"""What is published of the functions of Azure in July 2019, as numbers, and what was fitted to it.

M. Shahrad et al., Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a Large
Cloud Provider, USENIX ATC 2020, sections 3 and 5. `platform` is all that the paper measured, `released` the
subset that its authors made public. Curves were read off the figures with which github.com/Azure/
AzurePublicDataset compares the two (`analysis/AzureFunctionsDataset2019-Trace_Analysis.md`), to +-0.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from traces.synthesis.curves import Curve

Population = Literal["platform", "released"]

CITATION: Final = "Shahrad et al., Serverless in the Wild, USENIX ATC 2020"
DAYS_OBSERVED: Final = 14


@dataclass(frozen=True, slots=True)
class Published:
    """One population of functions.

    Attributes
    ----------
    per_day
        Functions by their requests a day (figure 5a).
    functions_by_trigger, requests_by_trigger
        Percent of the functions and of the requests (figure 2).
    rate_tilt
        Of each trigger but timers, (a, b): at r requests a day its odds against `http` are exp(a + b lg r).
        Fitted, to `functions_by_trigger` and `requests_by_trigger`.
    hourly_load
        Lowest and highest hour, in means (figure 4).
    """

    per_day: Curve
    functions_by_trigger: Mapping[str, float]
    requests_by_trigger: Mapping[str, float]
    rate_tilt: Mapping[str, tuple[float, float]]
    hourly_load: tuple[float, float]


# Figure 5a ends at a request a second. The values beyond it, for the last 3, 1, 0.3, 0.1, 0.01 and 0 of 1,000
# functions, are fitted to figure 5b, the share of requests that the most popular functions make.
_TOP: Final = (0.997, 0.999, 0.9997, 0.9999, 0.99999, 1.0)
_PER_DAY: Final = (1 / 14, 1.0, 2.0, 10.0, 24.0, 96.0, 288.0, 1_440.0, 10_000.0, 86_400.0)

PUBLISHED: Final[Mapping[Population, Published]] = {
    "platform": Published(
        per_day=Curve(
            values=(*_PER_DAY, 5.7e5, 1.2e6, 4.9e6, 1.1e7, 4.0e7, 2.8e8),
            shares=(0.065, 0.350, 0.425, 0.565, 0.646, 0.741, 0.837, 0.929, 0.969, 0.993, *_TOP),
        ),
        functions_by_trigger={
            "http": 55.0,
            "queue": 15.2,
            "event": 2.2,
            "orchestration": 6.9,
            "timer": 15.6,
            "storage": 2.8,
            "others": 2.2,
        },
        requests_by_trigger={
            "http": 35.9,
            "queue": 33.5,
            "event": 24.7,
            "orchestration": 2.3,
            "timer": 2.0,
            "storage": 0.7,
            "others": 1.0,
        },
        rate_tilt={
            "http": (0.0, 0.0),
            "queue": (-1.503, 0.222),
            "event": (-3.984, 0.545),
            "orchestration": (-2.004, -0.119),
            "storage": (-2.884, -0.169),
            "others": (-3.177, -0.064),
        },
        hourly_load=(0.78, 1.55),
    ),
    "released": Published(
        per_day=Curve(
            values=(*_PER_DAY, 4.4e5, 2.5e6, 6.0e6, 2.3e7, 1.1e8, 5.3e8),
            # 10,000 a day was not read for this set: assumed to fall off on the way as in the platform's
            shares=(0.060, 0.344, 0.391, 0.541, 0.602, 0.711, 0.789, 0.905, 0.957, 0.990, *_TOP),
        ),
        functions_by_trigger={
            "http": 43.3,
            "queue": 15.1,
            "event": 2.6,
            "orchestration": 8.2,
            "timer": 28.5,
            "storage": 2.3,
            # The figure's 5.7 makes the row add up to 105.7. This is the share in a sample of 500 functions.
            "others": 0.2,
        },
        requests_by_trigger={
            "http": 22.5,
            "queue": 42.4,
            "event": 30.9,
            "orchestration": 1.4,
            "timer": 1.8,
            "storage": 0.8,
            "others": 0.1,
        },
        rate_tilt={
            "http": (0.0, 0.0),
            "queue": (-1.394, 0.298),
            "event": (-3.715, 0.577),
            "orchestration": (-1.560, -0.188),
            "storage": (-2.889, -0.068),
            "others": (-5.373, -0.007),
        },
        hourly_load=(0.82, 1.25),
    ),
}

GAP_CV: Final = Curve(
    values=(0.01, 0.05, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 30.0),
    shares=(0.0, 0.12, 0.18, 0.23, 0.28, 0.34, 0.45, 0.55, 0.68, 0.76, 0.843, 0.885, 0.914, 1.0),
    logarithmic=False,
)
"""Coefficient of variation of the gaps, applications without timers (figure 6, platform).

Both ends, below 0.05 and above 10, are assumed. Functions are taken to vary as such applications do.
"""

APPLICATION_FUNCTIONS: Final = Curve(
    values=(1.0, 2.0, 3.0, 5.0, 10.0, 100.0, 2_000.0),
    shares=(0.54, 0.70, 0.80, 0.88, 0.95, 0.9996, 1.0),
)
"""Functions of an application (figure 1, platform).

1, 10 and 100 are in the text; 2, 3 and 5 as M. Shilkov read them off the figure (mikhail.io, May 2020); the
last is where the figure ends.
"""

LN_EXECUTION_S: Final = (-0.38, 2.36)
"""Mean and standard deviation of the logarithm of a function's mean execution time in seconds (figure 7)."""

MEMORY_C: Final = 11.652
MEMORY_K: Final = 0.221
MEMORY_SCALE_MB: Final = 107.083
"""Burr XII distribution of the average allocated memory of an application in MB (figure 8)."""

MEMORY_LIMIT_MB: Final = 1_536.0
"""What the platform allowed (1.5 GB, the consumption plan): the fitted tail has no finite third moment."""

# The paper says that 95 % of timers fire at most once a minute. That the rest fire every 5 s is fitted to the
# timers' share of the requests. How many fire at which period (figure 5a jumps at these) is fitted to the 247
# timers in a public sample of 500 functions, daily ones counted threefold because it lasts 8 hours.
TIMER_PERIOD_S: Final = (86_400, 3_600, 900, 300, 60, 5)
TIMER_SHARE: Final = (0.35, 0.14, 0.12, 0.22, 0.12, 0.05)
