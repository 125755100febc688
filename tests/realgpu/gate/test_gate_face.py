from __future__ import annotations

import realgpu.gate


def test_the_face_is_what_it_is() -> None:
    """The exported names are these; a change of them is meant."""
    assert realgpu.gate.__all__ == [
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
    assert all(hasattr(realgpu.gate, name) for name in realgpu.gate.__all__)
