"""Transforms: each takes a trace, returns another one, and adds to its provenance what was done.

A transform never changes the trace that it is given. Those that draw are reproducible: a function's draws
depend on the seed and its name, not on the functions beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from inspect import Parameter, signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.columns import offsets_of
from traces.errors import TraceError, shown
from traces.parameters import nearest, number, positive, whole
from traces.streams import lot, stream
from traces.trace import Trace

_MOST_REQUESTS = 10**9  # 16 GB of columns
_CHUNK_ROWS = 1 << 20  # bounds what is held beside the columns themselves


def window(trace: Trace, start_s: float, end_s: float) -> Trace:
    """Keep what arrives in [start_s, end_s), with the time counted from `start_s`.

    Raises
    ------
    TraceError
        Unless 0 <= start_s < end_s <= duration, in seconds.
    """
    end_of_trace_s = trace.duration_s
    start_s = number(
        start_s,
        "start_s",
        lambda value: 0 <= value < end_of_trace_s,
        f"a number from 0 and below {end_of_trace_s}, the end of the trace",
    )
    end_s = number(
        end_s,
        "end_s",
        lambda value: start_s < value <= end_of_trace_s,
        f"a number above {start_s} and up to {end_of_trace_s}, the end of the trace",
    )
    return trace.window(start_s, end_s)


def scale_rate(trace: Trace, factor: float, *, seed: int) -> Trace:
    """Multiply the requests of every function by `factor`, which is met exactly in expectation.

    Below 1 each request stays with probability `factor`, independently of the others. From 1 on every request
    stays in its place and has `floor(factor) - 1` copies, and one more with probability `factor -
    floor(factor)`; a whole-number factor is met exactly. Copies fall uniformly between their request and the
    function's next one, or the end of the trace after the last; tokens go with them. So the rate over any
    stretch of several gaps grows alike and a burst stays where it is, but a silence is broken by the copies
    of the request before it, and independent gaps of variation CV get, for a whole factor k, CV'^2 =
    2 k (1 + CV^2) / (k + 1) - 1: doubled, a Poisson process has 1.29 and a timer 0.58. `compress_time` raises
    the rate with the gaps' variation as it is.

    With one seed, what a lower factor below 1 keeps is among what a higher one keeps. A trace that was scaled
    before draws anew, as its provenance counts the scalings: the same draws would thin it unevenly.

    Parameters
    ----------
    factor
        Above 0; 1 changes nothing.

    Raises
    ------
    TraceError
        If the factor is not a finite number above 0, or more than 10^9 requests would come out.
    """
    factor = positive(factor, "factor")
    seed = whole(seed, "seed", 0)
    if len(trace) * factor > _MOST_REQUESTS:
        raise TraceError(
            f"found {factor:g} for {len(trace)} requests, allowed are {_MOST_REQUESTS:g} after it",
            field="factor",
        )
    earlier = sum(_is_scaling(transform) for transform in trace.transforms)
    purpose = f"scale_rate {earlier}"
    times = _times_each_stands(trace, factor, seed, purpose)
    offsets = offsets_of(times)[trace.offsets]
    arrival_s = np.repeat(trace.arrival_s, times)
    if factor > 1:
        _spread_copies(arrival_s, offsets, trace, times, seed, purpose)
    return replace(
        trace,
        offsets=offsets,
        arrival_s=arrival_s,
        input_tokens=None if trace.input_tokens is None else np.repeat(trace.input_tokens, times),
        output_tokens=None if trace.output_tokens is None else np.repeat(trace.output_tokens, times),
        provenance=trace.provenance_after({"transform": "scale_rate", "factor": factor, "seed": seed}),
    )


def _is_scaling(transform: object) -> bool:
    return isinstance(transform, Mapping) and transform.get("transform") == "scale_rate"


def _times_each_stands(trace: Trace, factor: float, seed: int, purpose: str) -> NDArray[np.int64]:
    """Return int64[N]: how often each request stands in the scaled trace, its own place included."""
    part, always = math.modf(factor)
    times = np.full(len(trace), int(always), dtype=np.int64)
    if part:
        for position in np.flatnonzero(trace.counts).tolist():
            draws = stream(seed, f"{purpose}: which", trace.functions[position])
            of_function = times[trace.span(position)]
            of_function += draws.random(of_function.size) < part
    return times


def _spread_copies(
    scaled_s: NDArray[np.float64],
    scaled_offsets: NDArray[np.int64],
    trace: Trace,
    times: NDArray[np.int64],
    seed: int,
    purpose: str,
) -> None:
    """Move all but the first of equal neighbours in `scaled_s` towards the next request.

    No copy passes the next request, so that sorting times alone leaves the rows of each request together: a
    share is below 1, its product below the gap as rounded, and the sum rounds to the next request at most.
    """
    last_s = np.nextafter(trace.duration_s, 0.0)
    for position in np.flatnonzero(np.diff(scaled_offsets) > trace.counts).tolist():
        draws = stream(seed, f"{purpose}: where", trace.functions[position])
        arrival_s = trace.arrivals(position)
        next_s = np.append(arrival_s[1:], last_s)
        of_function = times[trace.span(position)]
        start = int(scaled_offsets[position])
        for first in range(0, arrival_s.size, _CHUNK_ROWS):
            chunk = slice(first, first + _CHUNK_ROWS)
            stands = of_function[chunk]
            ends = np.cumsum(stands)
            share = draws.random(int(ends[-1]))
            share[ends - stands] = 0.0  # the request itself
            placed_s = scaled_s[start : start + share.size]
            share *= np.repeat(next_s[chunk] - arrival_s[chunk], stands)
            placed_s += share
            placed_s.sort()
            start += share.size


def compress_time(trace: Trace, factor: float) -> Trace:
    """Divide all times and the duration by `factor`: above 1 a day is over sooner, at a higher rate.

    Attributes stay as they are; what one request takes does not depend on when it comes.

    Raises
    ------
    TraceError
        If the factor is not a finite number above 0, or leaves no finite duration above 0.
    """
    factor = positive(factor, "factor")
    with np.errstate(over="ignore", under="ignore"):
        duration_s = float(np.float64(trace.duration_s) / factor)
        if not (duration_s > 0 and math.isfinite(duration_s)):
            raise TraceError(f"found {factor}, which makes a duration of {duration_s} s", field="factor")
        arrival_s = trace.arrival_s / factor
    # a quotient of two neighbouring numbers may round to the same one
    np.minimum(arrival_s, np.nextafter(duration_s, 0.0), out=arrival_s)
    return replace(
        trace,
        arrival_s=arrival_s,
        duration_s=duration_s,
        provenance=trace.provenance_after({"transform": "compress_time", "factor": factor}),
    )


def thin(trace: Trace, fraction: float, *, seed: int) -> Trace:
    """Keep each function with probability `fraction`, by a hash of (seed, name).

    The same functions stay whatever the others are, and with one seed those of a lower fraction are among
    those of a higher one: thinning by 0.5 and then by 0.1 keeps a tenth of all.

    Raises
    ------
    TraceError
        If the fraction is not in (0, 1].
    """
    fraction = number(fraction, "fraction", lambda value: 0 < value <= 1, "a number above 0 and up to 1")
    seed = whole(seed, "seed", 0)
    kept = [position for position, name in enumerate(trace.functions) if lot(seed, "thin", name) < fraction]
    return _of_functions(trace, kept, {"transform": "thin", "fraction": fraction, "seed": seed})


def top(trace: Trace, k: int) -> Trace:
    """Keep the `k` functions with the most requests, in the order of the trace; all if it has no more.

    Of equal counts the first in the trace stays.

    Raises
    ------
    TraceError
        If `k` is not an integer from 1.
    """
    k = whole(k, "k", 1)
    most_first = np.argsort(-trace.counts, kind="stable")
    return _of_functions(trace, np.sort(most_first[:k]), {"transform": "top", "k": k})


def pool(trace: Trace, name: str) -> Trace:
    """Make one function of all, its requests in the order of time, each with its tokens.

    Of equal times the first function's request is first. An attribute keeps its value where all functions
    have the same, and is NaN or "" otherwise.

    Raises
    ------
    TraceError
        If the name is not a text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise TraceError(f"found {shown(name)}, allowed is a name that is not empty", field="name")
    order = np.argsort(trace.arrival_s, kind="stable")
    return Trace(
        functions=(name,),
        offsets=np.array([0, len(trace)]),
        arrival_s=trace.arrival_s[order],
        duration_s=trace.duration_s,
        input_tokens=None if trace.input_tokens is None else trace.input_tokens[order],
        output_tokens=None if trace.output_tokens is None else trace.output_tokens[order],
        attributes={title: _value_of_all(column) for title, column in trace.attributes.items()},
        provenance=trace.provenance_after({"transform": "pool", "name": name}),
    )


def _value_of_all(column: NDArray[Any]) -> NDArray[Any]:
    if column.size and bool((column == column[0]).all()):
        return column[:1]
    return np.array([""] if column.dtype.kind == "U" else [math.nan])


def only(
    trace: Trace, names: str | Sequence[str] | None = None, *, trigger: str | Sequence[str] | None = None
) -> Trace:
    """Keep the functions whose name, and whose trigger, matches a pattern (`*`, `?`, `[...]`; case counts).

    Parameters
    ----------
    names, trigger
        One pattern or several, of which one must match; `None` asks for nothing.

    Raises
    ------
    TraceError
        If nothing is asked for, a pattern matches no function, or the trace knows no triggers.
    """
    if names is None and trigger is None:
        raise TraceError("is missing, allowed are patterns of names, of trigger, or both", field="names")
    if trigger is not None and "trigger" not in trace.attributes:
        raise TraceError(f"found {shown(trigger)}, but the trace knows no triggers", field="trigger")
    kept = np.ones(len(trace.functions), dtype=np.bool_)
    asked: dict[str, object] = {}
    for field, patterns in (("names", names), ("trigger", trigger)):
        if patterns is not None:
            asked[field] = _patterns(patterns, field)
            values = trace.functions if field == "names" else trace.attributes[field].astype(str).tolist()
            kept &= _matches(values, _patterns(patterns, field), field)
    return _of_functions(trace, np.flatnonzero(kept), {"transform": "only", **asked})


def _patterns(found: str | Sequence[str], field: str) -> list[str]:
    patterns = [found] if isinstance(found, str) else found
    is_list = isinstance(patterns, Sequence) and len(patterns) > 0
    if not (is_list and all(isinstance(pattern, str) and pattern for pattern in patterns)):
        raise TraceError(f"found {shown(found)}, allowed is a pattern or a list of patterns", field=field)
    return list(patterns)


def _matches(values: Sequence[str], patterns: Sequence[str], field: str) -> NDArray[np.bool_]:
    """Return bool[F]: where one of the patterns matches."""
    matched = np.zeros(len(values), dtype=np.bool_)
    for pattern in patterns:
        hits = np.fromiter((fnmatchcase(value, pattern) for value in values), np.bool_, len(values))
        if not hits.any():
            raise TraceError(
                f"found {shown(pattern)}, which matches none of {len(values)} functions"
                f"{nearest(pattern, values)}",
                field=field,
            )
        matched |= hits
    return matched


def drop_idle(trace: Trace) -> Trace:
    """Drop the functions without a request."""
    return _of_functions(trace, np.flatnonzero(trace.counts), {"transform": "drop_idle"})


def _of_functions(trace: Trace, positions: Iterable[int], transform: Mapping[str, object]) -> Trace:
    return replace(trace.select(positions), provenance=trace.provenance_after(transform))


_DESCRIBED: tuple[tuple[Callable[..., Trace], str], ...] = (
    (window, "keep what arrives from start_s to end_s (seconds)"),
    (scale_rate, "multiply every function's requests by a factor: thinned below 1, copied above"),
    (compress_time, "divide all times by a factor"),
    (thin, "keep a fraction of the functions, chosen by a hash of their names"),
    (top, "keep the k functions with the most requests"),
    (pool, "make one function of all, with the name given"),
    (only, "keep the functions whose names, or trigger, match a pattern"),
    (drop_idle, "drop the functions without a request (true)"),
)
_FUNCTIONS = {function.__name__: function for function, _ in _DESCRIBED}
TRANSFORMS: Mapping[str, str] = {function.__name__: text for function, text in _DESCRIBED}
"""What `apply_transforms` knows: name and description of each transform."""


def apply_transforms(trace: Trace, steps: Sequence[Mapping[str, object]], *, seed: int) -> Trace:
    """Apply transforms one after the other, as they stand in an experiment file.

    Parameters
    ----------
    steps
        Each a mapping of one name in `TRANSFORMS` to the parameters of that function, or to the value of its
        first where it needs no other: `{"window": {"start_s": 0, "end_s": 3600}}`, `{"scale_rate": 2}`,
        `{"only": {"trigger": "http"}}`, `{"drop_idle": True}`.
    seed
        Of every step that draws.

    Raises
    ------
    TraceError
        If a step is none of these; its field is the place in the steps, such as `0.window.end_s`. Names are
        checked before the first step is done.
    """
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise TraceError(f"found {shown(steps)}, allowed is a list of transforms", field="steps")
    seed = whole(seed, "seed", 0)
    for step in [_Step.read(position, step) for position, step in enumerate(steps)]:
        trace = step.applied(trace, seed)
    return trace


@dataclass(frozen=True, slots=True)
class _Step:
    place: str
    function: Callable[..., Trace]
    arguments: Mapping[str, object]
    is_bare: bool

    @classmethod
    def read(cls, position: int, step: object) -> _Step:
        if not isinstance(step, Mapping) or len(step) != 1:
            raise TraceError(
                f"found {shown(step)}, allowed is a mapping of one transform: {', '.join(TRANSFORMS)}",
                field=str(position),
            )
        name, value = next(iter(step.items()))
        if name not in _FUNCTIONS:
            raise TraceError(
                f"found {shown(name)}, allowed are {', '.join(TRANSFORMS)}{nearest(name, TRANSFORMS)}",
                field=str(position),
            )
        place = f"{position}.{name}"
        parameters = dict(list(signature(_FUNCTIONS[name]).parameters.items())[1:])
        takes = [parameter for parameter in parameters if parameter != "seed"]
        needs = [parameter for parameter in takes if parameters[parameter].default is Parameter.empty]
        if isinstance(value, Mapping):
            _check_keys(value, takes, needs, place)
            return cls(place, _FUNCTIONS[name], value, is_bare=False)
        if not takes and value is not True:
            raise TraceError(f"found {shown(value)}, allowed is true", field=place)
        if len(needs) > 1:
            raise TraceError(f"found {shown(value)}, allowed is a mapping of {', '.join(needs)}", field=place)
        return cls(place, _FUNCTIONS[name], dict.fromkeys(takes[:1], value), is_bare=True)

    def applied(self, trace: Trace, seed: int) -> Trace:
        draws = {"seed": seed} if "seed" in signature(self.function).parameters else {}
        try:
            return self.function(trace, **self.arguments, **draws)
        except TraceError as error:
            field = self.place if self.is_bare else f"{self.place}.{error.field}"
            raise TraceError(str(error.args[0]), field=field) from None


def _check_keys(
    found: Mapping[object, object], allowed: Sequence[str], needed: Sequence[str], place: str
) -> None:
    listed = f"allowed are {', '.join(allowed)}" if allowed else "allowed is true"
    for key in found:
        if key not in allowed:
            raise TraceError(f"found the key {shown(key)}, {listed}{nearest(key, allowed)}", field=place)
    for key in needed:
        if key not in found:
            raise TraceError("is missing", field=f"{place}.{key}")
