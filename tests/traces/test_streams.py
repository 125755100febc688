from __future__ import annotations

import os
import subprocess
import sys

import pytest

from traces import TraceError
from traces.streams import lot, stream


def test_a_stream_is_the_same_again_and_differs_from_every_other() -> None:
    """Seed, purpose and name alone decide a stream; two names cannot run together into one."""
    keys = [(1, "a", "b"), (2, "a", "b"), (1, "b", "b"), (1, "a", "c"), (1, "ab", ""), (1, "", "ab")]
    draws = [stream(*key).integers(0, 2**62) for key in keys]
    assert draws == [stream(*key).integers(0, 2**62) for key in keys]
    assert len(set(draws)) == len(keys)


def test_a_stream_does_not_depend_on_the_hash_seed() -> None:
    """Another process with another PYTHONHASHSEED draws the same numbers."""
    code = "from traces.streams import lot, stream; print(stream(3, 'poisson', 'f').integers(0, 2**62))"
    drawn = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert drawn[0] == drawn[1] == f"{stream(3, 'poisson', 'f').integers(0, 2**62)}\n"


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", None])
def test_a_seed_is_an_integer_from_0(seed: object) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(TraceError, match="seed: found"):
        stream(seed, "a")  # type: ignore[arg-type]


def test_a_lot_is_drawn_for_each_name_alone() -> None:
    """It is the same whatever others are drawn, and lies evenly in [0, 1)."""
    lots = [lot(1, "thin", f"f{index}") for index in range(2000)]
    assert lots == [lot(1, "thin", f"f{index}") for index in range(2000)]
    assert lots != [lot(2, "thin", f"f{index}") for index in range(2000)]
    assert all(0 <= one < 1 for one in lots)
    assert abs(sum(one < 0.25 for one in lots) / 2000 - 0.25) < 0.04  # four standard deviations
