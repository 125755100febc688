"""What a worker's environment says for each way of sharing, and what a host is refused for."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_mps import FakeMps
from posed_host import UUID, lab, launch, opened

from policies.vertical import Rckm, StaticQuota
from profiles.sharing import (
    LAUNCH_TOKENS,
    MPS_CAPS,
    UNMANAGED,
    PrioritySharing,
    Sharing,
    TimeSharing,
)
from realgpu.errors import RealGpuError
from realgpu.gate import GateFile, Mode
from realgpu.hosts import CudaHost, open_host, open_host_for
from realgpu.hosts.gpus import NO_DAEMON, Gpu
from realgpu.mps import MpsError

PERCENTAGE, PRIORITY = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_CLIENT_PRIORITY"
TURNS = TimeSharing(caps="training")


def trains(one: Any) -> bool:
    """Function 1 trains."""
    return bool(one.function == 1)


@pytest.fixture
def _no_compiler(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")


@pytest.mark.parametrize("backend", ["virtual", "cpu"])
def test_other_backends_are_hosted_plainly(backend: Any) -> None:
    """Nothing is asked, built or started."""
    with open_host(backend, sharing=LAUNCH_TOKENS, gpus=9) as hosting:
        assert hosting.environment(launch(), 0) == os.environ
        assert (hosting.throttle, hosting.gpus_available, hosting.before_kill) == (None, None, None)
        assert hosting.host.conclude([]) is None


@pytest.mark.parametrize(
    ("sharing", "percentage", "priorities"),
    [
        (LAUNCH_TOKENS, "45", (None, None)),
        (UNMANAGED, None, (None, None)),
        (PrioritySharing(), None, ("0", "1")),
    ],
)
def test_clients_of_mps(
    fake_mps: FakeMps, sharing: Sharing, percentage: str | None, priorities: tuple[Any, Any]
) -> None:
    """The daemon's directory, the GPU by its UUID, the percentage, and the gate preloaded around it."""
    with opened(sharing, trains=trains) as hosting:
        found = [hosting.environment(launch(n, function=n), 3 + n) for n in (0, 1)]
        for row, environment in enumerate(found, start=3):
            assert environment["CUDA_VISIBLE_DEVICES"] == UUID
            assert environment["CUDA_MPS_PIPE_DIRECTORY"].startswith(str(fake_mps.base))
            assert environment.get(PERCENTAGE) == percentage
            assert (Path(environment["LD_PRELOAD"]).exists(), environment["GATE_SLOT"]) == (True, str(row))
            with GateFile.attach(Path(environment["GATE_FILE"])) as file:
                assert file.slots[row].read("mode") == Mode.COUNT
                assert file.slots[row].read("rate") == 2**64 - 1
                assert len(file.slots) == 48
        assert tuple(environment.get(PRIORITY) for environment in found) == priorities
        assert hosting.before_kill is not None
        assert hosting.gpus_available == 1


def test_a_percentage_that_never_changes_is_the_quota(fake_mps: FakeMps) -> None:
    """That of a policy which gives the request, not the limit."""
    with opened(MPS_CAPS, quota=lambda one: one.shards[0].request) as hosting:
        assert hosting.environment(launch(), 0)[PERCENTAGE] == "30"


def test_time_slices_need_no_mps(fake_mps: FakeMps, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is started; nor does a worker fall to a daemon that somebody else runs."""
    with opened(TURNS) as hosting:
        environment = hosting.environment(launch(), 0)
        assert not [name for name in environment if name.startswith("CUDA_MPS_")]
        assert not [call for call in fake_mps.calls() if call.startswith("files")]
        assert hosting.before_kill is None
    monkeypatch.setattr("realgpu.mps.capability.answers", lambda control: True)
    with opened(TURNS) as hosting:
        assert hosting.environment(launch(), 0)["CUDA_MPS_PIPE_DIRECTORY"] == NO_DAEMON
    assert not Path(NO_DAEMON).exists()


def test_an_instance_sees_all_of_its_gpus_and_no_others(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, as the cluster numbers them; one that this host has not is refused."""
    two = (Gpu("GPU-a", "a", 132, 1), Gpu("GPU-b", "b", 132, 1))
    monkeypatch.setattr("realgpu.hosts.cuda.find_gpus", lambda: two)
    with opened(TURNS, gpus=2) as hosting:
        shards = (*launch(gpu=1).shards, *launch(gpu=0).shards, *launch(gpu=1).shards)
        split = dataclasses.replace(launch(), shards=shards)
        assert hosting.environment(split, 0)["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a"
        with pytest.raises(RealGpuError, match="instance 7: found GPU 2, allowed are the 2 of this host"):
            hosting.environment(launch(7, gpu=2), 0)


def test_more_gpus_than_there_are_is_refused(gpu: str) -> None:
    """Before anything is started."""
    with (
        pytest.raises(RealGpuError, match="cluster: found 2 GPUs, allowed are the 1 of this host"),
        opened(TURNS, gpus=2),
    ):
        pass


@pytest.mark.usefixtures("_no_compiler")
def test_without_a_compiler_tokens_are_refused(fake_mps: FakeMps) -> None:
    """Before MPS is started: nothing could enforce them."""
    with (
        pytest.raises(
            RealGpuError, match=r"^backend cuda: quotas cannot be enforced: no C compiler found \(tried no-s"
        ),
        opened(LAUNCH_TOKENS),
    ):
        pass
    assert not [call for call in fake_mps.calls() if call.startswith("files")]


@pytest.mark.usefixtures("_no_compiler")
def test_without_compiler_and_mps_caps_are_refused(gpu: str) -> None:
    """And both reasons are said."""
    with (
        pytest.raises(RealGpuError, match=r"enforced: nvidia-cuda-mps-control: not found.*; no C compiler"),
        opened(MPS_CAPS),
    ):
        pass


@pytest.mark.usefixtures("_no_compiler")
def test_caps_that_change_need_the_gate(fake_mps: FakeMps) -> None:
    """MPS cannot change a percentage while a process runs; those that stay need no gate."""
    changing, standing = Rckm(sharing=MPS_CAPS), StaticQuota(quota="request", sharing=MPS_CAPS)
    with open_host_for("cuda", lab(), standing) as hosting:
        assert hosting.environment(launch(), 0)[PERCENTAGE] == "30"
    with pytest.raises(RealGpuError, match="cannot be enforced"), open_host_for("cuda", lab(), changing):
        pass


@pytest.mark.usefixtures("_no_compiler")
def test_without_a_compiler_what_needs_no_gate_runs_ungated(fake_mps: FakeMps) -> None:
    """Caps of MPS, and the label says so; caps that turn out not to hold are refused."""
    loaded = {"mps": {"runs_under_mps": True}}
    with opened(MPS_CAPS) as hosting:
        environment = hosting.environment(launch(), 0)
        assert "GATE_FILE" not in environment
        assert hosting.throttle is None
        assert hosting.host.capacity(launch(), loaded, alone=True) is None
        # The daemon runs, but another worker's driver says that it is no client.
        with pytest.raises(RealGpuError, match="quotas cannot be enforced: no C compiler"):
            hosting.host.capacity(launch(), {"mps": {"runs_under_mps": False}}, alone=True)
        report = hosting.host.conclude([loaded])
    assert report.record["mechanism"] == "mps, ungated"
    assert "no C compiler" in report.record["gate"]["missing"]
    assert any("ungated and uncounted: no C compiler" in note for note in report.notes)


@pytest.mark.usefixtures("_no_compiler")
def test_without_a_compiler_training_in_turns_needs_the_whole_gpu(gpu: str) -> None:
    """A job with less of a quota is refused when it is launched, servers run."""
    with opened(TURNS, trains=trains, quota=lambda one: one.shards[0].limit) as hosting:
        hosting.environment(launch(), 0)
        hosting.environment(launch(1, function=1, limit=1.0), 1)
        with pytest.raises(RealGpuError, match="quotas cannot be enforced"):
            hosting.environment(launch(2, function=1, limit=0.5), 2)


LOADED = {"cost_per_s": 1000.0, "model": "m", "job": "serve", "sm_count": 132}


@pytest.mark.parametrize("mode", ["absent", "dies", "clients"])
def test_caps_without_mps_become_rates(fake_mps: FakeMps, mode: str) -> None:
    """Not installed, not started, or not used: the gate holds what MPS would have capped."""
    if mode == "absent":
        fake_mps.binary.unlink()
    fake_mps.set_mode(mode if mode == "dies" else "ok")
    loaded = {**LOADED, "mps": {"runs_under_mps": False}}
    with opened(MPS_CAPS) as hosting:
        environment = hosting.environment(launch(), 0)
        assert (PERCENTAGE in environment) == (mode == "clients")
        assert hosting.host.capacity(launch(), loaded, alone=True) == 1000.0
        report = hosting.host.conclude([loaded])
    assert report.record["mechanism"] == "time slicing+gate"
    assert any("rates of launches, not parts of the SMs" in note for note in report.notes)
    said = {
        "absent": "without MPS the driver gives processes time slices: nvidia-cuda-mps-control: not found",
        "dies": "without MPS the driver gives processes time slices: the daemon ended (3): daemon.out: An",
        "clients": "1 of 1 workers were no clients of MPS by the driver's word (device attribute 133)",
    }
    assert any(note.startswith(said[mode]) for note in report.notes), report.notes


def test_with_mps_caps_are_counted_and_never_held(fake_mps: FakeMps) -> None:
    """The gate holds nobody; the record has the daemon's life, its end, and the library's hash."""
    loaded = {**LOADED, "mps": {"runs_under_mps": True}}
    with opened(MPS_CAPS) as hosting:
        hosting.environment(launch(), 5)
        assert hosting.host.capacity(launch(), loaded, alone=True) is None
        record = hosting.host.conclude([loaded]).record
    assert record["mechanism"] == "mps"
    assert record["mps"]["last_ending"]["how"] == "quit"
    assert record["mps"]["capability"]["installed"]
    assert len(record["gate"]["sha256"]) == 64
    assert [row["seat"] for row in record["gate"]["seats"]] == [5]


def test_the_whole_gpu_is_no_hold(gpu: str) -> None:
    """A training job that reserves a GPU is not called gated."""
    loaded = {**LOADED, "mps": {"runs_under_mps": False}}
    with opened(TURNS, trains=trains, quota=lambda one: one.shards[0].limit) as hosting:
        whole, half = launch(0, function=1, limit=1.0), launch(1, function=1, limit=0.5)
        assert hosting.host.capacity(whole, loaded, alone=True) is None
        assert hosting.host.capacity(launch(2), loaded, alone=True) is None
        assert hosting.host.conclude([loaded]).record["mechanism"] == "time slicing"
        assert hosting.host.capacity(half, loaded, alone=True) == 1000.0
        assert hosting.host.conclude([loaded]).record["mechanism"] == "time slicing+gate"


def test_a_daemon_that_does_not_do_what_it_is_asked_is_said(
    fake_mps: FakeMps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client it does not let go is killed all the same, as it ends with the run; one that is silent makes
    the run invalid, whatever ended that; one that is well adds nothing.
    """
    error = RealGpuError("instance 0: ended unasked")
    fake_mps.set_clients(17)
    with opened(UNMANAGED) as hosting:
        assert hosting.host.explain(error) is error
        assert hosting.before_kill is not None
        hosting.before_kill(17)
        assert "terminate_client" in " ".join(fake_mps.calls())
        fake_mps.set_mode("will-not-terminate")
        hosting.before_kill(17)

        def silent(self: Any) -> Any:
            raise MpsError("get_server_list: no answer within 5 s", "timeout")

        with monkeypatch.context() as patch:
            patch.setattr("realgpu.mps.supervisor.MpsSupervisor.server_statuses", silent)
            explained = str(hosting.host.explain(error))
        notes = hosting.host.conclude([]).notes
    assert len([note for note in notes if note.startswith("a client was killed that MPS did not let")]) == 1
    assert explained.startswith("instance 0: ended unasked; MPS does not answer (get_server_list: no answer")
    assert explained.endswith("the run is invalid")


def test_starved_gates_are_noted(gpu: str) -> None:
    """By what made them open; the counters of each seat are in the record."""
    with opened(LAUNCH_TOKENS) as hosting:
        environment = hosting.environment(launch(), 2)
        with GateFile.attach(Path(environment["GATE_FILE"])) as file:
            slot = file.slots[2]
            slot.words[184 // 8 - 2] = 3  # deadline_opens, as the gate would count
            slot.words[184 // 8 - 1] = 4  # stale_opens
            assert (slot.read("deadline_opens"), slot.read("stale_opens")) == (3, 4)
        report = hosting.host.conclude([])
    assert report.record["gate"]["seats"][0]["deadline_opens"] == 3
    assert [note for note in report.notes if note.startswith("gates starved")] == [
        "gates starved: 3 launches passed without tokens since a launch had waited too long",
        "gates starved: 4 launches passed without tokens since the controller's heartbeat was stale",
    ]


def test_a_host_without_nvml_is_not_sampled(
    gpu: str, nvml: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The run goes on, and says so."""
    nvml.fails["nvmlInit"] = 9
    with opened(TURNS) as hosting:
        hosting.host.begin(0)
        report = hosting.host.conclude([])
        hosting.host.write_samples(tmp_path)
    assert "the device was not sampled: NVML does not start: error 9" in report.notes
    assert report.record["sampling"][0]["reason"] == "NVML does not start: error 9"
    assert list(tmp_path.iterdir()) == []


def test_samples_are_on_the_clock_of_the_run(gpu: str, tmp_path: Path) -> None:
    """Time 0 is what the world says it is, here 100 s ago; each GPU has a file of its own."""
    with opened(TURNS) as hosting:
        hosting.host.begin(time.monotonic_ns() - 100 * 10**9)
        hosting.host.begin(time.monotonic_ns())  # as if there were a second GPU
        time.sleep(0.05)
        hosting.host.conclude([])
        hosting.host.write_samples(tmp_path)
    first = pq.read_table(tmp_path / "device_samples.parquet").to_pydict()
    other = pq.read_table(tmp_path / "device_samples-gpu1.parquet").to_pydict()
    assert 100.0 <= first["time_s"][0] < 160.0
    assert 0.0 <= other["time_s"][0] < 60.0


def test_letting_go_opens_every_gate_and_wakes_who_waits(gpu: str) -> None:
    """Whatever rate a controller stored, or still stores."""
    with opened(LAUNCH_TOKENS) as hosting:
        path = Path(hosting.environment(launch(), 7)["GATE_FILE"])
        hosting.throttle.sit_down(7, 1000.0)
        hosting.throttle.apply(7, 0.5)
        with GateFile.attach(path) as file:
            epoch = file.read("epoch")
            assert (file.slots[7].read("mode"), file.slots[7].read("rate")) == (Mode.ENFORCE, 500)
            hosting.host.let_go()
            hosting.throttle.apply(7, 0.1)
            assert (file.slots[7].read("mode"), file.read("epoch")) == (Mode.OFF, epoch + 1)


def test_a_host_that_was_left_can_be_left_again(gpu: str) -> None:
    """Nothing is ended twice."""
    host = CudaHost(sharing=LAUNCH_TOKENS, gpus=1, trains=trains, quota=None)
    with host:
        pass
    host.__exit__(None, None, None)
