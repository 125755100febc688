"""gpulet's model of co-located inference: a regression on the use of L2 and DRAM."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from profiles.errors import ProfileError
from profiles.interference.load import Load, StandIns, borrowed, check_load, nearest
from profiles.provenance import Provenance


class Utilisation(NamedTuple):
    """How busy a batch keeps the L2 cache and the DRAM of a whole GPU, fractions; `batch` ascends."""

    batch: int
    l2: float
    dram: float


class GpuletCoefficients(NamedTuple):
    """The linear regression of gpulet over both sides' utilisations."""

    l2_me: float
    l2_other: float
    dram_me: float
    dram_other: float
    constant: float


@dataclass(frozen=True, slots=True)
class GpuletInterference:
    """gpulet's pairwise regression on the use of L2 and DRAM (USENIX ATC 2022).

    The original puts at most two on a GPU. With more, the neighbour that hurts most decides: nobody fitted
    what a third one adds. A regression may fall below 1 or with heavier neighbours; it is cut at 1.

    Attributes
    ----------
    coefficients
        The regression.
    utilisations
        Pairs (model, its utilisations by batch); in between they are interpolated, beyond they stay.
    stand_ins
        Whose utilisations other models borrow. Assumed; empty to leave those models alone.
    """

    coefficients: GpuletCoefficients
    utilisations: tuple[tuple[str, tuple[Utilisation, ...]], ...]
    stand_ins: StandIns = ()
    _by_name: dict[str, tuple[Utilisation, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, rows in self.utilisations:
            batches = [row.batch for row in rows]
            if not rows or batches[0] < 1 or any(a >= b for a, b in pairwise(batches)):
                raise ProfileError(f"{name}: batches: found {batches}, allowed are ascending ones from 1")
        own = dict(self.utilisations)
        object.__setattr__(self, "_by_name", own | borrowed(self.stand_ins, own))

    def factor(self, me: Load, others: Sequence[Load]) -> float:
        """Return the worst pair's factor; 1 alone."""
        beside = [self.used(other) for other in others if other.model in self._by_name]
        if me.model not in self._by_name or not beside:
            return 1.0
        of = self.coefficients
        l2, dram = self.used(me)
        own = of.l2_me * l2 + of.dram_me * dram + of.constant
        worst = max(of.l2_other * other[0] + of.dram_other * other[1] for other in beside)
        return max(1.0, own + worst)

    def used(self, load: Load) -> tuple[float, float]:
        """L2 and DRAM utilisation of a load: that of its batch on a whole GPU, times its share.

        Raises
        ------
        ProfileError
            If the model has no utilisations, a batch is below 1 or a share not in (0, 1].
        """
        check_load(load.batch, load.share)
        rows = self._by_name.get(load.model)
        if rows is None:
            raise ProfileError(f"model: found {load.model!r}, {nearest(load.model, self._by_name)}")
        above = bisect_right(rows, load.batch, key=lambda row: row.batch)
        low, high = rows[max(above - 1, 0)], rows[min(above, len(rows) - 1)]
        part = (load.batch - low.batch) / (high.batch - low.batch) if high.batch > low.batch else 0.0
        l2 = low.l2 + part * (high.l2 - low.l2)
        dram = low.dram + part * (high.dram - low.dram)
        return l2 * load.share, dram * load.share


def _profiled(*columns: tuple[float, float]) -> tuple[Utilisation, ...]:
    """Utilisations at batches 1, 2, 4, 8, 16, 32, the grid of gpulet."""
    return tuple(Utilisation(2**power, l2, dram) for power, (l2, dram) in enumerate(columns))


GPULET_STAND_INS: Final[StandIns] = (
    ("resnet152", "resnet50"),
    ("vgg19", "vgg16"),
    ("bert-base", "bert"),
    ("roberta-large", "bert"),
    ("gpt2-large", "bert"),
)
GPULET_STAND_INS_ORIGIN: Final = Provenance("assumed", "The published model of the same family.")

ASSUMED_DECODING: Final = (
    ("llama2-7b", (Utilisation(1, 0.28, 0.56), Utilisation(16, 0.20, 0.40))),
    ("chatglm3-6b", (Utilisation(1, 0.16, 0.32), Utilisation(16, 0.11, 0.21))),
)
ASSUMED_DECODING_ORIGIN: Final = Provenance(
    "assumed",
    "DRAM: the bytes of the weights in the time of a decode step on all SMs (our A100 profile), over 1,555 "
    "GB/s. L2: half of that, as resnet50 and bert in gpulet's table of the 2080 Ti.",
)

GPULET_2080TI: Final = GpuletInterference(
    GpuletCoefficients(0.113, 0.716, 0.355, 0.088, 0.895),
    (
        (
            "bert",
            _profiled(
                (0.092, 0.290), (0.107, 0.293), (0.140, 0.303), (0.163, 0.302), (0.180, 0.344), (0.183, 0.347)
            ),
        ),
        (
            "resnet50",
            _profiled(
                (0.154, 0.279), (0.188, 0.350), (0.230, 0.439), (0.258, 0.513), (0.268, 0.584), (0.282, 0.623)
            ),
        ),
        (
            "vgg16",
            _profiled(
                (0.310, 0.560), (0.338, 0.559), (0.350, 0.542), (0.321, 0.567), (0.305, 0.608), (0.302, 0.611)
            ),
        ),
        *ASSUMED_DECODING,
    ),
    GPULET_STAND_INS,
)
GPULET_3080: Final = GpuletInterference(
    GpuletCoefficients(-0.180, 0.038, 0.126, -0.056, 1.018),
    (
        (
            "bert",
            _profiled(
                (0.136, 0.220), (0.161, 0.227), (0.210, 0.275), (0.219, 0.267), (0.249, 0.298), (0.281, 0.328)
            ),
        ),
        (
            "resnet50",
            _profiled(
                (0.222, 0.305), (0.282, 0.395), (0.320, 0.463), (0.355, 0.557), (0.357, 0.596), (0.372, 0.646)
            ),
        ),
        (
            "vgg16",
            _profiled(
                (0.341, 0.487), (0.366, 0.530), (0.380, 0.544), (0.421, 0.563), (0.413, 0.594), (0.424, 0.602)
            ),
        ),
        *ASSUMED_DECODING,
    ),
    GPULET_STAND_INS,
)
GPULET_ORIGIN: Final = Provenance(
    "published",
    "Choi et al., gpulet (USENIX ATC 2022): github.com/casys-kaist/glet, resource/2080ti and resource/3080, "
    "INT_MODEL_CONSTANT.CSV, and l2_util and mem_util of UTIL.CSV, to three digits.",
)
