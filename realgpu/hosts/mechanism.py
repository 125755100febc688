"""What a run is called, by what its workers found out: never by what was asked for."""

from __future__ import annotations

from collections.abc import Sequence


def mechanism(clients: Sequence[bool], *, held: bool, gated: bool) -> str:
    """Return the label of a run.

    Parameters
    ----------
    clients
        Of each worker, whether the driver told it that it runs under MPS.
    held
        Gates held launches to quotas.
    gated
        There were gates at all.
    """
    shared = "time slicing"
    if any(clients):
        shared = "mps" if all(clients) else "partly mps"
    if held:
        return f"{shared}+gate"
    return shared if gated else f"{shared}, ungated"
