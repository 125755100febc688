"""iGniter's model of co-located inference: L2 cache, kernel scheduler, and power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Final, NamedTuple

from profiles.errors import ProfileError
from profiles.interference.load import Load, StandIns, borrowed, check_load, nearest
from profiles.provenance import Provenance

LARGEST_BATCH: Final = 32
"""The largest batch that was profiled; a larger one interferes as this one does."""


class IgniterCoefficients(NamedTuple):
    """What iGniter fitted for one model; its latencies are in ms, its SM resources in percent.

    Attributes
    ----------
    k
        k1 to k5 of the active time, k_act = (k1 b^2 + k2 b + k3) / (r + k4) + k5.
    cache_sensitivity
        Relative growth of the active time for each percent of L2 that others use.
    power, cache
        Watts, and percent of L2, that it uses: (for each request per second, in any case).
    kernels, schedule_ms
        Kernels of a batch, and the scheduling delay of them all when alone.
    input_bytes, output_bytes
        What a request moves over PCIe.
    """

    model: str
    k: tuple[float, float, float, float, float]
    cache_sensitivity: float
    power: tuple[float, float]
    cache: tuple[float, float]
    kernels: int
    schedule_ms: float
    input_bytes: int
    output_bytes: int

    def active_ms(self, batch: int, share: float) -> float:
        """Active time of a batch that is alone, k_act.

        Raises
        ------
        ProfileError
            If `batch < 1` or `share` is not in (0, 1].
        """
        check_load(batch, share)
        k1, k2, k3, k4, k5 = self.k
        return (k1 * batch * batch + k2 * batch + k3) / (100.0 * share + k4) + k5


IGNITER_V100: Final = (
    IgniterCoefficients(
        "alexnet",
        k=(0.00415, 8.712, 23.74, 0.0555, 0.346),
        cache_sensitivity=0.00238,
        power=(0.0239, 37.1),
        cache=(0.00309, 2.03),
        kernels=20,
        schedule_ms=0.0318,
        input_bytes=602_112,
        output_bytes=4_000,
    ),
    IgniterCoefficients(
        "resnet50",
        k=(-0.01751, 58.26, -0.0119, 0.345, 1.91),
        cache_sensitivity=0.00216,
        power=(0.1623, 4.63),
        cache=(0.02196, -0.19),
        kernels=80,
        schedule_ms=0.0738,
        input_bytes=602_112,
        output_bytes=4_000,
    ),
    IgniterCoefficients(
        "vgg19",
        k=(-0.00483, 158.2, 44.45, 0.188, 0.926),
        cache_sensitivity=0.00202,
        power=(0.5367, 2.08),
        cache=(0.04522, 2.72),
        kernels=29,
        schedule_ms=0.0392,
        input_bytes=602_112,
        output_bytes=4_000,
    ),
    IgniterCoefficients(
        "ssd",
        k=(0.02516, 235.8, -16.78, 0.264, 3.417),
        cache_sensitivity=0.00228,
        power=(0.6449, 2.34),
        cache=(0.08863, -0.129),
        kernels=93,
        schedule_ms=0.1479,
        input_bytes=1_080_000,
        output_bytes=2_968_880,
    ),
)
IGNITER_V100_ORIGIN: Final = Provenance(
    "fitted",
    "By the rules of Xu et al., iGniter (IEEE TPDS 2023, arXiv 2211.01713) to the measurements on a V100 in "
    "github.com/icloud-ecnu/igniter, i-Gniter/Algorithm: config, igniter-algorithm.py.",
)

IGNITER_STAND_INS: Final[StandIns] = (
    ("resnet152", "resnet50"),
    ("bert-base", "resnet50"),
    ("roberta-large", "ssd"),
    ("gpt2-large", "ssd"),
    ("llama2-7b", "vgg19"),
    ("chatglm3-6b", "resnet50"),
)
IGNITER_STAND_INS_ORIGIN: Final = Provenance(
    "assumed",
    "Of the four, the one whose time a request (batch 8, all SMs, V100) is nearest in proportion to our "
    "profile's SM-bound work a request, w1 + w0 / 8. Nobody published coefficients for these models.",
)


@dataclass(frozen=True, slots=True)
class IgniterInterference:
    """iGniter's latency model: L2 cache, scheduler, and power of the neighbours (IEEE TPDS 2023).

    All of it is arithmetic that rounds alike on every machine. Batches above the 32 that were profiled count
    as 32 in `factor`; the latencies extrapolate.

    Attributes
    ----------
    models
        Coefficients by model.
    stand_ins
        Whose coefficients other models borrow. Assumed; empty to leave those models alone.
    full_mhz, power_limit_w, idle_power_w
        Clock, and the power above which it drops: V100, 1530 MHz, 300 W, 53.5 W when idle.
    mhz_per_w
        Clock for each watt above the limit; fitted, as the coefficients.
    minimum_mhz
        Clock below which none drops. Recalled (the V100's lowest); reached only if shares exceed the GPU.
    delay_ms
        (slope, base) of the delay that each kernel suffers over the number of workloads, from 2 on; fitted.
    pcie_bytes_per_s
        10 GB/s, of inputs and results.
    """

    models: tuple[IgniterCoefficients, ...] = IGNITER_V100
    stand_ins: StandIns = IGNITER_STAND_INS
    full_mhz: float = 1530.0
    power_limit_w: float = 300.0
    idle_power_w: float = 53.5
    mhz_per_w: float = -1.025
    minimum_mhz: float = 135.0
    delay_ms: tuple[float, float] = (0.00475, -0.00902)
    pcie_bytes_per_s: float = 10e9
    _by_name: dict[str, IgniterCoefficients] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.minimum_mhz <= self.full_mhz:
            raise ProfileError(f"minimum_mhz: found {self.minimum_mhz}, allowed is (0, {self.full_mhz}]")
        if self.mhz_per_w > 0.0:
            raise ProfileError(f"mhz_per_w: found {self.mhz_per_w}, allowed are numbers up to 0")
        if self.delay_ms[0] < 0.0:
            raise ProfileError(f"delay_ms: found slope {self.delay_ms[0]}, allowed are slopes from 0")
        if not self.pcie_bytes_per_s > 0.0:
            raise ProfileError(f"pcie_bytes_per_s: found {self.pcie_bytes_per_s}, allowed is above 0")
        own = {entry.model: entry for entry in self.models}
        object.__setattr__(self, "_by_name", own | borrowed(self.stand_ins, own))

    def factor(self, me: Load, others: Sequence[Load]) -> float:
        """Return t_gpu beside the others, divided by t_gpu alone."""
        mine = _capped(me)
        beside = [_capped(other) for other in others if other.model in self._by_name]
        if not beside or mine.model not in self._by_name:
            return 1.0
        return self.gpu_s(mine, beside) / self.gpu_s(mine)

    def latency_s(self, me: Load, others: Sequence[Load] = ()) -> float:
        """Inference latency of a batch: input to the GPU, execution there, result back (t_inf)."""
        of = self._of(me.model)
        moved = (of.input_bytes + of.output_bytes) * me.batch / self.pcie_bytes_per_s
        return moved + self.gpu_s(me, others)

    def gpu_s(self, me: Load, others: Sequence[Load] = ()) -> float:
        """Execution of a batch on the GPU: scheduling and active time at the clock of them all (t_gpu)."""
        clock = self.clock_mhz((me, *others)) / self.full_mhz
        return (self.scheduling_s(me.model, 1 + len(others)) + self.active_s(me, others)) / clock

    def scheduling_s(self, model: str, workloads: int) -> float:
        """Delay of the kernels of a batch where so many workloads share the GPU (t_sch), full clock."""
        of = self._of(model)
        slope, base = self.delay_ms
        each_ms = max(0.0, slope * workloads + base) if workloads > 1 else 0.0
        return (of.schedule_ms + each_ms * of.kernels) / 1e3

    def active_s(self, me: Load, others: Sequence[Load] = ()) -> float:
        """Active time of a batch, stretched by what the others use of the L2 cache (t_act), full clock."""
        of = self._of(me.model)
        used = fsum(self._used(other)[1] for other in others)
        return of.active_ms(me.batch, me.share) * (1.0 + of.cache_sensitivity * used) / 1e3

    def clock_mhz(self, loads: Sequence[Load]) -> float:
        """Clock of the GPU: it drops with the power that the loads demand above its limit."""
        demand_w = fsum(self._used(load)[0] for load in loads) + self.idle_power_w
        excess_w = max(0.0, demand_w - self.power_limit_w)
        return max(self.minimum_mhz, self.full_mhz + self.mhz_per_w * excess_w)

    def _used(self, load: Load) -> tuple[float, float]:
        """Watts and percent of the L2 cache; lines fitted through heavier loads end at 0."""
        of = self._of(load.model)
        rate = 1e3 * load.batch / of.active_ms(load.batch, load.share)
        power_w, cache = (slope * rate + base for slope, base in (of.power, of.cache))
        return max(0.0, power_w), max(0.0, cache)

    def _of(self, model: str) -> IgniterCoefficients:
        if model in self._by_name:
            return self._by_name[model]
        raise ProfileError(f"model: found {model!r}, {nearest(model, self._by_name)}")


def _capped(load: Load) -> Load:
    return Load(load.model, LARGEST_BATCH, load.share) if load.batch > LARGEST_BATCH else load
