"""What is done with torch, on a CPU that poses as a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from fake_host import QUICK, Notes  # noqa: E402 -- after the look for torch
from posing import Here, Posing, posing  # noqa: E402

from realgpu.checks import cold_start, gate_checks, launch_costs, torch_work  # noqa: E402
from realgpu.checks.gate_setting import Gated  # noqa: E402
from realgpu.checks.record import Skipped  # noqa: E402
from realgpu.checks.torch_work import TorchBench, counted  # noqa: E402
from realgpu.gate import GateFile, PythonGate  # noqa: E402

WITH_TORCH = replace(QUICK, use_torch=True)


@pytest.fixture
def pose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Posing]:
    """Pose as a GPU."""
    with posing(monkeypatch) as pose:
        yield pose


@pytest.fixture
def here(pose: Posing, monkeypatch: pytest.MonkeyPatch) -> Posing:
    """Subjects in this process, charged to a real gate file."""

    @contextmanager
    def gated(label: str) -> Iterator[Gated]:
        with GateFile.create(1) as file, PythonGate(file.path, 0) as pose.gate:
            file.unsupervised()
            try:
                yield Gated(Here(label), file, file.slots[0])  # type: ignore[arg-type]
            finally:
                pose.gate = None

    for module in (gate_checks, launch_costs, cold_start):
        monkeypatch.setattr(module, "need_driver", lambda: None)
    monkeypatch.setattr(gate_checks, "gated", gated)
    monkeypatch.setattr(launch_costs, "gated", gated)
    monkeypatch.setattr(cold_start, "Subject", Here)
    monkeypatch.setattr(launch_costs, "_REPEATS", 1)
    return pose


def test_without_a_gpu_every_task_says_so() -> None:
    """Torch for CPUs is no reason to fail."""
    if torch.cuda.is_available():
        pytest.skip("this host has a GPU")
    bench = TorchBench()
    assert bench.import_torch()["torch"] == torch.__version__
    with pytest.raises(Skipped, match="finds no GPU"):
        bench.make_context()


def test_rates_are_of_what_was_done(pose: Posing) -> None:
    """Operations of a product of matrices, and bytes copied, over the time that they took."""
    bench = TorchBench()
    for rates in (bench.rates(0.005), bench.rate_on_stream(1, 0.005)):
        assert 1e5 < rates["matmul_flops"] < 1e13
    assert bench.facts()["sm_count"] == 132
    assert bench.make_context()["total_bytes"] == 8 * 2**30


def test_small_launches_and_work_launch_what_they_say(pose: Posing) -> None:
    """So many additions and one to warm up; eight products in each round."""
    bench = TorchBench()
    bench.make_context()
    before = pose.launches
    assert bench.launch_small(20)["seconds"] > 0
    assert pose.launches - before == 21
    before = pose.launches
    done = bench.work(0.02)
    assert pose.launches - before == 8 * done["iterations"] > 0


def test_a_graph_is_captured_in_steps(pose: Posing) -> None:
    """One product to warm up, and as many captured as were asked for."""
    bench = TorchBench()
    bench.begin_graph()
    before = pose.launches
    bench.fill_graph(5)
    assert pose.launches - before == 5
    bench.end_graph()
    assert bench.launch_graph(3)["seconds"] >= 0


def test_models_are_served_and_trained(pose: Posing) -> None:
    """An encoder in one pass, a decoder token by token; a step of training changes weights."""
    bench = TorchBench()
    assert bench.build("bert-base", "small")["kind"] == "encoder"
    assert bench.serve(2, repeats=2)["seconds"] > 0
    weights = next(iter(bench._model.network.parameters())).detach().clone()
    assert bench.train(2)["seconds"] > 0
    assert not torch.equal(weights, next(iter(bench._model.network.parameters())))
    assert bench.build("gpt2-large", "small")["kind"] == "decoder"
    before = pose.launches
    bench.serve(1)
    once = pose.launches - before
    bench.serve(1, iterations=3)
    assert pose.launches - before == 4 * once


@pytest.mark.parametrize("source", ["pageable", "pinned", "file"])
def test_weights_are_copied_from_where_they_lie(pose: Posing, tmp_path: Path, source: str) -> None:
    """All that fit in the limit, and they are those bytes afterwards."""
    bench = TorchBench()
    total = bench.build("bert-base", "small")["weights_bytes"]
    path = tmp_path / "weights"
    path.write_bytes(b"\1" * total)
    whole = bench.copy_weights(source, str(path), 2 * total)
    assert whole["bytes"] == whole["weights_bytes"] == total
    first = next(iter(bench._model.network.parameters()))
    assert set(first.detach().reshape(-1).view(torch.uint8).tolist()) == {1}
    part = bench.copy_weights(source, str(path), total // 2)
    assert 0 < part["bytes"] <= total // 2


def test_a_trace_is_counted_by_its_categories() -> None:
    """Kernels are those that ran on the device; copies are none, whatever they are called."""
    events = [
        {"cat": "kernel", "name": "gemm"},
        {"cat": "kernel", "name": "gemm"},
        {"cat": "gpu_memcpy", "name": "Memcpy DtoD"},
        {"cat": "cuda_runtime", "name": "cudaLaunchKernelExC"},
        {"cat": "cuda_runtime", "name": "cudaMemcpyAsync"},
        {"cat": "cuda_driver", "name": "cuLaunchKernelEx"},
        {"name": "no category"},
    ]
    assert counted(events) == {
        "kernels": 2,
        "launch_calls": {"cudaLaunchKernelExC": 1, "cuLaunchKernelEx": 1},
        "kernel_names": {"gemm": 2},
    }


def test_the_profiler_is_asked_for_a_trace(pose: Posing) -> None:
    """Without a device it has no kernels, and says so in the same words."""
    bench = TorchBench()
    bench.make_context()
    assert bench.profiled("matmul")["kernels"] == 0


@pytest.mark.parametrize("missed", [0, 1])
def test_launches_by_torch_are_compared_with_the_profiler(
    here: Posing, monkeypatch: pytest.MonkeyPatch, missed: int
) -> None:
    """What the gate has not counted is a fault that names the work and both numbers."""
    monkeypatch.setattr(gate_checks, "TORCH_WORKS", ("matmul", "add", "convolution"))

    def profiled(self: TorchBench, work: str) -> dict[str, Any]:
        before = here.launches
        self._work(work)()
        return {"kernels": here.launches - before + missed}

    monkeypatch.setattr(TorchBench, "profiled", profiled)
    found: dict[str, Any] = {}
    faults = gate_checks.gate_effective(Notes(found), WITH_TORCH)
    assert faults[0] == "of 100 launches by ctypes the gate counted 0"  # there is no driver to launch with
    assert len(faults) == (4 if missed else 1)
    if missed:
        assert faults[1] == "torch matmul: 2 kernels ran, the gate counted 1"
    assert found["torch convolution"] == {"counted": 1, "kernels": 1 + missed}
    words = "compared launches by ctypes, torch matmul, torch add, torch convolution"
    assert found["headline"] == words


def test_a_profiler_that_sees_nothing_is_told(here: Posing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be compared then, and that is not taken for agreement."""
    monkeypatch.setattr(gate_checks, "TORCH_WORKS", ("add",))
    monkeypatch.setattr(TorchBench, "profiled", lambda self, work: {"kernels": 0})
    faults = gate_checks.gate_effective(Notes({}), WITH_TORCH)
    assert "torch add: the profiler saw no kernel, the gate counted 0" in faults


def test_launches_of_each_model_are_counted(here: Posing) -> None:
    """The same for every batch size, a decoder's tokens apart from its prompt, training on top."""
    settings = replace(WITH_TORCH, launch_models=("bert-base", "gpt2-large"))
    found: dict[str, Any] = {}
    assert launch_costs.launch_costs(Notes(found), settings) == []
    bert, gpt = found["bert-base"], found["gpt2-large"]
    assert bert["serve 1"]["launches"] == bert["serve 16"]["launches"] > 10
    assert bert["train 8"]["launches"] >= bert["serve 1"]["launches"]
    assert gpt["decode 1"]["launches"] == gpt["prompt 1"]["launches"] > 10
    assert "train 8" not in gpt
    assert found["headline"] == "launches of bert-base, gpt2-large"


def test_a_model_that_does_not_fit_is_left_out(here: Posing) -> None:
    """Too little memory is no fault of the host; the line of torch is kept."""
    here.shortage = True
    settings = replace(WITH_TORCH, launch_models=("bert-base",), cold_start_models=("bert-base",))
    for check in (launch_costs.launch_costs, cold_start.cold_start):
        found: dict[str, Any] = {}
        with pytest.raises(Skipped, match="out of memory"):
            check(Notes(found), settings)
        assert "out of memory" in str(found)


def test_a_start_up_is_taken_apart(here: Posing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has its time, weights come from four places, and no file of them stays."""
    monkeypatch.setattr(cold_start, "_SHARED_MEMORY", tmp_path)
    settings = replace(
        WITH_TORCH,
        cold_start_models=("bert-base",),
        cold_start_repeats=2,
        most_weights_bytes=2**19,
        disk_folder=str(tmp_path),
    )
    found: dict[str, Any] = {}
    assert cold_start.cold_start(Notes(found), settings) == []
    starts = found["bert-base"]["starts"]
    assert len(starts) == 2
    assert set(starts[0]["weights"]) == {"pageable", "pinned", "shared_memory", "disk"}
    assert all(0 < one["bytes"] <= 2**19 for one in starts[0]["weights"].values())
    medians = found["bert-base"]["median_s"]
    assert {"import_torch_s", "context_s", "build_s", "first_inference_s"} <= set(medians)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_room_is_left_out(here: Posing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are measured all the same."""
    monkeypatch.setattr(cold_start, "_free_bytes", lambda folder: 10)
    found: dict[str, Any] = {}
    settings = replace(WITH_TORCH, cold_start_models=("bert-base",), cold_start_repeats=1)
    assert cold_start.cold_start(Notes(found), settings) == []
    weights = found["bert-base"]["starts"][0]["weights"]
    assert "has 10 bytes free" in weights["disk"]["not_done"]
    assert weights["pageable"]["bytes"] > 0


def test_a_large_model_is_started_once(here: Posing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its start takes long, and tells the same each time."""
    monkeypatch.setattr(cold_start, "_BIG_BYTES", 1000)
    found: dict[str, Any] = {}
    settings = replace(WITH_TORCH, cold_start_models=("bert-base",), cold_start_repeats=3)
    cold_start.cold_start(Notes(found), settings)
    assert len(found["bert-base"]["starts"]) == 1


def test_matrices_are_large_enough_for_a_device() -> None:
    """A product that a GPU does in less than a launch takes would measure launches."""
    assert 2 * torch_work.MATRIX**3 / 1e15 > 20e-6
