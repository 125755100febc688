"""A trace: the arrivals of every function, in columns."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traces.columns import (
    as_column,
    check_arrivals,
    check_names,
    check_offsets,
    first_fault,
    function_column,
    offsets_of,
    token_column,
)
from traces.errors import TraceError, shown

_ROUNDING = 1e-9  # an arrival on the edge of a bin must not fall below it for a rounded quotient


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trace:
    """Arrivals grouped by function, because whoever serves a trace serves one function at a time.

    Function `f` owns `arrival_s[offsets[f]:offsets[f + 1]]`. The arrays are taken over, not copied, and are
    read-only from here on.

    Attributes
    ----------
    functions
        F unique names.
    offsets
        int64[F + 1], from 0 to N.
    arrival_s
        float64[N], seconds from the start of the trace, ascending inside each function.
    duration_s
        The window that the trace covers; every arrival lies in [0, duration_s).
    input_tokens, output_tokens
        int32[N], or `None` where requests have no tokens; 0 where a request has none recorded.
    attributes
        Columns of F values, such as `execution_s` (mean execution time), `memory_bytes`, `trigger`. NaN or
        "" where a value is unknown.
    provenance
        JSON-able: where the trace comes from, and under `transforms` what was done to it, in order.

    Raises
    ------
    TraceError
        If a column breaks what is said above.
    """

    functions: tuple[str, ...]
    offsets: NDArray[np.int64]
    arrival_s: NDArray[np.float64]
    duration_s: float
    input_tokens: NDArray[np.int32] | None = None
    output_tokens: NDArray[np.int32] | None = None
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    _index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        functions = tuple(self.functions)
        index = {name: position for position, name in enumerate(functions)}
        offsets = as_column(self.offsets, np.int64, "offsets")
        arrival_s = as_column(self.arrival_s, np.float64, "arrival_s")
        check_names(functions, index)
        check_offsets(offsets, len(functions), arrival_s.size)
        check_arrivals(functions, offsets, arrival_s, self.duration_s)
        tokens = {
            name: None if column is None else token_column(column, arrival_s.size, name)
            for name, column in (("input_tokens", self.input_tokens), ("output_tokens", self.output_tokens))
        }
        attributes = {
            name: function_column(column, len(functions), name) for name, column in self.attributes.items()
        }
        try:
            json.dumps(self.provenance, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TraceError(f"is not JSON-able: {error}", field="provenance") from None
        checked = {
            "functions": functions,
            "offsets": offsets,
            "arrival_s": arrival_s,
            "duration_s": float(self.duration_s),
            **tokens,
            "attributes": attributes,
            "_index": index,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_functions(
        cls,
        arrivals: Mapping[str, ArrayLike],
        *,
        duration_s: float,
        attributes: Mapping[str, NDArray[Any]] | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> Trace:
        """Build a trace from the sorted arrivals (seconds) of each function."""
        columns = [as_column(column, np.float64, "arrival_s") for column in arrivals.values()]
        return cls(
            functions=tuple(arrivals),
            offsets=offsets_of([column.size for column in columns]),
            arrival_s=np.concatenate([np.empty(0), *columns]),
            duration_s=duration_s,
            attributes=attributes or {},
            provenance=provenance or {},
        )

    @classmethod
    def from_columns(
        cls,
        arrival_s: ArrayLike,
        function: ArrayLike,
        names: Sequence[str],
        *,
        duration_s: float,
        input_tokens: ArrayLike | None = None,
        output_tokens: ArrayLike | None = None,
        attributes: Mapping[str, NDArray[Any]] | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> Trace:
        """Build a trace from requests in the order of time.

        Parameters
        ----------
        arrival_s
            float[N], ascending over all functions.
        function
            int[N], the position in `names` of each request's function. Requests of one function keep their
            order.
        names
            F unique names; a function may have no request.

        Raises
        ------
        TraceError
            If times go back, a position has no name, or the columns differ in length.
        """
        times = as_column(arrival_s, np.float64, "arrival_s")
        owner = as_column(function, np.int64, "function")
        if owner.size != times.size:
            raise TraceError(f"found {owner.size} values for {times.size} arrivals", field="function")
        if owner.size and not (owner.min() >= 0 and owner.max() < len(names)):
            raise TraceError(
                f"found {owner.min()} to {owner.max()}, allowed is 0 to {len(names) - 1}", field="function"
            )
        if back := first_fault(times[1:] < times[:-1]):
            raise TraceError(
                f"found {times[back]} after {times[back - 1]} at row {back}, allowed is ascending time",
                field="arrival_s",
            )
        order = np.argsort(owner, kind="stable")

        def grouped(column: ArrayLike | None, name: str) -> NDArray[np.int32] | None:
            return None if column is None else token_column(column, times.size, name)[order]

        return cls(
            functions=tuple(names),
            offsets=offsets_of(np.bincount(owner, minlength=len(names))),
            arrival_s=times[order],
            duration_s=duration_s,
            input_tokens=grouped(input_tokens, "input_tokens"),
            output_tokens=grouped(output_tokens, "output_tokens"),
            attributes=attributes or {},
            provenance=provenance or {},
        )

    def __len__(self) -> int:
        return self.arrival_s.size

    def __repr__(self) -> str:
        return f"Trace({len(self.functions)} functions, {len(self)} arrivals, {self.duration_s:g} s)"

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64[F]: the number of arrivals of each function."""
        return np.diff(self.offsets)

    @property
    def transforms(self) -> tuple[object, ...]:
        """What was done to the trace, in order."""
        done = self.provenance.get("transforms", [])
        if not isinstance(done, list | tuple):
            raise TraceError(f"found {shown(done)}, allowed is a list", field="provenance.transforms")
        return tuple(done)

    def index(self, function: int | str) -> int:
        """Return the position of a function given by name or by position."""
        if isinstance(function, str):
            found = self._index.get(function)
            if found is None:
                raise TraceError(f"found {shown(function)}, which the trace does not hold", field="function")
            return found
        if not 0 <= function < len(self.functions):
            raise TraceError(f"found {function}, allowed is 0 to {len(self.functions) - 1}", field="function")
        return int(function)

    def span(self, function: int | str) -> slice:
        """Return the rows of one function in the columns of requests."""
        position = self.index(function)
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))

    def arrivals(self, function: int | str) -> NDArray[np.float64]:
        """Return the arrivals (seconds, ascending) of one function, as a view."""
        return self.arrival_s[self.span(function)]

    def rates(self, bin_s: float) -> NDArray[np.float64]:
        """Return float64[F, B]: arrivals a second of each function in bins of `bin_s` seconds.

        The last bin ends with the trace and may be shorter; its rate is over its own width.
        """
        if not (math.isfinite(bin_s) and bin_s > 0):
            raise TraceError(f"found {shown(bin_s)}, allowed is a finite number above 0", field="bin_s")
        bins = max(1, math.ceil(self.duration_s / bin_s - _ROUNDING))
        width_s = np.full(bins, float(bin_s))
        width_s[-1] = self.duration_s - (bins - 1) * bin_s
        counts = np.empty((len(self.functions), bins))
        for position in range(len(self.functions)):
            place = (self.arrivals(position) / bin_s + _ROUNDING).astype(np.int64)
            counts[position] = np.bincount(np.minimum(place, bins - 1), minlength=bins)
        rates: NDArray[np.float64] = counts / width_s
        return rates

    def in_time_order(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return (`arrival_s`, `function`) over all functions; of equal times the first function is first."""
        order = np.argsort(self.arrival_s, kind="stable")
        owner = np.repeat(np.arange(len(self.functions), dtype=np.int32), self.counts)
        return self.arrival_s[order], owner[order]

    def select(self, functions: Iterable[int | str]) -> Trace:
        """Return the trace of some functions only, in the order given."""
        chosen = [self.index(function) for function in functions]
        names = tuple(self.functions[position] for position in chosen)
        rows = [self.span(position) for position in chosen]

        def kept(column: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([column[:0], *(column[span] for span in rows)])

        return Trace(
            functions=names,
            offsets=offsets_of(self.counts[chosen] if chosen else []),
            arrival_s=kept(self.arrival_s),
            duration_s=self.duration_s,
            input_tokens=None if self.input_tokens is None else kept(self.input_tokens),
            output_tokens=None if self.output_tokens is None else kept(self.output_tokens),
            attributes={name: column[chosen] for name, column in self.attributes.items()},
            provenance=self.provenance_after({"transform": "select", "functions": list(names)}),
        )

    def window(self, start_s: float, end_s: float) -> Trace:
        """Return the part of the trace in [start_s, end_s), with its time counted from `start_s`."""
        if not 0 <= start_s < end_s <= self.duration_s:
            raise TraceError(
                f"found {start_s} to {end_s}, allowed is 0 <= start < end <= {self.duration_s}",
                field="window",
            )
        shifted = self.arrival_s - start_s
        inside = (shifted >= 0) & (shifted < end_s - start_s)
        before = np.concatenate([[0], np.cumsum(inside)])
        return Trace(
            functions=self.functions,
            offsets=before[self.offsets],
            arrival_s=shifted[inside],
            duration_s=end_s - start_s,
            input_tokens=None if self.input_tokens is None else self.input_tokens[inside],
            output_tokens=None if self.output_tokens is None else self.output_tokens[inside],
            attributes=self.attributes,
            provenance=self.provenance_after({"transform": "window", "start_s": start_s, "end_s": end_s}),
        )

    def provenance_after(self, transform: Mapping[str, object]) -> dict[str, object]:
        """Return the provenance of what a transform makes of this trace: its own, and the transform last."""
        return {**self.provenance, "transforms": [*self.transforms, dict(transform)]}


def merge(traces: Sequence[Trace]) -> Trace:
    """Put the functions of several traces side by side.

    The window is the longest one. Where only some traces know a column, the others get 0 tokens, NaN or "".

    Raises
    ------
    TraceError
        If there is no trace, or two of them hold a function of the same name.
    """
    if not traces:
        raise TraceError("found none, allowed is at least one", field="traces")
    attributes = list(dict.fromkeys(name for trace in traces for name in trace.attributes))
    return Trace(
        functions=tuple(name for trace in traces for name in trace.functions),
        offsets=offsets_of(np.concatenate([trace.counts for trace in traces])),
        arrival_s=np.concatenate([trace.arrival_s for trace in traces]),
        duration_s=max(trace.duration_s for trace in traces),
        input_tokens=_merged_tokens([(trace.input_tokens, len(trace)) for trace in traces]),
        output_tokens=_merged_tokens([(trace.output_tokens, len(trace)) for trace in traces]),
        attributes={name: _merged_attribute(traces, name) for name in attributes},
        provenance={
            "source": "merge",
            "parts": [dict(trace.provenance) for trace in traces],
            "transforms": [],
        },
    )


def _merged_tokens(columns: list[tuple[NDArray[np.int32] | None, int]]) -> NDArray[np.int32] | None:
    if all(column is None for column, _ in columns):
        return None
    return np.concatenate(
        [np.zeros(rows, dtype=np.int32) if column is None else column for column, rows in columns]
    )


def _merged_attribute(traces: Sequence[Trace], name: str) -> NDArray[Any]:
    is_text = any(trace.attributes[name].dtype.kind == "U" for trace in traces if name in trace.attributes)
    unknown = "" if is_text else math.nan
    return np.concatenate(
        [
            trace.attributes.get(name, np.full(len(trace.functions), unknown)).astype(
                str if is_text else float
            )
            for trace in traces
        ]
    )
