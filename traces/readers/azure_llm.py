"""Reader of the Azure LLM inference traces of 2023 and 2024: one request a row, with its tokens.

P. Patel et al., Splitwise: Efficient Generative LLM Inference Using Phase Splitting, ISCA 2024 (2023);
J. Stojkovic et al., DynamoLLM: Designing LLM Inference Clusters for Performance and Energy Efficiency,
HPCA 2025 (2024). Format: `AzureLLMInferenceDataset2023.md` and `AzureLLMInferenceDataset2024.md` of
github.com/Azure/AzurePublicDataset (data under CC BY 4.0).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.readers.source import Progress, identity
from traces.readers.tables import Batch, Table
from traces.trace import Trace

_TIME, _INPUT, _OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
_MOST_TOKENS: Final = 2**31 - 1

_TICKS_A_SECOND: Final = 10**7
_NANOSECONDS_A_TICK: Final = 100
_MOST_TICKS: Final = 2**53  # 28 years; beyond it a float64 does not tell neighbours apart
_UNITS_NS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_YEAR_2000_NS, _YEAR_2100_NS = 946_684_800 * 10**9, 4_102_444_800 * 10**9

_DATE_AND_TIME: Final = r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,7})?"
_ZONE: Final = r"Z|[+-][0-9]{2}:[0-9]{2}|"
_A_TIME: Final = "a time of 2000 to 2099 such as 2023-11-16 18:17:03.9799600"


def read_azure_llm(
    path: Path | str, *, function: str | None = None, progress: Progress | None = None
) -> Trace:
    """Read the requests of one Azure LLM service.

    Time 0 is the first request, and arrivals are exact to the tick of 100 ns that the files have. The window
    ends one tick after the last request. The trace has one function.

    Parameters
    ----------
    path
        CSV or Parquet with the columns `TIMESTAMP` (up to 7 digits of a fraction, with or without a time
        zone), `ContextTokens` and `GeneratedTokens`.
    function
        The name of the function. Without it: `conversation` or `code` if a part of the file's name between
        `_`, `-` and `.` is `conv` or `code`, else the name up to its first dot.
    progress
        Told how much of the file was read.

    Raises
    ------
    TraceError
        If the file cannot be read or has no request; a column is missing; a time is not in the calendar, goes
        back or has another zone than the first; or a number of tokens is not a whole number from 0.
    """
    path = Path(path)
    name = _function_of(path) if function is None else function
    if not name:
        raise TraceError(f"found {shown(name)}, allowed is a name that is not empty", field="function")
    table = Table(path, required=(_TIME, _INPUT, _OUTPUT), progress=progress)
    zone: str | None = None
    start_ns: int | None = None
    latest_ns = 0
    arrival_s: list[NDArray[np.float64]] = []
    input_tokens: list[NDArray[np.int32]] = []
    output_tokens: list[NDArray[np.int32]] = []
    for batch in table.batches((_TIME, _INPUT, _OUTPUT)):
        if zone is None:
            zone = _zone_of_first(batch)
        time_ns = _nanoseconds(batch, zone)
        if start_ns is None:
            start_ns = latest_ns = int(time_ns[0])
        _check_order(batch, time_ns, start_ns, latest_ns)
        latest_ns = int(time_ns[-1])
        arrival_s.append((time_ns - start_ns) // _NANOSECONDS_A_TICK / _TICKS_A_SECOND)
        input_tokens.append(batch.whole_numbers(_INPUT, most=_MOST_TOKENS).astype(np.int32))
        output_tokens.append(batch.whole_numbers(_OUTPUT, most=_MOST_TOKENS).astype(np.int32))
    if start_ns is None:
        raise TraceError("holds a header and no request", path=path)
    return Trace(
        functions=(name,),
        offsets=np.array([0, sum(column.size for column in arrival_s)]),
        arrival_s=np.concatenate(arrival_s),
        duration_s=((latest_ns - start_ns) // _NANOSECONDS_A_TICK + 1) / _TICKS_A_SECOND,
        input_tokens=np.concatenate(input_tokens),
        output_tokens=np.concatenate(output_tokens),
        provenance={
            "source": "Azure LLM inference trace",
            "citation": "Patel et al., Splitwise, ISCA 2024; of 2024: Stojkovic et al., DynamoLLM, HPCA 2025",
            "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
            "files": [identity(path)],
            "starts_at": _shown_time(start_ns) + ("Z" if zone else ""),
            "transforms": [],
        },
    )


def _function_of(path: Path) -> str:
    parts = re.split(r"[-_.]", path.name.lower())
    if "conv" in parts or "conversation" in parts:
        return "conversation"
    if "code" in parts:
        return "code"
    return path.name.split(".")[0] or path.name


def _zone_of_first(batch: Batch) -> str:
    """Return the time zone of a batch's first row as the file has it, "" for none."""
    kind = batch.columns.column(_TIME).type
    if pa.types.is_timestamp(kind):
        return kind.tz or ""
    match = re.fullmatch(f"{_DATE_AND_TIME}({_ZONE})", batch.texts(_TIME)[0].as_py())
    if match is None:
        raise batch.fault(0, _TIME, _A_TIME)
    return match[1]


def _nanoseconds(batch: Batch, zone: str) -> NDArray[np.int64]:
    """Return the times of a batch as int64[N] nanoseconds since 1970, of UTC if there is a zone."""
    if pa.types.is_timestamp(batch.columns.column(_TIME).type):
        return _nanoseconds_of_clock(batch)
    texts = batch.texts(_TIME)
    in_form = pc.match_substring_regex(texts, f"^{_DATE_AND_TIME}{re.escape(zone)}$")
    like_first = f"with the zone {zone} of the first row" if zone else "without a zone, as in the first row"
    if not pc.all(in_form).as_py():
        raise batch.fault(in_form.index(False).as_py(), _TIME, f"{_A_TIME}, {like_first}")
    kind = pa.timestamp("ns", "UTC" if zone else None)
    try:
        return _whole(texts.cast(kind))
    except pa.ArrowInvalid:  # which names the value and not its row
        row = next(row for row in range(len(batch)) if not _casts(texts[row : row + 1], kind))
        raise batch.fault(row, _TIME, f"{_A_TIME} that the calendar has") from None


def _nanoseconds_of_clock(batch: Batch) -> NDArray[np.int64]:
    """Return the times of a Parquet column of times; its zone only says how to show them."""
    column = batch.columns.column(_TIME)
    if column.null_count:
        raise batch.fault(int(np.argmax(column.is_null())), _TIME, _A_TIME)
    unit_ns = _UNITS_NS[column.type.unit]
    since_1970 = _whole(column)
    fits = (since_1970 >= _YEAR_2000_NS // unit_ns) & (since_1970 < _YEAR_2100_NS // unit_ns)
    fits &= since_1970 * unit_ns % _NANOSECONDS_A_TICK == 0
    if not fits.all():
        row = int(np.argmin(fits))
        raise _fault(
            batch, row, f"{since_1970[row]} {column.type.unit} since 1970", "a tick of 100 ns of 2000 to 2099"
        )
    return since_1970 * unit_ns


def _whole(column: pa.Array) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    return values


def _casts(value: pa.Array, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _check_order(batch: Batch, time_ns: NDArray[np.int64], start_ns: int, latest_ns: int) -> None:
    """Refuse times before that of the row above, or too far from the first."""
    wrong = np.diff(time_ns, prepend=latest_ns) < 0
    wrong |= time_ns >= start_ns + _MOST_TICKS * _NANOSECONDS_A_TICK
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _fault(batch, row, _shown_time(time_ns[row]), "a time from the row above on, within 28 years")


def _fault(batch: Batch, row: int, found: str, allowed: str) -> TraceError:
    """Return the error of one time that is no text in the file."""
    return TraceError(
        f"found {found}, allowed is {allowed}", path=batch.path, line=batch.first_line + row, field=_TIME
    )


def _shown_time(time_ns: int | np.int64) -> str:
    return str(np.datetime64(int(time_ns), "ns"))
