"""A small trace that has everything, and what it means that a trace reads back as the very same."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from traces import Trace

TOKENS = ("input_tokens", "output_tokens")


def same(one: Trace, other: Trace) -> bool:
    """Whether two traces are the very same, to the bit, in their types and in the order of everything."""

    def column(values: np.ndarray[Any, Any] | None) -> object:
        return None if values is None else (values.dtype, values.tobytes())

    def attribute(values: np.ndarray[Any, Any]) -> object:
        return values.tolist() if values.dtype.kind == "U" else (values.dtype, repr(values.tolist()))

    def everything(trace: Trace) -> object:
        return (
            trace.functions,
            trace.duration_s,
            [column(getattr(trace, name)) for name in ("offsets", "arrival_s", *TOKENS)],
            [(name, attribute(values)) for name, values in trace.attributes.items()],
            json.dumps(trace.provenance),
        )

    return everything(one) == everything(other)


SMALL = Trace(
    functions=("b", "idle", "a"),
    offsets=np.array([0, 2, 2, 5]),
    arrival_s=np.array([0.5, 1.0, 0.25, 0.25, 2.0]),
    duration_s=3.0,
    input_tokens=np.array([1, 2, 3, 4, 5]),
    output_tokens=np.array([50, 40, 30, 20, 10]),
    attributes={"execution_s": np.array([0.1, math.nan, 0.2]), "trigger": np.array(["http", "", "queue"])},
    provenance={"source": "a test", "transforms": []},
)
