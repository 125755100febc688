"""Random streams that depend on nothing but (seed, purpose, name)."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from traces.errors import TraceError, shown


def stream(seed: int, purpose: str, name: str = "") -> np.random.Generator:
    """Return the random stream of one purpose and one name.

    Functions added to or removed from a workload leave the streams of the others as they are. The bit
    generator is named, so that a later default of NumPy changes nothing.

    Raises
    ------
    TraceError
        If `seed` is not an integer from 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise TraceError(f"found {shown(seed)}, allowed are integers from 0", field="seed")
    digest = blake2b(f"{purpose}\0{name}".encode(), digest_size=16).digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), *words])))


def lot(seed: int, purpose: str, name: str) -> float:
    """Return the lot of one name in [0, 1): who is chosen does not depend on who else could be."""
    return float(stream(seed, purpose, name).random())
