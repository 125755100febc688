from __future__ import annotations

import pickle
from pathlib import Path

from traces import TraceError
from traces.errors import shown


def test_a_fault_is_named_by_file_line_and_field() -> None:
    """The message holds where the fault stands, on one line."""
    error = TraceError("found 'x',\nallowed is 1", path=Path("a.csv"), line=3, field="gpus")
    assert str(error) == "a.csv: line 3: gpus: found 'x', allowed is 1"
    assert str(TraceError("is empty", path="a.csv")) == "a.csv: is empty"
    assert (error.path, error.line, error.field) == (Path("a.csv"), 3, "gpus")


def test_a_fault_survives_pickling() -> None:
    """An error raised in a worker process says the same in its parent."""
    error = TraceError("is empty", path=Path("a.csv"), line=3, field="gpus")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_long_value_is_cut() -> None:
    """A message does not repeat a whole file."""
    assert len(shown("x" * 10_000)) == 60
