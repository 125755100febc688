"""Reader of the Azure Functions Invocation Trace 2021: one invocation a row, with its end and its duration.

Y. Zhang et al., Faster and Cheaper Serverless Computing on Harvested Resources, SOSP 2021. Format:
`AzureFunctionsInvocationTrace2021.md` of github.com/Azure/AzurePublicDataset (data under CC BY 4.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traces.errors import TraceError
from traces.processes import MICROSECONDS, seconds
from traces.readers.source import Progress, identity
from traces.readers.tables import Batch, Table
from traces.trace import Trace

_APP, _FUNCTION, _END, _DURATION = "app", "func", "end_timestamp", "duration"
_MOST_S: Final = 2.0**32  # 136 years; whole microseconds between two such times are exact in a float64


def read_azure_functions_2021(path: Path | str, *, progress: Progress | None = None) -> Trace:
    """Read the invocations of a fortnight, each function under the name `app/func`.

    An invocation arrives `duration` before its end, rounded to the microsecond; the file has durations in
    milliseconds. Time 0 is the earliest arrival, and the window ends one microsecond after the latest. Rows
    may stand in any order; functions are in that of their first rows. The attribute `execution_s` is each
    function's mean duration: a trace has no column for the duration of a single invocation.

    Parameters
    ----------
    path
        CSV or Parquet with the columns `app`, `func`, `end_timestamp` and `duration`, in seconds.
    progress
        Told how much of the file was read.

    Raises
    ------
    TraceError
        If the file cannot be read or has no invocation; a column is missing; an id is empty or holds a slash
        or a blank; or a time is not a finite number from 0.
    """
    path = Path(path)
    table = Table(path, required=(_APP, _FUNCTION, _END, _DURATION), progress=progress)
    start_us: list[NDArray[np.int64]] = []
    duration_s: list[NDArray[np.float64]] = []
    functions: list[pa.DictionaryArray] = []
    for batch in table.batches((_APP, _FUNCTION, _END, _DURATION)):
        duration_s.append(batch.numbers(_DURATION, most=_MOST_S))
        start_s = batch.numbers(_END, most=_MOST_S) - duration_s[-1]
        start_us.append(np.rint(start_s * MICROSECONDS).astype(np.int64))
        ids = [_ids(batch, field) for field in (_APP, _FUNCTION)]
        functions.append(pc.binary_join_element_wise(*ids, "/").dictionary_encode())
    if not start_us:
        raise TraceError("holds a header and no invocation", path=path)
    function = pa.concat_arrays(functions)
    owner: NDArray[np.int32] = function.indices.to_numpy()
    arrival_us = np.concatenate(start_us)
    first_us = int(arrival_us.min())
    arrival_us -= first_us
    order = np.argsort(arrival_us, kind="stable")
    return Trace.from_columns(
        seconds(arrival_us[order]),
        owner[order],
        function.dictionary.to_pylist(),
        duration_s=(int(arrival_us.max()) + 1) / MICROSECONDS,
        attributes={"execution_s": np.bincount(owner, np.concatenate(duration_s)) / np.bincount(owner)},
        provenance={
            "source": "Azure Functions Invocation Trace 2021",
            "citation": "Zhang et al., Faster and Cheaper Serverless Computing, SOSP 2021",
            "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
            "files": [identity(path)],
            "starts_at_s": first_us / MICROSECONDS,
            "transforms": [],
        },
    )


def _ids(batch: Batch, field: str) -> pa.Array:
    ids = batch.texts(field)
    is_id = pc.match_substring_regex(ids, r"^[^/\s]+$").to_numpy(zero_copy_only=False)
    if not is_id.all():
        raise batch.fault(int(np.argmin(is_id)), field, "an id without slashes and blanks")
    return ids
