"""What an interference model is asked: the loads on a GPU, and the one question about them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from profiles.errors import ProfileError
from profiles.surface import check_share

Entry = TypeVar("Entry")


class Load(NamedTuple):
    """What runs on a GPU: a model, the requests in its batch, and its share of the SMs in (0, 1]."""

    model: str
    batch: int
    share: float


class InterferenceModel(Protocol):
    """Says what neighbours cost; frozen, hashable, and pure: the same loads give the same factor."""

    def factor(self, me: Load, others: Sequence[Load]) -> float:
        """Return by how much an iteration of `me` takes longer beside those active others: at least 1.

        Models that are unknown neither suffer nor cause anything. The order of `others` does not matter.

        Raises
        ------
        ProfileError
            If a load that counts has a batch below 1 or a share that is not in (0, 1].
        """
        ...


StandIns = tuple[tuple[str, str], ...]
"""Pairs (model, the one whose numbers it borrows)."""


def check_load(batch: int, share: float) -> None:
    """Raise `ProfileError` unless `batch >= 1` and `share` is in (0, 1]."""
    if batch < 1:
        raise ProfileError(f"batch: found {batch}, allowed are integers from 1")
    check_share(share)


def borrowed(stand_ins: StandIns, own: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries of the models that borrow one.

    Raises
    ------
    ProfileError
        If a stand-in has no entry of its own; the message names the nearest that has.
    """
    for model, stand_in in stand_ins:
        if stand_in not in own:
            raise ProfileError(f"stand_ins: {model}: found {stand_in!r}, {nearest(stand_in, own)}")
    return {model: own[stand_in] for model, stand_in in stand_ins}


def nearest(found: str, allowed: Iterable[str]) -> str:
    """Say which allowed name is nearest, for an error."""
    names = list(allowed)
    matches = difflib.get_close_matches(found, names, n=1, cutoff=0.0)
    return f"nearest is {matches[0]!r} (allowed are {', '.join(names)})" if matches else "there is none"
