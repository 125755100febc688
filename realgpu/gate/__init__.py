"""The launch gate: kernel launches of a process are charged to a token bucket in shared memory."""

from realgpu.gate.build import build_gate, gate_environment
from realgpu.gate.charge import Gate, NativeGate, PythonGate, save_times
from realgpu.gate.errors import GateError
from realgpu.gate.layout import CostModel, GateState, Mode
from realgpu.gate.shared import GateFile, Slot, remove_stale

__all__ = [
    "CostModel",
    "Gate",
    "GateError",
    "GateFile",
    "GateState",
    "Mode",
    "NativeGate",
    "PythonGate",
    "Slot",
    "build_gate",
    "gate_environment",
    "remove_stale",
    "save_times",
]
