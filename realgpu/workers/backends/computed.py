"""Work that is really computed, with torch: what the CPU and a GPU have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from profiles import ModelProfile, TrainingProfile
from realgpu.errors import RealGpuError
from realgpu.workers.backends.base import LeaveOff
from realgpu.workers.protocol import Begin, unpacked
from realgpu.workers.seats import Seats

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from realgpu.workers.models import Model, Scale

QUOTA_LOOK_S: Final = 0.001
"""How often training looks whether it has a quota yet: a fifth of Dilu's tick (ASPLOS 2025, section 3.4)."""

_SIGNS_OF_SHORTAGE: Final = ("out of memory", "not enough memory", "ALLOC_FAILED")


class ComputedBackend(ABC):
    """A `Backend` that runs a model of `realgpu.workers.models`.

    Training takes the profile's batch; what else of the profile holds is for the device to show.

    Raises
    ------
    RealGpuError
        If `begin` has no profile, or no training profile where it is to train.
    """

    device: str
    default_scale: Scale

    def __init__(self, begin: Begin, seats: Seats) -> None:
        self._begin = begin
        self._seats = seats
        profile = unpacked(begin.profile, ModelProfile, "begin: profile")
        if begin.job == "train" and profile.training is None:
            raise RealGpuError(f"begin: profile: {profile.name} has none for training")
        self._kind = profile.kind
        self._training: TrainingProfile | None = profile.training if begin.job == "train" else None
        self._scale: Scale = begin.options.get("scale", self.default_scale)
        if self._scale not in ("small", "full"):
            raise RealGpuError(f"begin: options: scale: found {self._scale!r}, allowed are 'small', 'full'")

    def load(self) -> dict[str, Any]:
        """Import torch, make the model, and run it once; see `Backend`."""
        begun_s = time.monotonic()
        try:
            import torch
        except ImportError as error:
            raise RealGpuError(f"backend {self._begin.backend}: {error}; pip install torch") from None
        imported_s = time.monotonic()
        self._torch = torch
        with self._naming_shortage():
            self._prepare()
            prepared_s = time.monotonic()
            with self._turn():
                turn_s = time.monotonic()
                torch.manual_seed(self._begin.seed)
                self._model = self._make_model()
                self._optimizer = self._make_optimizer() if self._training is not None else None
                self._synchronize()
                loaded_s = time.monotonic()
                self._warm_up()
                warm_s = time.monotonic()
                costs = self._measure_cost()
        return {
            "import_s": imported_s - begun_s,
            "load_s": (prepared_s - imported_s) + (loaded_s - turn_s),
            "warm_up_s": warm_s - loaded_s,
            "waited_s": turn_s - prepared_s,
            **costs,
            "backend": self._begin.backend,
            "scale": self._scale,
            "torch": torch.__version__,
            "parameters": sum(weights.numel() for weights in self._model.network.parameters()),
            **self._facts(),
        }

    def run(self, count: int, iterations: int, leave_off: LeaveOff) -> tuple[int, int] | None:
        """Serve a batch; see `Backend`. It ends when the device has done all of it."""
        start_ns = time.monotonic_ns()
        with self._naming_shortage(), self._torch.inference_mode():
            for _ in self._model.answer(self._model.inputs(count), iterations):
                if leave_off():
                    self._synchronize()
                    return None
            self._synchronize()
        return start_ns, time.monotonic_ns()

    def train(self, iterations: int | None, leave_off: LeaveOff) -> tuple[float, int]:
        """Train; see `Backend`. A step ends when the device has done it, so that it cannot run ahead.

        The first begins once there is a quota: before that, nobody holds the worker to one.
        """
        while self._seats.least_quota() <= 0.0 and not leave_off(QUOTA_LOOK_S):
            pass
        steps, now_ns = 0, time.monotonic_ns()
        while steps != iterations and not leave_off():
            begun_ns = now_ns
            with self._naming_shortage():
                self._step()
                self._synchronize()
            now_ns = time.monotonic_ns()
            steps += 1
            self._seats.cycle((now_ns - begun_ns) / 1e9, self._samples)
            self._seats.steps(steps)
        return float(steps), now_ns

    @property
    def _samples(self) -> int:
        assert self._training is not None
        return self._training.batch

    def _make_model(self) -> Model:
        from realgpu.workers.models import build

        model = build(self._begin.model, self._scale, device=self.device, precision=self._weights_precision())
        model.network.train(self._training is not None)
        return model

    def _warm_up(self) -> None:
        """Have everything loaded that work needs."""
        self._work_once(self._begin.batch)

    def _work_once(self, count: int, tokens: int = 2) -> None:
        """Do a step, or serve a batch; a decoder, which goes on unlike it begins, answers in some tokens."""
        if self._training is not None:
            self._step()
        else:
            iterations = tokens if self._model.kind == "decoder" else 1
            with self._torch.inference_mode():
                for _ in self._model.answer(self._model.inputs(count), iterations):
                    pass
        self._synchronize()

    def _turn(self) -> AbstractContextManager[None]:
        """Return what is held while the model is made and warmed up, if that is to be alone on the device."""
        return nullcontext()

    def _measure_cost(self) -> dict[str, Any]:
        """Return what a gate charges for the work, as facts, if there is something to find out."""
        return {}

    def _step(self) -> None:
        """Do one training step."""
        assert self._optimizer is not None
        self._optimizer.zero_grad()
        with self._autocast():
            loss = self._model.loss(self._model.inputs(self._samples))
        self._torch.autograd.backward(loss)
        self._optimizer.step()

    @contextmanager
    def _naming_shortage(self) -> Iterator[None]:
        """Say that memory ran out, whichever of the allocator, the driver and cuBLAS found it."""
        try:
            yield
        except RuntimeError as error:
            if not any(sign in str(error) for sign in _SIGNS_OF_SHORTAGE):
                raise
            first = str(error).splitlines()[0]
            shortage = f"out of memory: {self._begin.model} on {self.device}: {first}"
            raise RealGpuError(shortage) from None

    @abstractmethod
    def _prepare(self) -> None:
        """Set torch up for the device, or say why it cannot be used."""

    @abstractmethod
    def _weights_precision(self) -> str:
        """Return the type of the weights, as torch calls it."""

    @abstractmethod
    def _make_optimizer(self) -> Optimizer:
        """Return what trains the model."""

    @abstractmethod
    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the precision in which a training step computes."""

    @abstractmethod
    def _synchronize(self) -> None:
        """Wait until the device has done everything."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """Return facts about the device."""
