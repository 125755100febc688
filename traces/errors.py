"""What this package raises for bad input."""

from __future__ import annotations

from pathlib import Path

_LONGEST_SHOWN = 60


class TraceError(ValueError):
    """Bad input in one line: where it stands, what was found, what is allowed.

    Attributes
    ----------
    path
        The file that holds the fault, `None` where there is no file.
    line
        Its line, counted from 1, the header included.
    field
        The column or parameter.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.field = field

    def __str__(self) -> str:
        parts = [] if self.path is None else [str(self.path)]
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.field is not None:
            parts.append(self.field)
        return " ".join(": ".join([*parts, str(self.args[0])]).splitlines())


def shown(found: object) -> str:
    """Return a found value as it stands in a message: quoted, on one line, cut if it is long."""
    text = repr(found)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
