"""Reader of BurstGPT: the requests of a campus to ChatGPT and GPT-4, one a row, with their tokens.

Y. Wang et al., BurstGPT: A Real-world Workload Dataset to Optimize LLM Serving Systems, KDD 2025. Format:
`README.md` of github.com/HPMLL/BurstGPT (data under CC BY 4.0). `BurstGPT_3` has two more columns, `Session
ID` and `Elapsed time`, between the others: columns are found by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traces.columns import offsets_of
from traces.errors import TraceError, shown
from traces.processes import MICROSECONDS, seconds
from traces.readers.source import Progress, identity
from traces.readers.tables import Batch, Table
from traces.streams import stream
from traces.trace import Trace

FailedRequests = Literal["drop", "keep"]
Start = Literal["first", "midnight"]
SecondSpread = Literal["keep", "uniform"]

_TIME, _MODEL, _LOG = "Timestamp", "Model", "Log Type"
_INPUT, _OUTPUT, _TOTAL = "Request tokens", "Response tokens", "Total tokens"
_LOG_TYPES: Final = {"Conversation log": "conversation", "API log": "api"}

_TICK_US: Final = MICROSECONDS  # the clock of the file counts whole seconds
_DAY_US: Final = 86_400 * MICROSECONDS
_LATEST_S: Final = 2.0**33  # 272 years; in microseconds a float64 still holds it exactly
_MOST_TOKENS: Final = 2**31 - 1


def read_burstgpt(
    path: Path | str,
    *,
    failed: FailedRequests = "drop",
    start: Start = "first",
    spread: SecondSpread = "keep",
    seed: int = 0,
    progress: Progress | None = None,
) -> Trace:
    """Read the requests to each model, by chat and by API.

    Functions are the pairs of model and way of calling that occur, such as `ChatGPT conversation` or `GPT-4
    api`, in the order of the file. The window ends one second, the tick of the file's clock, after the last
    row. It is that of all rows, failed ones too: dropping requests moves none of the others. Sessions and
    elapsed times are not kept.

    Parameters
    ----------
    path
        CSV or Parquet, with or without the columns of `BurstGPT_3`.
    failed
        Requests that failed have no response tokens. `drop`: they are left out and counted in the provenance.
        `keep`: they arrive like the others, with 0 output tokens.
    start
        Time 0. `first`: the first row. `midnight`: the midnight before it, local to the users, so that the
        hours of the trace are those of the day.
    spread
        Timestamps are whole seconds. `keep`: requests of one second arrive together. `uniform`: each
        function's requests lie independent and uniform in their second, in the order of the file.
    seed
        Of `spread="uniform"`; each function has its own stream.
    progress
        Told how much of the file was read.

    Raises
    ------
    TraceError
        If the file cannot be read or has no request left; a column is missing; times go back; a number is
        not one from 0; the total is not the sum of the tokens; or a log type is unknown.
    """
    for field, value, choice in (
        ("failed", failed, FailedRequests),
        ("start", start, Start),
        ("spread", spread, SecondSpread),
    ):
        if value not in get_args(choice):
            raise TraceError(f"found {shown(value)}, allowed are {', '.join(get_args(choice))}", field=field)
    path = Path(path)
    rows = _read_rows(path, progress)
    has_failed = rows.output_tokens == 0
    kept = ~has_failed if failed == "drop" else np.ones_like(has_failed)
    if not kept.any():
        raise TraceError("holds failed requests alone, which failed='drop' leaves out", path=path)
    start_us = int(rows.time_us[0])
    if start == "midnight":
        start_us -= start_us % _DAY_US
    order = np.flatnonzero(kept)[np.argsort(rows.function[kept], kind="stable")]
    offsets = offsets_of(np.bincount(rows.function[kept], minlength=len(rows.names)))
    time_us = rows.time_us[order] - start_us
    if spread == "uniform":
        for position, name in enumerate(rows.names):
            own = time_us[offsets[position] : offsets[position + 1]]
            own += stream(seed, "burstgpt", name).integers(0, _TICK_US, own.size)
            own.sort()
    return Trace(
        functions=rows.names,
        offsets=offsets,
        arrival_s=seconds(time_us),
        duration_s=(int(rows.time_us[-1]) - start_us + _TICK_US) / MICROSECONDS,
        input_tokens=rows.input_tokens[order],
        output_tokens=rows.output_tokens[order],
        provenance={
            "source": "BurstGPT",
            "citation": "Wang et al., BurstGPT, KDD 2025",
            "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
            "files": [identity(path)],
            "starts_at_s": start_us / MICROSECONDS,
            "failed_requests": int(has_failed.sum()),
            "transforms": ([{"transform": "drop failed requests"}] if failed == "drop" else [])
            + (
                [{"transform": "spread within the second", "spread": spread, "seed": int(seed)}]
                if spread == "uniform"
                else []
            ),
        },
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a file in its order; `function` holds positions in `names`."""

    time_us: NDArray[np.int64]
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    function: NDArray[np.int32]
    names: tuple[str, ...]


def _read_rows(path: Path, progress: Progress | None) -> _Rows:
    table = Table(path, required=(_TIME, _MODEL, _INPUT, _OUTPUT, _LOG), progress=progress)
    wanted = [name for name in (_TIME, _MODEL, _INPUT, _OUTPUT, _TOTAL, _LOG) if name in table.columns]
    time_us: list[NDArray[np.int64]] = []
    input_tokens: list[NDArray[np.int32]] = []
    output_tokens: list[NDArray[np.int32]] = []
    functions: list[pa.DictionaryArray] = []
    for batch in table.batches(wanted):
        time_us.append(_times(batch, latest_us=int(time_us[-1][-1]) if time_us else 0))
        input_tokens.append(batch.whole_numbers(_INPUT, most=_MOST_TOKENS).astype(np.int32))
        output_tokens.append(batch.whole_numbers(_OUTPUT, most=_MOST_TOKENS).astype(np.int32))
        functions.append(_functions(batch).dictionary_encode())
        if _TOTAL in wanted:
            _check_total(batch, input_tokens[-1], output_tokens[-1])
    if not time_us:
        raise TraceError("holds a header and no request", path=path)
    function = pa.concat_arrays(functions)
    return _Rows(
        np.concatenate(time_us),
        np.concatenate(input_tokens),
        np.concatenate(output_tokens),
        function.indices.to_numpy(),
        tuple(function.dictionary.to_pylist()),
    )


def _times(batch: Batch, *, latest_us: int) -> NDArray[np.int64]:
    time_us = np.rint(batch.numbers(_TIME, most=_LATEST_S) * MICROSECONDS).astype(np.int64)
    _refuse(batch, np.diff(time_us, prepend=latest_us) < 0, _TIME, "a time from the row above on")
    return time_us


def _functions(batch: Batch) -> pa.Array:
    """Return the name of each row's function."""
    model = batch.texts(_MODEL)
    _refuse(batch, ~_flags(pc.match_substring_regex(model, r"^\S(.*\S)?$")), _MODEL, "the name of a model")
    log_type = pc.index_in(batch.texts(_LOG), value_set=pa.array(list(_LOG_TYPES)))
    _refuse(batch, _flags(log_type.is_null()), _LOG, " or ".join(_LOG_TYPES))
    return pc.binary_join_element_wise(model, pa.array(list(_LOG_TYPES.values())).take(log_type), " ")


def _check_total(batch: Batch, input_tokens: NDArray[np.int32], output_tokens: NDArray[np.int32]) -> None:
    total = input_tokens.astype(np.int64) + output_tokens
    wrong = batch.whole_numbers(_TOTAL) != total
    _refuse(batch, wrong, _TOTAL, f"the sum of request and response tokens ({total[np.argmax(wrong)]})")


def _refuse(batch: Batch, fault: NDArray[np.bool_], field: str, allowed: str) -> None:
    if fault.any():
        raise batch.fault(int(np.argmax(fault)), field, allowed)


def _flags(column: pa.Array) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
    return flags
