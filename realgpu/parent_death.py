"""Ending with one's parent, on Linux."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def signal_at_parent_death(number: int, parent: int) -> bool:
    """Have the kernel send this process a signal when its parent ends.

    Parameters
    ----------
    number
        The signal.
    parent
        Process id of the parent, as the parent knows it.

    Returns
    -------
    bool
        Whether the parent still lives; if it does not, no signal will come.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    return os.getppid() == parent
