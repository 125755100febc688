"""How long checks measure, and with what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """What checks are told; a run of less than these lengths is for trying the checks themselves out.

    Attributes
    ----------
    use_torch
        Measure with torch as well, where it is there; the driver alone shows most.
    measure_s
        One rate is measured over so long.
    busy_s
        Throughput under the gate is measured over so long, and power over four times as long.
    small_launches
        Launches of one block for the cost of a launch, in each of `rounds` rounds.
    cold_start_models, cold_start_repeats
        Models whose start-up is taken apart, and how often each is started; a big one once.
    most_weights_bytes
        Weights beyond so many are not copied: what they take follows from the rate.
    launch_models
        Models whose launches are counted; `None`: all of the catalog's.
    scale
        Of models: `full`, or `small` stand-ins.
    disk_folder
        Where a file of weights is read from disk; by default that for temporary files.
    search_s
        The root file system is searched for the binaries of MPS for so long.
    """

    use_torch: bool = True
    measure_s: float = 0.08
    busy_s: float = 1.0
    small_launches: int = 20_000
    rounds: int = 5
    cold_start_models: tuple[str, ...] = ("bert-base", "llama2-7b")
    cold_start_repeats: int = 3
    most_weights_bytes: int = 4 * 2**30
    launch_models: tuple[str, ...] | None = None
    scale: str = "full"
    disk_folder: str | None = None
    search_s: float = 6.0

    def as_json(self) -> dict[str, Any]:
        """Return the settings for a file or a command line."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Settings:
        """Return the settings that `as_json` made."""
        values: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in found.items()
        }
        return cls(**values)
