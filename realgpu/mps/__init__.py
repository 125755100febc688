"""NVIDIA MPS: a daemon of one's own, supervised, and the evidence that a process runs under it."""

from realgpu.mps.capability import MpsCapability, probe
from realgpu.mps.control import MpsClient, MpsControl, MpsError
from realgpu.mps.evidence import MpsEvidence, collect
from realgpu.mps.supervisor import MpsState, MpsSupervisor, MpsTimeouts, Recovery

__all__ = [
    "MpsCapability",
    "MpsClient",
    "MpsControl",
    "MpsError",
    "MpsEvidence",
    "MpsState",
    "MpsSupervisor",
    "MpsTimeouts",
    "Recovery",
    "collect",
    "probe",
]
