"""The one error of the gate: something that keeps launches from being gated, and the mend."""

from __future__ import annotations


class GateError(RuntimeError):
    """The gate cannot be built, created or attached; the message is one line and says what to do."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())
