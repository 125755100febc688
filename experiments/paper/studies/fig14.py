"""Figure 14: tokens at a load that fluctuates."""

from __future__ import annotations

from typing import Final

from experiments.paper.claims import Claim, Row
from experiments.paper.studies.shared_gpu import Measured, Setting, judged, latency
from experiments.paper.studies.token_traces import SERVED, cells_of, result_of
from experiments.paper.study import Study

SETTING: Final = Setting("paper-fig14", "fluctuating load")

OVER_DILU: Final = 3.1
"""p95 under MPS-r over that under Dilu (section 5.2)."""


def _rows(measured: Measured) -> tuple[Row, ...]:
    claim = Claim("p95 of MPS-r over Dilu's", "Section 5.2, Fig. 14", "ratio", "text", OVER_DILU, neutral=1.0)
    found = measured.ratio(SETTING, "mps-r", "dilu", latency(SERVED, "p95"))
    return (judged(claim, found, size=_RATE, direction=_NO_BURST),)


_RATE: Final = (
    "Neither the mean rate nor the pair is in the text, and the ratio hangs on how far bursts exceed what "
    "a request of 0.3 serves: it grows steeply over the CV of Fig. 10a."
)

_NO_BURST: Final = "At this load bursts do not exceed what a request of 0.3 serves."

FIG14: Final = Study(
    name="fig14",
    title="Fig. 14: tokens at a load that fluctuates",
    source="Section 5.2, Fig. 14",
    setup=(
        "RoBERTa-large in bursts (what the paper calls a CV of 5) beside training: how much does a static "
        "request cost inference that could have more in a burst? We take 64 requests a second, the mean of "
        "Fig. 10a, and the pair of Fig. 13."
    ),
    cells=lambda scope: cells_of(SETTING, scope),
    result=lambda results, scope: result_of(results, scope, SETTING, _rows),
    size=(9.0, 5.0),
)
"""Registered in `experiments.paper.studies`."""
