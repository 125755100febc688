"""Workers that compute: on the CPU for real, and the code for a GPU on a CPU that poses as one."""

from __future__ import annotations

import re
import resource
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from worker_parent import PATIENCE_S, Agency, Till, begin, model, sit, wait_until

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from realgpu.board import Board  # noqa: E402 -- after the look for torch
from realgpu.errors import RealGpuError  # noqa: E402
from realgpu.gate import GateFile, Mode, PythonGate  # noqa: E402
from realgpu.workers import Failed, Finished, Run, Stop, Stopped  # noqa: E402
from realgpu.workers.backends import cuda  # noqa: E402
from realgpu.workers.backends.computed import QUOTA_LOOK_S  # noqa: E402
from realgpu.workers.backends.cpu import CpuBackend  # noqa: E402
from realgpu.workers.backends.cuda import CudaBackend, raise_open_files  # noqa: E402
from realgpu.workers.backends.own_gate import OwnGate  # noqa: E402
from realgpu.workers.backends.toll import COST_PER_S  # noqa: E402
from realgpu.workers.seats import Seats  # noqa: E402

ROBERTA, RESNET, LLAMA = model("roberta-large"), model("resnet152"), model("llama2-7b")


def never(sleep_s: float = 0.0) -> bool:
    """Do not leave off."""
    return False


def light(profile: Any) -> Any:
    """A profile whose training takes few samples a step, to be quick."""
    return replace(profile, training=replace(profile.training, batch=4))


@pytest.fixture
def gate_file() -> Iterator[GateFile]:
    """A gate file that the test controls, for two seats."""
    with GateFile.create(2) as file:
        file.unsupervised()
        yield file


@pytest.mark.parametrize("profile", [RESNET, ROBERTA, LLAMA], ids=lambda profile: profile.name)
def test_a_worker_serves_on_the_cpu(board: Board, agency: Agency, profile: Any) -> None:
    """It says what it loaded, serves batches of any size, and reports cycles an iteration."""
    sit(board, 0, profile)
    worker = agency.hire()
    ready = worker.start(begin(board, profile, backend="cpu"))
    assert ready.loaded["cost_per_s"] == COST_PER_S
    assert ready.loaded["scale"] == "small"
    assert min(ready.loaded[part] for part in ("import_s", "load_s", "warm_up_s")) > 0
    iterations = 4 if profile is LLAMA else 1
    for count in (1, 8, 3):
        took_s = worker.serve(count, iterations)
        assert 0 < took_s < PATIENCE_S
        assert board.seats["cycle_s"][0] == pytest.approx(took_s / iterations)
        assert board.seats["cycle_batch"][0] == count
    worker.channel.send(Stop())
    worker.expect(Stopped)
    assert worker.status() == 0


def test_a_worker_trains_on_the_cpu(board: Board, agency: Agency) -> None:
    """It takes the steps it is to take, each a cycle."""
    sit(board, 0, ROBERTA, job="train")
    worker = agency.hire()
    worker.start(begin(board, light(ROBERTA), job="train", backend="cpu", iterations=4))
    assert worker.expect(Finished).steps == 4.0
    assert (board.seats["steps"][0], board.seats["cycles"][0], board.seats["cycle_batch"][0]) == (4.0, 4, 4)
    worker.channel.send(Stop())
    assert worker.expect(Stopped).steps == 4.0


def test_training_on_the_cpu_stops_between_steps(board: Board, agency: Agency) -> None:
    """A whole number of steps has been done when `Stop` is obeyed."""
    sit(board, 0, RESNET, job="train")
    worker = agency.hire()
    worker.start(begin(board, light(RESNET), job="train", backend="cpu"))
    assert wait_until(lambda: board.seats["steps"][0] >= 2)
    worker.channel.send(Stop())
    stopped = worker.expect(Stopped)
    assert stopped.steps == board.seats["steps"][0] == int(stopped.steps) >= 2
    assert worker.status() == 0


@pytest.mark.parametrize("signalled", [False, True], ids=["closed", "sigterm"])
def test_a_long_batch_on_the_cpu_is_left_off(board: Board, agency: Agency, signalled: bool) -> None:
    """Between two tokens it looks whether anybody still wants the answer."""
    sit(board, 0, LLAMA)
    worker = agency.hire()
    worker.start(begin(board, LLAMA, backend="cpu"))
    worker.channel.send(Run(0, 8, 10**6))
    assert wait_until(lambda: board.seats["active"][0] == 1)
    if signalled:
        worker.process.terminate()
    else:
        worker.channel.close()
    assert worker.status() == (143 if signalled else 0)
    assert board.seats["active"][0] == 0


def paces(backend: CpuBackend, count: int, quotas: list[float], give: Any) -> list[float]:
    """Median seconds of a batch on each quota; the first, after a change, does not count."""
    medians = []
    for quota in quotas:
        give(quota)
        took = []
        for _ in range(8):
            times = backend.run(count, 1, never)
            assert times is not None
            took.append((times[1] - times[0]) / 1e9)
        medians.append(statistics.median(took[1:]))
    return medians


@pytest.mark.parametrize("kind", ["board", "python", "native"])
def test_a_quota_throttles_the_cpu(board: Board, gate_file: GateFile, kind: str) -> None:
    """Through each sort of gate, a fifth of the quota makes a batch five times as long; best of three."""
    sit(board, 0, ROBERTA)
    options: dict[str, str] = {} if kind == "board" else {"gate_file": str(gate_file.path)}
    if kind == "native":
        from realgpu.gate import GateError, build_gate

        try:
            options["gate_library"] = str(build_gate())
        except GateError as error:
            pytest.skip(str(error))

    def give(quota: float) -> None:
        board.seats["quota"][0] = quota
        gate_file.slots[0].set_rate(quota * COST_PER_S, quota * COST_PER_S * 0.005)
        gate_file.announce()

    gate_file.slots[0].set_mode(Mode.ENFORCE)
    errors = []
    for _ in range(3):
        give(1.0)
        backend = CpuBackend(begin(board, ROBERTA, backend="cpu", options=options), Seats(board, [0]))
        backend.load()
        for count in (8, 4):  # one size was learnt, the other is between two that were
            half_s, tenth_s = paces(backend, count, [0.5, 0.1], give)
            errors.append(abs(tenth_s / half_s / 5 - 1))
    assert min(errors) < 0.25


@pytest.mark.parametrize("job", ["serve", "train"])
def test_work_is_charged_as_it_is_done(board: Board, monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    """A batch or a step is paid piece by piece, in full by its end, and equal ones pay the same."""
    sit(board, 0, ROBERTA, job=job)
    till = Till()
    monkeypatch.setattr(CpuBackend, "_make_gate", lambda _: till)
    backend = CpuBackend(begin(board, light(ROBERTA), backend="cpu", job=job), Seats(board, [0]))
    backend.load()
    paid = []
    for _ in range(3):
        till.charged.clear()
        if job == "serve":
            backend.run(8, 1, never)
        else:
            backend.train(1, never)
        paid.append(sum(till.charged))
        assert len(till.charged) > 3
        assert max(till.charged) < paid[-1] / 2
        till.charged.clear()
        backend._toll.settle()
        assert till.charged == []
    assert paid[0] == paid[1] == paid[2]


def test_an_option_of_another_backend_is_refused(board: Board) -> None:
    """Each backend knows its own options, and says which value it does not take."""
    sit(board, 0, ROBERTA)
    seats = Seats(board, [0])
    with pytest.raises(RealGpuError, match="found 'look_s'"):
        CpuBackend(begin(board, ROBERTA, backend="cpu", options={"look_s": 1}), seats)
    with pytest.raises(RealGpuError, match="scale: found 'huge'"):
        CpuBackend(begin(board, ROBERTA, backend="cpu", options={"scale": "huge"}), seats)
    with pytest.raises(RealGpuError, match="found 'gate_file'"):
        CudaBackend(begin(board, ROBERTA, backend="cuda", options={"gate_file": "x"}), seats)
    with pytest.raises(RealGpuError, match="none for training"):
        CpuBackend(begin(board, replace(ROBERTA, training=None), backend="cpu", job="train"), seats)


def test_a_gate_that_is_not_there_is_said(board: Board, agency: Agency) -> None:
    """The worker fails with the gate's own line."""
    sit(board, 0, ROBERTA)
    worker = agency.hire()
    worker.channel.send(begin(board, ROBERTA, backend="cpu", options={"gate_file": "/nowhere/gate"}))
    assert "/nowhere/gate" in worker.expect(Failed).reason
    assert worker.status() == 1


class Poser:
    """A CPU that poses as a GPU: what torch.cuda is asked, answered from here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synchronized = 0
        monkeypatch.setattr(CudaBackend, "device", "cpu")
        monkeypatch.setattr(cuda, "raise_open_files", lambda: None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
        facts = SimpleNamespace(name="a poser", multi_processor_count=1, total_memory=8)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)

    def synchronize(self) -> None:
        """Take note that somebody waits for the device."""
        self.synchronized += 1


@pytest.fixture
def poser(monkeypatch: pytest.MonkeyPatch) -> Poser:
    """The pretence, for one test."""
    return Poser(monkeypatch)


def on_cuda(board: Board, profile: Any, **fields: Any) -> CudaBackend:
    """The backend for GPUs, with small models."""
    fields = {"backend": "cuda", "options": {"scale": "small"}, **fields}
    return CudaBackend(begin(board, profile, **fields), Seats(board, [0]))


@pytest.mark.parametrize("profile", [ROBERTA, LLAMA], ids=lambda profile: profile.name)
def test_serving_for_a_gpu_ends_with_the_device(board: Board, poser: Poser, profile: Any) -> None:
    """Weights are in half precision, each batch waits for the device, and the evidence of MPS is there."""
    sit(board, 0, profile)
    backend = on_cuda(board, profile)
    loaded = backend.load()
    assert loaded["device"] == "a poser"
    assert loaded["mps"]["runs_under_mps"] is False
    assert loaded["peak_memory_bytes"] == 7
    assert {one.dtype for one in backend._model.network.parameters()} == {torch.float16}
    assert not backend._model.network.training
    before = poser.synchronized
    times = backend.run(4, 3, never)
    assert times is not None
    assert times[0] < times[1] <= time.monotonic_ns()
    assert poser.synchronized == before + 1
    assert backend.run(4, 3, lambda sleep_s=0.0: True) is None
    assert poser.synchronized == before + 2


@pytest.mark.parametrize(
    ("profile", "precision", "optimizer"),
    [(ROBERTA, "float32", "AdamW"), (LLAMA, "bfloat16", "SGD")],
    ids=lambda value: getattr(value, "name", value),
)
def test_training_for_a_gpu_cannot_run_ahead(
    board: Board, poser: Poser, profile: Any, precision: str, optimizer: str
) -> None:
    """Each step waits for the device; a model of billions trains without an optimizer's state."""
    sit(board, 0, profile, job="train")
    backend = on_cuda(board, light(profile), job="train")
    backend.load()
    assert {one.dtype for one in backend._model.network.parameters()} == {getattr(torch, precision)}
    assert type(backend._optimizer).__name__ == optimizer
    assert backend._model.network.training
    before = poser.synchronized
    first = [one.detach().clone() for one in backend._model.network.parameters()]
    steps, _ = backend.train(3, never)
    assert (steps, poser.synchronized, board.seats["steps"][0]) == (3.0, before + 3, 3.0)
    changed = [not torch.equal(a, b) for a, b in zip(first, backend._model.network.parameters(), strict=True)]
    assert any(changed)


@pytest.mark.parametrize("leaves", [False, True])
def test_training_begins_with_its_quota(board: Board, poser: Poser, leaves: bool) -> None:
    """Not a step before; the time it waited is no part of the first; one told to leave takes none."""
    sit(board, 0, ROBERTA, job="train", quota=0.0)
    backend = on_cuda(board, light(ROBERTA), job="train")
    backend.load()
    looks: list[float] = []

    def leave_off(sleep_s: float = 0.0) -> bool:
        looks.append(sleep_s)
        if len(looks) == 3:
            assert board.seats["steps"][0] == 0.0
            time.sleep(0.0 if leaves else 1.0)
            board.seats["quota"][0] = 0.0 if leaves else 0.2
        return leaves and len(looks) >= 3

    steps, _ = backend.train(1, leave_off)
    assert steps == (0.0 if leaves else 1.0)
    assert looks[:3] == [QUOTA_LOOK_S] * 3
    assert board.seats["cycle_s"][0] < 1.0


def test_open_files_are_raised_as_far_as_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """To what MPS needs, or the hard limit; never lowered, and nothing asked for without need."""
    infinity = resource.RLIM_INFINITY
    for limits, raised in [
        ((1024, 4096), [(4096, 4096)]),
        ((1024, 1 << 20), [(16384, 1 << 20)]),
        ((1024, infinity), [(16384, infinity)]),
        ((20000, 1 << 20), []),
        ((4096, 4096), []),
        ((infinity, infinity), []),
    ]:
        asked: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        monkeypatch.setattr(resource, "setrlimit", lambda _, new, asked=asked: asked.append(new))
        raise_open_files()
        assert asked == raised


@pytest.mark.parametrize(("profile", "tokens"), [(ROBERTA, None), (LLAMA, 16)], ids=["encoder", "decoder"])
def test_what_work_costs_is_measured_by_the_gate(
    board: Board,
    poser: Poser,
    gate_file: GateFile,
    monkeypatch: pytest.MonkeyPatch,
    profile: Any,
    tokens: int | None,
) -> None:
    """A batch of 10 launches at 7 each, an answer of a decoder included; without charges the line says so."""
    monkeypatch.setenv("GATE_FILE", str(gate_file.path))
    monkeypatch.setenv("GATE_SLOT", "1")
    sit(board, 0, profile)
    with pytest.raises(
        RealGpuError, match=r"^backend cuda: the launch gate counts nothing \(mode 0, state 0"
    ):
        on_cuda(board, profile).load()
    gate_file.slots[1].set_mode(Mode.COUNT)
    backend = on_cuda(board, profile)
    with PythonGate(gate_file.path, 1) as gate:

        def work(count: int, tokens: int = 2) -> None:
            for _ in range(10):
                gate.charge(7)
            time.sleep(0.02)

        monkeypatch.setattr(backend, "_work_once", work)
        loaded = backend.load()
    assert (loaded["launches_per_batch"], loaded["cost_per_batch"]) == (10, 70)
    assert 3 <= loaded["measured_batches"] <= 15
    assert loaded["measured_tokens"] == tokens
    assert 70 / 2.0 < loaded["cost_per_s"] <= 70 / 0.02
    assert (loaded["model"], loaded["job"], loaded["waited_s"] < 1.0) == (profile.name, "serve", True)


def test_a_model_is_made_and_measured_in_its_turn(
    board: Board, poser: Poser, gate_file: GateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another worker has the turn on its GPU it waits, and says for how long."""
    monkeypatch.setenv("GATE_FILE", str(gate_file.path))
    monkeypatch.setenv("GATE_SLOT", "0")
    gate_file.slots[0].set_mode(Mode.COUNT)
    sit(board, 0, ROBERTA, gpu=5)
    backend = on_cuda(board, ROBERTA)
    heard: list[dict[str, Any]] = []
    with PythonGate(gate_file.path, 0) as gate, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(backend, "_work_once", lambda *_: gate.charge(1))
        with OwnGate(gate_file.path, 1).turn(5):
            loading = pool.submit(lambda: heard.append(backend.load()))
            time.sleep(0.5)
            assert heard == []
        loading.result(PATIENCE_S)
    assert heard[0]["waited_s"] > 0.2
    assert heard[0]["load_s"] + heard[0]["waited_s"] < PATIENCE_S


SHORTAGES = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has ..."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=["allocator", "driver", "cublas"])
def test_out_of_memory_is_said(
    board: Board, poser: Poser, monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    """Wherever memory runs out, one line says so first; other errors stay what they are."""

    def full(*_: object) -> None:
        raise shortage

    sit(board, 0, ROBERTA)
    backend = on_cuda(board, ROBERTA)
    backend.load()
    backend._model.network.register_forward_pre_hook(full)
    line = f"^out of memory: roberta-large on cpu: {re.escape(str(shortage).splitlines()[0])}$"
    with pytest.raises(RealGpuError, match=line):
        backend.run(1, 1, never)
    training = on_cuda(board, light(ROBERTA), job="train")
    training.load()
    training._model.network.register_forward_pre_hook(full)
    with pytest.raises(RealGpuError, match=line):
        training.train(1, never)
    monkeypatch.setattr(torch, "manual_seed", full)
    with pytest.raises(RealGpuError, match=line):
        on_cuda(board, ROBERTA).load()
    shortage = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match=r"^CUDA error: an illegal"):
        training.train(1, never)


def test_a_device_holds_one_seat(board: Board) -> None:
    """An instance on several GPUs is refused, not served on one of them."""
    sit(board, 0, LLAMA)
    sit(board, 1, LLAMA, gpu=1)
    with pytest.raises(RealGpuError, match="seats: found 2"):
        CudaBackend(begin(board, LLAMA, rows=(0, 1), backend="cuda"), Seats(board, [0, 1]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_worker_says_so(board: Board, agency: Agency) -> None:
    """The backend cuda fails in one line that names the others."""
    sit(board, 0, ROBERTA)
    worker = agency.hire()
    worker.channel.send(begin(board, ROBERTA, backend="cuda"))
    assert (
        worker.expect(Failed).reason == "backend cuda: torch finds no GPU; choose the backend cpu or virtual"
    )
    assert worker.status() == 1
