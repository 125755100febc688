"""What could not be measured, and why: a calibration writes it down and goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from realgpu.errors import RealGpuError

FailureKind = Literal["oom", "hung", "crashed", "refused"]
"""Out of memory; no answer in time; ended, or said that it cannot go on; the host would not have it."""

_SHORTAGE = "out of memory"


class WorkError(RealGpuError):
    """A worker did not do what it was to do; `kind` says how."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind

    @classmethod
    def said(cls, reason: str) -> WorkError:
        """Return that of a worker which said why it ends."""
        return cls("oom" if _SHORTAGE in reason else "crashed", reason)


@dataclass(frozen=True, slots=True)
class Failure:
    """A measurement that failed.

    Raises
    ------
    RealGpuError
        If its kind is none.
    """

    model: str
    job: str
    batch: int
    share: float
    kind: FailureKind
    reason: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(FailureKind):
            raise RealGpuError(
                f"failure: kind: found {self.kind!r}, allowed are {', '.join(get_args(FailureKind))}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return asdict(self)
