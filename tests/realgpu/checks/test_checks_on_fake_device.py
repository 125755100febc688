"""The checks on a pretended H100: what they find there is so, and what is wrong there is found."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_host import QUICK, FakeHost

from realgpu.checks import CheckRecord, gate_checks, mps_checks
from realgpu.checks.record import Skipped
from realgpu.checks.runner import mps_folder


def failing(records: dict[str, CheckRecord]) -> dict[str, str | None]:
    """The checks that failed, with their reasons."""
    return {name: record.reason for name, record in records.items() if record.passed is False}


def folder_of_mps() -> Path:
    """Where the fake MPS lies."""
    return Path(os.environ["FAKE_MPS"])


def test_the_gate_is_found_to_work(host: FakeHost) -> None:
    """It builds, and counts each launch; all of it through processes, as in earnest."""
    records = host.make("gate_build", "gate_effective", "mps_start")
    assert failing(records) == {}
    assert records["gate_effective"].found["driver"] == {"launched": 100, "counted": 100}
    start = records["mps_start"].found
    assert start["capability"]["version"] == "MPS control daemon 580.159"
    assert list(start["server_statuses"].values()) == ["ACTIVE"]
    assert start["record"]["shell_help"].startswith("get_server_list")
    assert (start["ending"]["how"], start["ending"]["left"]) == ("quit", [])


def test_rates_hold_a_process_to_its_share(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half and a quarter of what it spent alone, on a busy machine not to the last per cent."""
    monkeypatch.setattr(gate_checks, "_SHARE_TOLERANCE", 0.2)
    found, faults = host.look("gate_rates", replace(QUICK, busy_s=0.4))
    assert faults == []
    rates = found["driver"]
    assert 0 < rates["iterations_per_s"] < 1300  # 8 launches of 0.1 ms each
    assert {share: one["deadline_opens"] for share, one in rates["achieved"].items()} == {"0.5": 0, "0.25": 0}


def test_a_rate_that_does_not_hold_is_found(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that stays open lets everything through."""
    monkeypatch.setattr(gate_checks.Gated, "set_rate", lambda self, rate, burst: None)
    _, faults = host.look("gate_rates", replace(QUICK, busy_s=0.05))
    assert [fault.partition(" it achieves ")[0] for fault in faults] == [
        "driver: at a rate of 50%",
        "driver: at a rate of 25%",
    ]


def test_a_graph_is_captured_while_the_gate_is_shut(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the capture is held up or charged; its launches are."""
    monkeypatch.setattr(gate_checks, "_SHARE_TOLERANCE", 0.2)
    found, faults = host.look("gate_graph")
    assert faults == []
    graph = found["driver"]
    assert graph["while_capturing"]["captured_launches"] == 32
    assert graph["while_capturing"]["blocked"] == graph["while_capturing"]["spent"] == 0
    assert graph["charged"]["spent"] == 20 * graph["graph_cost"] == 20 * 32 * 132 * 8


def test_a_capture_that_is_held_up_is_found(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate is shut while a graph is captured: a launch that it takes for any other waits."""
    monkeypatch.setenv("FAKE_CAPTURE_UNSEEN", "1")
    monkeypatch.setattr(gate_checks, "_GRAPH_LAUNCHES", 1)
    found, faults = host.look("gate_graph")
    assert faults[0].startswith("driver: capturing was held up (1 launches, ")
    assert faults[1] == "driver: of 1 captured launches 0 were seen"
    assert "achieved_at_half_rate" not in found["driver"]


def test_a_launch_is_measured_in_every_state_of_the_gate(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare, off, counted, open and enforced all have a cost; one that is too dear is found."""
    monkeypatch.setattr(gate_checks, "_MOST_EXTRA_US", -1e6)
    found, faults = host.look("gate_overhead")
    costs = found["driver"]["us_per_launch"]
    assert set(costs) == {"bare", "off", "counted", "open", "enforced"}
    assert all(0 < cost < 10_000 for cost in costs.values())
    assert found["driver"]["extra_us"] == pytest.approx(costs["enforced"] - costs["bare"])
    assert len(faults) == 1
    assert faults[0].endswith("us more under the gate")


def test_what_mps_says_is_kept_and_read(host: FakeHost) -> None:
    """Its words stand as they are, our own reading takes them, and `quit -t` ends it."""
    found, faults = host.look("mps_control_texts")
    assert faults == []
    assert found["said"]["no_such_command (one client)"] == "Invalid command"
    assert found["active_without_clients"] == "ACTIVE"
    assert found["quit -t 3"] == ""


def test_clients_get_what_their_percentage_says(host: FakeHost) -> None:
    """SMs and rates grow with it, and two at one half have the same SMs."""
    found, faults = host.look("mps_clients")
    assert faults == []
    assert [found[f"{percentage} %"]["sms_used"] for percentage in (10, 25, 50, 100)] == [12, 32, 66, 132]
    assert found["25 %"]["sm_ids"] == "0-31"
    assert found["10 %"]["attribute_16"] == 12
    assert found["10 %"]["in_client_list"] is True
    assert found["two at 50 %"]["sms_in_common"] == 66
    assert found["headline"].startswith("SMs used at 10 %: 12, 25 %: 32, ")


def test_clients_that_are_none_are_found(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that missed the daemon is told nothing; the driver's word and its SMs tell it."""
    monkeypatch.setenv("FAKE_MPS_MISSED", "1")
    monkeypatch.setattr(mps_checks, "PERCENTAGES", (50, 100))
    _, faults = host.look("mps_clients")
    assert "at 50 % device attribute 133 is 0, not 1" in faults
    assert "at 50 % blocks ran on 132 of 132 SMs" in faults


def test_mps_that_does_not_start_fails_once(host: FakeHost) -> None:
    """One check says so, those that build upon it are not made."""
    (folder_of_mps() / "mode").write_text("dies")
    _, faults = host.look("mps_start")
    assert len(faults) == 1
    assert "already running" in faults[0]
    with pytest.raises(Skipped, match="no MPS: the daemon ended"):
        host.look("client_endings")


def test_mps_that_is_not_on_the_path_is_used_where_it_was_found() -> None:
    """What the inventory finds on disk is put on the path of the checks after it."""
    files = {"found": ["/opt/x/nvidia-cuda-mps-server", "/opt/y/nvidia-cuda-mps-control"]}
    found = {"mps": {"control_path": None}, "mps_files": files}
    assert mps_folder([CheckRecord("inventory", True, 1.0, found)]) == "/opt/y"
    on_path = {**found, "mps": {"control_path": "/usr/bin/nvidia-cuda-mps-control"}}
    assert mps_folder([CheckRecord("inventory", True, 1.0, on_path)]) is None
    assert mps_folder([]) is None


def test_green_contexts_give_parts(host: FakeHost) -> None:
    """By eights up to all, larger ones faster."""
    found, faults = host.look("green_contexts")
    assert faults == []
    sizes = {name: one["sm_count"] for name, one in found.items() if name.endswith(" SMs")}
    assert list(sizes.values()) == [*range(8, 129, 8), 132]
    assert found["64 SMs"]["sm_ids"] == "0-63"
    assert found["128 SMs"]["compute_flops"] > 2 * found["8 SMs"]["compute_flops"]


def test_whether_two_clients_share_their_parts_is_told(host: FakeHost) -> None:
    """Both carve one half; the pretended device gives both the same one."""
    found, faults = host.look("green_contexts_under_mps")
    assert faults == []
    assert (found["sms_in_common"], found["disjoint"]) == (64, False)
    assert found["headline"] == "two clients with a part of 64 SMs each have 64 SMs in common"


def test_a_part_that_is_larger_than_promised_is_found(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that run beside the part show it."""
    monkeypatch.setenv("FAKE_GREEN_EXTRA", "2")
    _, faults = host.look("green_contexts")
    assert faults[0] == "of a part of 8 SMs blocks used 10"


def test_an_older_driver_has_no_green_contexts(
    host: FakeHost, drivers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no fault; the record names what the driver lacks."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(drivers["old"]))
    monkeypatch.setenv("FAKE_CUDA_VERSION", "12020")
    with pytest.raises(
        Skipped, match=r"driver for CUDA 12020 \(from 12040 on\) lacks cuDeviceGetDevResource"
    ):
        host.look("green_contexts")


def test_a_terminated_client_takes_no_other_with_it(host: FakeHost) -> None:
    """It is told 810, and the others and later ones go on."""
    found, faults = host.look("client_endings")
    assert faults == []
    assert found["busy_client"]["code"] == 810
    assert found["surviving_client"]["iterations"] > 0
    assert found["later_client"] == 132


def test_power_is_sampled_while_the_device_works(
    host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least, median and most of what NVML said; a software power cap is told, and is no slowdown."""
    folder = tmp_path / "binding"
    folder.mkdir()
    (folder / "pynvml.py").write_text(
        "from fake_pynvml import FakePynvml\n"
        "_device = FakePynvml()\n"
        "def __getattr__(name):\n    return getattr(_device, name)\n"
    )
    monkeypatch.syspath_prepend(folder)
    records = host.make("power_and_clocks", "inventory", settings=replace(QUICK, busy_s=0.05))
    assert failing(records) == {}
    found = records["power_and_clocks"].found
    assert found["device"]["power_w"]["least"] > 100
    assert found["device"]["sm_clock_mhz"] == {"least": 1980, "median": 1980, "most": 1980}
    assert found["clock_events"] == ["software power cap"]
    inventory = records["inventory"].found
    assert inventory["nvml"]["name"] == "NVIDIA H100 80GB HBM3"
    assert inventory["headline"] == (
        "NVIDIA H100 80GB HBM3, driver 580.159.03, CUDA 13.1, MPS: MPS control daemon 580.159"
    )


def test_a_device_that_is_none_is_no_fault(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without a device says so."""
    monkeypatch.setenv("FAKE_CUDA_INIT", "100")
    with pytest.raises(Skipped, match=r"no device \(cuInit: 100 CUDA_ERROR_NO_DEVICE\)"):
        host.look("green_contexts")
