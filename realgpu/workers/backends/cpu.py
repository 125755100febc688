"""A CPU core in place of a GPU: small models, throttled by a gate that every module passes.

A module is charged once it is done (`realgpu.workers.backends.toll`), and the next one waits: of forward
passes every module, of backward passes every weight. A batch or step ends when all of it is paid for. The
capacity of the core is a cost of 10^9 a second for every model and batch, so a quota q is the rate ``q
10^9``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from realgpu.gate import Gate, NativeGate, PythonGate
from realgpu.workers.backends.base import check_options
from realgpu.workers.backends.board_gate import BoardGate
from realgpu.workers.backends.computed import ComputedBackend
from realgpu.workers.backends.toll import COST_PER_S, Toll
from realgpu.workers.protocol import Begin
from realgpu.workers.seats import Seats

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from realgpu.workers.models import Model, Scale

_FEWEST_LESSONS: Final = 3
_SURE_AFTER: Final = 5
_MOST_LESSONS: Final = 25
_LESSONS_S: Final = 0.4
"""To learn what work of a size costs where nobody disturbs it, it is done until so many in a row were not the
fastest; but for so long, or so often, at most. Assumed: others who use the machine pause at times."""


class CpuBackend(ComputedBackend):
    """A `Backend` on one CPU core.

    Its options are `scale`, by default `small`; `gate_file`, a `GateFile` whose slot of the number of the
    first seat somebody else gives rates; and `gate_library`, the compiled gate to charge it with instead of
    the one in Python. Without a file, quotas are read off the board.
    """

    device = "cpu"
    default_scale: Scale = "small"

    def __init__(self, begin: Begin, seats: Seats) -> None:
        check_options(begin.options, ["scale", "gate_file", "gate_library"])
        super().__init__(begin, seats)
        self._toll = Toll()

    def load(self) -> dict[str, Any]:
        """Start up without a gate, then put it up; see `Backend`."""
        loaded = super().load()
        self._toll.put_up(self._make_gate())
        return loaded

    def _make_gate(self) -> Gate:
        file, library = self._begin.options.get("gate_file"), self._begin.options.get("gate_library")
        if file is None:
            return BoardGate(self._seats, COST_PER_S)
        slot = self._begin.seats[0]
        return (
            PythonGate(Path(file), slot) if library is None else NativeGate(Path(library), Path(file), slot)
        )

    def _prepare(self) -> None:
        self._torch.set_num_threads(1)

    def _make_model(self) -> Model:
        model = super()._make_model()
        leaves = (module for module in model.network.modules() if next(module.children(), None) is None)
        for number, module in enumerate(leaves):
            module.register_forward_hook(partial(self._passed_forward, number))
        parameters: Iterable[Any] = model.network.parameters()
        for number, weights in enumerate(parameters):
            weights.register_post_accumulate_grad_hook(partial(self._passed_backward, number))
        return model

    def _passed_forward(self, number: int, module: object, inputs: tuple[Any, ...], output: object) -> None:
        size = inputs[0].numel() if inputs else 0
        self._toll.done(("forward", number), size)

    def _passed_backward(self, number: int, weights: object) -> None:
        self._toll.done(("backward", number))

    def _warm_up(self) -> None:
        """Learn what a step costs, or batches of sizes that double up to the largest."""
        for count in [self._samples] if self._training is not None else _doubling(self._begin.batch):
            self._work_once(count)
            begun_s, since_fastest = time.monotonic(), 0
            for number in range(1, _MOST_LESSONS + 1):
                self._toll.begin()
                self._work_once(count)
                since_fastest = 0 if self._toll.learnt(count) else since_fastest + 1
                long = time.monotonic() - begun_s > _LESSONS_S and number >= _FEWEST_LESSONS
                if long or since_fastest >= _SURE_AFTER:
                    break

    def _weights_precision(self) -> str:
        return "float32"

    def _make_optimizer(self) -> Optimizer:
        optimizer: Optimizer = self._torch.optim.SGD(self._model.network.parameters(), lr=1e-4)
        return optimizer

    def _autocast(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _synchronize(self) -> None:
        """Pay for what is left, such as the optimizer's step: the CPU is never behind."""
        self._toll.done("rest")
        self._toll.settle()

    def _facts(self) -> dict[str, Any]:
        return {"cost_per_s": COST_PER_S, "prompt_tokens": self._model.size}


def _doubling(largest: int) -> list[int]:
    """Return 1, 2, 4, ... and the largest."""
    return sorted({*(1 << power for power in range(largest.bit_length())), largest})
