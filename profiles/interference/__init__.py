"""How much longer an iteration takes beside others on the same GPU: cache, bandwidth, scheduling, power.

What the SM share costs is the profile's latency surface; a factor here comes on top of it. The formulas and
the origin of all numbers are in docs/interference.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from profiles.errors import ProfileError
from profiles.interference.gpulet import (
    ASSUMED_DECODING_ORIGIN,
    GPULET_2080TI,
    GPULET_3080,
    GPULET_ORIGIN,
    GPULET_STAND_INS_ORIGIN,
    GpuletCoefficients,
    GpuletInterference,
    Utilisation,
)
from profiles.interference.igniter import (
    IGNITER_STAND_INS_ORIGIN,
    IGNITER_V100,
    IGNITER_V100_ORIGIN,
    IgniterCoefficients,
    IgniterInterference,
)
from profiles.interference.load import InterferenceModel, Load, nearest
from profiles.provenance import Provenance

__all__ = [
    "GPULET_2080TI",
    "GPULET_3080",
    "IGNITER_V100",
    "INTERFERENCE_ORIGINS",
    "GpuletCoefficients",
    "GpuletInterference",
    "IgniterCoefficients",
    "IgniterInterference",
    "InterferenceModel",
    "Load",
    "Utilisation",
    "find_interference",
]

_NAMED: Final[dict[str, InterferenceModel]] = {
    "igniter": IgniterInterference(),
    "gpulet-2080ti": GPULET_2080TI,
    "gpulet-3080": GPULET_3080,
}

_GPULET_ORIGINS: Final = {
    "coefficients": GPULET_ORIGIN,
    "utilisations": GPULET_ORIGIN,
    "utilisations.decoding": ASSUMED_DECODING_ORIGIN,
    "stand_ins": GPULET_STAND_INS_ORIGIN,
}
INTERFERENCE_ORIGINS: Final[Mapping[str, Mapping[str, Provenance]]] = {
    "igniter": {"models": IGNITER_V100_ORIGIN, "stand_ins": IGNITER_STAND_INS_ORIGIN},
    "gpulet-2080ti": _GPULET_ORIGINS,
    "gpulet-3080": _GPULET_ORIGINS,
}
"""Where the numbers of the shipped models come from, by name and field."""


def find_interference(name: str) -> InterferenceModel:
    """Return a shipped model: `igniter`, `gpulet-2080ti` or `gpulet-3080`.

    Raises
    ------
    ProfileError
        If there is none of this name; the message says which is nearest.
    """
    if name not in _NAMED:
        raise ProfileError(f"interference: found {name!r}, {nearest(name, _NAMED)}")
    return _NAMED[name]
