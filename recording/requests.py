"""From batches back to requests: what happened to each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recording.arrivals import Arrivals
from recording.schema import DROPPED, RecordingError


@dataclass(frozen=True, slots=True)
class Requests:
    """Columns of all requests, in the order of `arrivals`; 25 bytes a request with the arrival itself.

    Attributes
    ----------
    start_s, end_s
        When the batch of the request began and ended; of a dropped request both are when it was dropped,
        of an unfinished one NaN.
    dropped
        Whether it was dropped.
    batches
        int64, one a function: the batches that served its requests.
    """

    arrivals: Arrivals
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    dropped: NDArray[np.bool_]
    batches: NDArray[np.int64]

    def completed(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Which requests were served to their end."""
        return ~(np.isnan(self.end_s[rows]) | self.dropped[rows])


def requests_of_batches(rows: NDArray[np.void], arrivals: Arrivals) -> NDArray[np.int64]:
    """Find the requests of some rows of `batches`: their indices in `arrivals`, row after row.

    Raises
    ------
    RecordingError
        If a row names a request that never arrived.
    """
    function, count = rows["function"], rows["count"].astype(np.int64)
    functions = len(arrivals.offsets) - 1
    if np.any((function < 0) | (function >= functions)):
        raise RecordingError(
            f"batches: function: found an index outside the manifest's {functions} functions"
        )
    first = arrivals.offsets[function] + rows["first"]
    wrong = (rows["first"] < 0) | (count < 1) | (first + count > arrivals.offsets[function + 1])
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise RecordingError(
            f"batches: requests {rows['first'][row]} + {count[row]} of function {function[row]} never arrived"
        )
    # Positions 0, 1, 2 ... of all requests of all rows, moved to where each row's first request stands.
    before = np.cumsum(count) - count
    moved: NDArray[np.int64] = np.arange(int(count.sum()), dtype=np.int64) + np.repeat(first - before, count)
    return moved


def requests(chunks: Iterable[NDArray[np.void]], arrivals: Arrivals) -> Requests:
    """Spread `batches` (pieces of `BATCH_DTYPE` rows) over the requests they served.

    Raises
    ------
    RecordingError
        If a batch holds a request that never arrived, or that another batch served already.
    """
    start_s = np.full(len(arrivals), np.nan)
    end_s = np.full(len(arrivals), np.nan)
    dropped = np.zeros(len(arrivals), np.bool_)
    batches = np.zeros(len(arrivals.offsets) - 1, np.int64)
    served = 0
    for rows in chunks:
        index = requests_of_batches(rows, arrivals)
        batches += np.bincount(rows["function"][rows["instance"] != DROPPED], minlength=len(batches))
        served += len(index)
        start_s[index] = np.repeat(rows["start_s"], rows["count"])
        end_s[index] = np.repeat(rows["end_s"], rows["count"])
        dropped[index] = np.repeat(rows["instance"] == DROPPED, rows["count"])
    if np.count_nonzero(~np.isnan(end_s)) != served:
        raise RecordingError("batches: a request stands in two rows")
    return Requests(arrivals, start_s, end_s, dropped, batches)
