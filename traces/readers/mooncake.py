"""Reader of the Mooncake traces: one request of Kimi a line, in JSON.

R. Qin et al., Mooncake: Trading More Storage for Less Computation, a KVCache-centric Architecture for Serving
LLM Chatbot, FAST 2025. Format: `FAST25-release/traces` of github.com/kvcache-ai/Mooncake (Apache-2.0).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.processes import MICROSECONDS, seconds
from traces.readers.source import Progress, blocks, identity
from traces.streams import stream
from traces.trace import Trace

Ticks = Literal["spread", "keep"]

BLOCK_TOKENS: Final = 512
"""Tokens of a prefix block, each of which has an id (published, with the traces)."""

_FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
_MOST = {"timestamp": 10**15, "input_length": 2**31 - 1, "output_length": 2**31 - 1}
_MILLISECOND_US = 1000  # the unit of the file


def read_mooncake(
    path: Path | str,
    *,
    ticks: Ticks = "spread",
    function: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trace:
    """Read the requests of one Mooncake trace, all of one function.

    Time 0 is the first time stamp; the trace ends one tick of its clock after the last one. A tick is the
    shortest distance between two different stamps: 3 s in the conversation trace (2.997 s at its shortest),
    1 ms in the synthetic one, and 1 ms where all stamps are one. The ids of prefix blocks are checked and
    left out.

    Parameters
    ----------
    path
        JSON lines with `timestamp` (ms), `input_length` and `output_length` (tokens) and `hash_ids` (one for
        each `BLOCK_TOKENS` of input begun), ascending in time; plain, gzip or zstd.
    ticks
        Where requests with one time stamp lie. `spread`: independent and uniform from their stamp to the next
        tick, in the order of the file, which is a Poisson process given the count of the tick. The stamps
        alone are batches of some ten requests in the conversation trace. `keep`: at their stamp.
    function
        The name of the function. Without it: the file's name up to its first dot, without `_trace`.
    seed
        Of `ticks="spread"`; the stream is that of (seed, "mooncake", function).
    progress
        Told how many bytes are read.

    Raises
    ------
    TraceError
        If the file cannot be read; a line is no object with these four keys and no other; a value is not a
        whole number in range; there are more or fewer ids than the input has blocks; or time goes back.
    """
    if ticks not in get_args(Ticks):
        raise TraceError(f"found {shown(ticks)}, allowed are {', '.join(get_args(Ticks))}", field="ticks")
    path = Path(path)
    name = path.name.split(".")[0].removesuffix("_trace") if function is None else function
    stamp_ms, input_tokens, output_tokens, prefix_blocks = _read_requests(path, progress)
    first_ms = int(stamp_ms[0])
    stamp_us = (stamp_ms - first_ms) * _MILLISECOND_US
    tick_us = _tick(stamp_us)
    time_us = stamp_us
    if ticks == "spread":
        time_us = _spread(stamp_us, tick_us, stream(seed, "mooncake", name))
    return Trace(
        functions=(name,),
        offsets=np.array([0, time_us.size]),
        arrival_s=seconds(time_us),
        duration_s=float(stamp_us[-1] + tick_us) / MICROSECONDS,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        provenance={
            "source": "Mooncake trace",
            "citation": "Qin et al., Mooncake, FAST 2025",
            "licence": "Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0",
            "files": [identity(path)],
            "starts_at_ms": first_ms,
            "tick_s": tick_us / MICROSECONDS,
            "left_out": f"hash_ids, the ids of {prefix_blocks} prefix blocks",
            "transforms": [{"transform": "spread within the tick", "seed": int(seed)}] * (ticks == "spread"),
        },
    )


def _read_requests(
    path: Path, progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], int]:
    """Return time stamps (ms), input and output tokens, and the number of prefix blocks."""
    stamps, inputs, outputs = array("q"), array("i"), array("i")
    prefix_blocks = 0
    for line, row in _rows(path, progress):
        for field, most in _MOST.items():
            if type(row[field]) is not int or not 0 <= row[field] <= most:
                raise _fault(path, line, field, row[field], f"a whole number from 0 to {most}")
        _check_ids(row["hash_ids"], row["input_length"], path, line)
        if stamps and row["timestamp"] < stamps[-1]:
            raise _fault(path, line, "timestamp", row["timestamp"], f"{stamps[-1]} or later")
        stamps.append(row["timestamp"])
        inputs.append(row["input_length"])
        outputs.append(row["output_length"])
        prefix_blocks += len(row["hash_ids"])
    return (
        np.frombuffer(stamps, dtype=np.int64),
        np.array(inputs, dtype=np.int32),
        np.array(outputs, dtype=np.int32),
        prefix_blocks,
    )


def _rows(path: Path, progress: Progress | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return each line's number and its four values by name."""
    decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_no_number)
    empty_line = 0
    for block in blocks(path, progress=progress):
        lines = block.data.decode().removesuffix("\n").split("\n")
        for line, text in enumerate(lines, start=block.first_line):
            if not text.strip():
                empty_line = empty_line or line
                continue
            if empty_line:
                raise TraceError("found an empty line before the end", path=path, line=empty_line)
            yield line, _row(decoder, text, path, line)


def _row(decoder: json.JSONDecoder, text: str, path: Path, line: int) -> dict[str, Any]:
    # objects come as tuples of their pairs, which no other value does, so that a key given twice is seen
    try:
        pairs = decoder.decode(text)
    except (ValueError, RecursionError):
        pairs = None
    if type(pairs) is not tuple:
        raise _fault(path, line, None, text, f"a JSON object with {', '.join(_FIELDS)}")
    row = dict(pairs)
    if len(pairs) != len(_FIELDS) or row.keys() != set(_FIELDS):
        found = ", ".join(shown(key) for key, _ in pairs[: 2 * len(_FIELDS)]) or "none"
        raise TraceError(
            f"found the keys {found}; allowed is each of {', '.join(_FIELDS)} once", path=path, line=line
        )
    return row


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _check_ids(ids: object, input_tokens: int, path: Path, line: int) -> None:
    allowed = "a list of whole numbers from 0"
    if type(ids) is not list:
        raise _fault(path, line, "hash_ids", ids, allowed)
    if ids and (set(map(type, ids)) != {int} or min(ids) < 0):
        wrong = next(value for value in ids if type(value) is not int or value < 0)
        raise _fault(path, line, "hash_ids", wrong, allowed)
    blocks_of_input = -(-input_tokens // BLOCK_TOKENS)
    if len(ids) != blocks_of_input:
        raise TraceError(
            f"found {len(ids)} ids, allowed are the {blocks_of_input} of an input of {input_tokens} tokens",
            path=path,
            line=line,
            field="hash_ids",
        )


def _fault(path: Path, line: int, field: str | None, found: object, allowed: str) -> TraceError:
    found = shown(found) if not isinstance(found, list | tuple) else "a list or an object"
    return TraceError(f"found {found}, allowed is {allowed}", path=path, line=line, field=field)


def _tick(stamp_us: NDArray[np.int64]) -> int:
    """Return the shortest distance between two different stamps."""
    gaps_us = np.diff(np.unique(stamp_us))
    return int(gaps_us.min()) if gaps_us.size else _MILLISECOND_US


def _spread(stamp_us: NDArray[np.int64], tick_us: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Move each request to a place of its own between its stamp and the next tick."""
    stamps_us, group = np.unique(stamp_us, return_inverse=True)
    to_next_us = np.diff(stamps_us, append=stamp_us[-1] + tick_us)
    # a clock's ticks are not quite equal; two of them are not one
    width_us = np.where(to_next_us < 2 * tick_us, to_next_us, tick_us)
    # groups stay apart and their members are alike, so sorting keeps the order of the file
    return np.sort(stamp_us + rng.integers(0, width_us[group]))
