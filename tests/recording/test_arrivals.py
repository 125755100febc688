from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recording import Arrivals, RecordingError, write_arrivals
from recording.arrivals import read_arrivals
from recording.schema import ARRIVALS

TIMES = st.lists(st.floats(0.0, 1e6), max_size=20).map(
    lambda times: np.sort(np.array(times, dtype=np.float64))
)


@given(st.lists(st.tuples(TIMES, st.booleans()), max_size=6))
def test_arrivals_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, functions: list[tuple[np.ndarray, bool]]
) -> None:
    """Arrivals read back are those written: functions without requests and without tokens included."""
    tokens = [np.arange(1, len(times) + 1, dtype=np.int32) if own else None for times, own in functions]
    arrivals = Arrivals.from_functions([times for times, _ in functions], tokens)
    path = tmp_path_factory.mktemp("arrivals") / "arrivals.parquet"
    write_arrivals(path, arrivals)
    back = read_arrivals(path, len(functions))
    np.testing.assert_array_equal(back.offsets, arrivals.offsets)
    np.testing.assert_array_equal(back.arrival_s, arrivals.arrival_s)
    if back.output_tokens is None:
        assert arrivals.output_tokens is None or not arrivals.output_tokens.any()
    else:
        np.testing.assert_array_equal(back.output_tokens, arrivals.output_tokens)


def test_ungrouped_arrivals_are_refused(tmp_path: Path) -> None:
    """A file whose functions are not grouped, or more than the manifest has, is refused."""
    path = tmp_path / "arrivals.parquet"
    columns = [pa.array([1, 0], pa.int32()), pa.array([0.0, 1.0]), pa.nulls(2, pa.int32())]
    pq.write_table(pa.Table.from_arrays(columns, schema=ARRIVALS.arrow), path)
    with pytest.raises(RecordingError, match="not grouped in the order of the manifest's 2 functions"):
        read_arrivals(path, 2)
    with pytest.raises(RecordingError, match=r"nowhere\.parquet: not found"):
        read_arrivals(tmp_path / "nowhere.parquet", 2)
