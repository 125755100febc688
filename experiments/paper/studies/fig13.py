"""Figure 13: tokens at a low load."""

from __future__ import annotations

from typing import Final

from experiments.paper.claims import Claim, Row
from experiments.paper.studies.shared_gpu import Measured, Setting, judged, training_speed
from experiments.paper.studies.token_traces import cells_of, result_of
from experiments.paper.study import Study

SETTING: Final = Setting("paper-fig13", "low load")

OVER_DILU: Final = 0.85
"""Training under MPS-r over that under Dilu (section 5.2)."""

OVER_EXCLUSIVE: Final = 0.85 * 0.972
"""Training under MPS-r over Exclusive's, if Dilu has the 97.2 % of Fig. 7."""


def _rows(measured: Measured) -> tuple[Row, ...]:
    where = "Section 5.2, Fig. 13"
    against_dilu = Claim(
        "training throughput of MPS-r over Dilu's", where, "ratio", "text", OVER_DILU, neutral=1.0
    )
    against_exclusive = Claim(
        "training throughput of MPS-r over Exclusive's, if Dilu has the 97.2 % of Fig. 7",
        where,
        "ratio",
        "derived",
        OVER_EXCLUSIVE,
        neutral=1.0,
    )
    return (
        judged(
            against_dilu,
            measured.ratio(SETTING, "mps-r", "dilu", training_speed),
            size=_THROTTLED,
        ),
        judged(
            against_exclusive,
            measured.ratio(SETTING, "mps-r", "exclusive", training_speed),
            size=_REQUEST,
        ),
    )


_THROTTLED: Final = (
    "It is Dilu that differs, not MPS-r (next row): with the wait behind a training kernel that we assume, "
    "Dilu throttles training even at 10 requests a second; with 10 to 20 us instead of 80 it would not "
    "(see Fig. 7)."
)

_REQUEST: Final = "A training's speed at its request is 80 % of its best by Dilu's own sizing."

FIG13: Final = Study(
    name="fig13",
    title="Fig. 13: tokens at a low load",
    source="Section 5.2, Fig. 13",
    setup=(
        "RoBERTa-large at 10 requests a second beside the training of LLaMA2-7B: how much does a static "
        "request cost training that could have the idle time?"
    ),
    cells=lambda scope: cells_of(SETTING, scope),
    result=lambda results, scope: result_of(results, scope, SETTING, _rows),
    size=(9.0, 5.0),
)
"""Registered in `experiments.paper.studies`."""
