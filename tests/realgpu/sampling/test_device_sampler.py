from __future__ import annotations

import builtins
import csv
import importlib.util
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_pynvml import FakePynvml
from hypothesis import given
from hypothesis import strategies as st

from realgpu.sampling import DEVICE_UNITS, DeviceSampler, NvmlDevice, SampleTable, take_inventory
from realgpu.sampling.activity import ActivityMeter

_SOURCES = Path(__file__).resolve().parents[3] / "realgpu" / "sampling"


def wait_for(ready: Callable[[], bool]) -> None:
    """Wait until a thread got somewhere; generous, as the machine may be busy."""
    deadline = time.monotonic() + 20
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert ready()


def sampled(nvml: FakePynvml, rows: int = 4, **settings: float) -> DeviceSampler:
    """Return a sampler that has ended, with some rows of both tables where there are two."""
    settings = {"device_hz": 200.0, "activity_hz": 100.0, "longest_s": 60.0, **settings}
    with DeviceSampler(binding=nvml, **settings) as sampler:
        activity = sampler.activity()
        wait_for(lambda: sampler.record()["rows"] >= rows)
        wait_for(lambda: activity is None or len(activity) >= rows)
    assert sampler.reason is None
    return sampler


def test_samples_are_what_the_device_said_in_our_units() -> None:
    """Watts, joules, shares and bytes, in a thread of their own; NVML is let go."""
    nvml = FakePynvml()
    samples = sampled(nvml).samples()
    assert samples is not None
    columns = samples.columns()
    assert list(columns) == list(DEVICE_UNITS)
    first = {name: column[0] for name, column in columns.items()}
    assert 100.0 < first.pop("power_w") < 101.0
    assert first.pop("time_s") < 20
    assert first == {
        "energy_j": 5000.5,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "kernel_running": 0.99,
        "memory_busy": 0.07,
        "memory_used_bytes": 1e9,
        "temperature_c": 41,
        "clock_event_reasons": 4,
    }
    assert np.all(np.diff(columns["time_s"]) > 0)
    assert np.all(np.diff(columns["power_w"]) > 0)
    assert nvml.thread_names == {"device-sampler"}
    assert nvml.started == 0


def test_activity_is_the_share_between_two_samples() -> None:
    """Percent become shares, a metric that failed is missing, and both samples are freed."""
    nvml = FakePynvml()
    activity = sampled(nvml).activity()
    assert activity is not None
    columns = activity.columns()
    assert set(columns["sm_active"]) == {0.75}
    assert set(columns["tensor_active"]) == {0.25}
    assert set(columns["dram_active"]) == {0.125}
    assert np.all(np.isnan(columns["sm_occupancy"]))
    assert nvml.samples == set()


def test_sampling_calls_only_functions_that_read() -> None:
    """Every function that was called, and every one in the sources, is a get or an ask of GPM."""
    nvml = FakePynvml()
    sampled(nvml)
    gpm = "GpmQueryDeviceSupport|GpmSampleAlloc|GpmSampleGet|GpmSampleFree|GpmMetricsGet"
    reads = rf"nvml(Init|Shutdown|DeviceGet\w+|SystemGet\w+|{gpm})"
    assert len(set(nvml.calls)) > 20
    assert [name for name in nvml.calls if not re.fullmatch(reads, name)] == []
    sources = "".join(path.read_text() for path in _SOURCES.glob("*.py")).replace(".nvmlReturn", "")
    written = set(re.findall(r"\.(nvml\w+)", sources))
    assert set(nvml.calls) - {"nvmlDeviceGetHandleByUUID"} <= written
    assert [name for name in written if not re.fullmatch(reads, name)] == []


def test_the_real_binding_has_every_name() -> None:
    """What the sources ask of the binding is in nvidia-ml-py."""
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("nvidia-ml-py is not installed")
    pynvml = importlib.import_module("pynvml")
    names = {
        name
        for path in _SOURCES.glob("*.py")
        for name in re.findall(r"nvml\.(nvml\w+|NVML\w+|c_nvml\w+)", path.read_text())
    }
    assert len(names) > 25
    assert [name for name in names if not hasattr(pynvml, name)] == []


def test_a_reading_that_fails_is_counted_and_the_rest_goes_on() -> None:
    """Errors leave holes, not gaps: the other columns are filled and the run is told how often."""
    nvml = FakePynvml()
    nvml.fails["nvmlDeviceGetPowerUsage"] = 999
    sampler = sampled(nvml)
    samples = sampler.samples()
    assert samples is not None
    assert np.all(np.isnan(samples.columns()["power_w"]))
    assert np.all(samples.columns()["sm_clock_mhz"] == 1980)
    record = sampler.record()
    assert record["errors"] == {"power": len(samples)}
    assert record["first_errors"] == {"power": "error 999"}


def test_a_reading_that_fails_for_a_while_comes_back() -> None:
    """An error that passes costs the rows it lasted."""
    nvml = FakePynvml()
    nvml.fails["nvmlDeviceGetPowerUsage"] = 999
    with DeviceSampler(binding=nvml, device_hz=200, longest_s=60) as sampler:
        wait_for(lambda: sampler.record()["rows"] >= 3)
        del nvml.fails["nvmlDeviceGetPowerUsage"]
        rows = sampler.record()["rows"]
        wait_for(lambda: sampler.record()["rows"] >= rows + 3)
    samples = sampler.samples()
    assert samples is not None
    power = samples.columns()["power_w"]
    assert np.isnan(power[0])
    assert not np.isnan(power[-1])


def test_what_the_device_does_not_support_is_asked_once() -> None:
    """A reading that is not supported is named and left alone from then on."""
    nvml = FakePynvml()
    nvml.fails["nvmlDeviceGetTotalEnergyConsumption"] = 3
    nvml.lacks.add("nvmlDeviceGetCurrentClocksEventReasons")
    sampler = sampled(nvml)
    assert sampler.record()["errors"] == {}
    assert set(sampler.record()["unsupported"]) == {"energy", "clock_event_reasons"}
    assert nvml.calls.count("nvmlDeviceGetTotalEnergyConsumption") == 1
    assert nvml.calls.count("nvmlDeviceGetCurrentClocksEventReasons") == 1


@pytest.mark.parametrize("how", ["says no", "refuses", "has no function"])
def test_without_gpm_there_is_no_activity(how: str) -> None:
    """A device, a virtual machine or an old driver without GPM has the device table alone."""
    nvml = FakePynvml()
    if how == "says no":
        nvml.gpm = 0
    else:
        nvml.fails["nvmlGpmQueryDeviceSupport"] = {"refuses": 3, "has no function": 13}[how]
    sampler = sampled(nvml)
    assert sampler.activity() is None
    assert "gpm" in sampler.record()["unsupported"]
    assert "nvmlGpmSampleAlloc" not in nvml.calls


def test_a_failed_gpm_sample_is_never_paired() -> None:
    """After a sample that failed the next one starts a new pair, and gives no share yet."""
    nvml = FakePynvml()
    device = NvmlDevice(0, nvml)
    meter = ActivityMeter(device)
    assert [meter.read() is None for _ in range(3)] == [True, False, False]
    nvml.fails["nvmlGpmSampleGet"] = 999
    assert meter.read() is None
    del nvml.fails["nvmlGpmSampleGet"]
    assert [meter.read() is None for _ in range(3)] == [True, False, False]
    assert device.errors == {"gpm": 1}
    meter.close()
    assert nvml.samples == set()


def test_a_gpm_sample_that_cannot_be_had_frees_the_other() -> None:
    """Where only the allocation fails there is no activity, and nothing is held."""
    nvml = FakePynvml()
    nvml.fails["nvmlGpmSampleAlloc"] = 20
    sampler = sampled(nvml)
    assert sampler.activity() is None
    assert nvml.samples == set()


@pytest.mark.parametrize(
    ("fails", "device", "reason"),
    [
        ("nvmlInit", 0, "NVML does not start: error 9"),
        (None, 1, "device 1: "),
        (None, "GPU-2", "device GPU-2: "),
    ],
)
def test_without_a_device_there_is_a_reason_and_nothing_else(
    fails: str | None, device: int | str, reason: str, tmp_path: Path
) -> None:
    """No driver and no such device are reasons, not errors; nothing runs and nothing is written."""
    nvml = FakePynvml()
    if fails is not None:
        nvml.fails[fails] = 9
    before = threading.active_count()
    with DeviceSampler(device, binding=nvml) as sampler:
        assert threading.active_count() == before
        assert (sampler.inventory(), sampler.samples(), sampler.activity()) == (None, None, None)
    assert (sampler.reason or "").startswith(reason)
    assert sampler.write(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert nvml.started == 0
    assert json.loads(json.dumps(sampler.record()))["inventory"] is None


def test_without_the_package_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The binding is imported when a sampler starts, not before, and may be missing."""
    real = builtins.__import__

    def refuse(name: str, *arguments: object, **named: object) -> object:
        if name == "pynvml":
            raise ImportError("No module named 'pynvml'")
        return real(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with DeviceSampler() as sampler:
        assert "install nvidia-ml-py" in (sampler.reason or "")


def test_a_binding_that_breaks_ends_the_samples_not_the_run() -> None:
    """An exception of another kind is kept as the reason, with the rows so far."""
    nvml = FakePynvml()

    def breaks() -> None:
        if nvml.ticks > 20:
            raise TypeError("odd")

    nvml.before_power = breaks
    with DeviceSampler(binding=nvml, device_hz=200, activity_hz=200) as sampler:
        wait_for(lambda: sampler.reason is not None)
    assert sampler.reason == "sampling ended: TypeError: odd"
    assert sampler.record()["rows"] > 0
    assert (nvml.started, nvml.samples) == (0, set())


def test_a_full_table_keeps_the_first_rows_and_counts_the_rest() -> None:
    """Memory is bounded: what comes after the limit is counted."""
    nvml = FakePynvml()
    with DeviceSampler(binding=nvml, device_hz=200, activity_hz=1, longest_s=0.02) as sampler:
        wait_for(lambda: sampler.record()["unrecorded_rows"] > 3)
    assert sampler.record()["rows"] == 5
    samples = sampler.samples()
    assert samples is not None
    assert samples.columns()["power_w"][0] < 100.01


def test_a_slow_reading_misses_times_and_says_so() -> None:
    """Times that were missed are counted, and rows stay on the grid of the start."""
    nvml = FakePynvml()
    nvml.before_power = lambda: time.sleep(0.03)
    sampler = sampled(nvml, rows=3, device_hz=100.0)
    assert sampler.record()["missed_readings"] >= 4


def test_the_origin_is_the_zero_of_time() -> None:
    """Rows stand on the clock of the run."""
    nvml = FakePynvml()
    with DeviceSampler(binding=nvml, device_hz=200, origin_s=time.monotonic() - 1000) as sampler:
        wait_for(lambda: sampler.record()["rows"] > 0)
    samples = sampler.samples()
    assert samples is not None
    assert 1000 <= samples.columns()["time_s"][0] < 1020


def test_stopping_ends_the_thread_and_twice_is_once() -> None:
    """No thread is left, and NVML is let go once."""
    nvml = FakePynvml()
    sampler = sampled(nvml)
    sampler.stop()
    assert nvml.started == 0
    assert "device-sampler" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="already started"):
        sampler.start()


def test_the_inventory_is_as_found() -> None:
    """Names, versions, sizes and modes, as a manifest keeps them."""
    nvml = FakePynvml()
    device = NvmlDevice("GPU-1", nvml)
    inventory = json.loads(json.dumps(take_inventory(device).as_json(), allow_nan=False))
    device.close()
    assert inventory == {
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-1",
        "driver": "580.159.03",
        "cuda": "13.1",
        "compute_capability": "9.0",
        "memory_bytes": 85_520_809_984,
        "sm_count": 132,
        "cores": 16896,
        "compute_mode": "default",
        "mig_mode": "off",
        "persistence_mode": "on",
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "max_sm_clock_mhz": 1985,
        "max_memory_clock_mhz": 2620,
        "power_limit_w": 700.0,
        "pcie_generation": 5,
        "pcie_width": 16,
        "missing": {},
    }


def test_an_inventory_with_holes_says_why() -> None:
    """What the device does not tell is missing with its reason, and the rest is there."""
    nvml = FakePynvml()
    nvml.fails.update(nvmlDeviceGetAttributes_v2=3, nvmlDeviceGetMigMode=999)
    nvml.lacks.add("nvmlDeviceGetNumGpuCores")
    inventory = take_inventory(NvmlDevice(0, nvml))
    assert (inventory.sm_count, inventory.cores, inventory.mig_mode) == (None, None, None)
    assert set(inventory.missing) == {"sm_count", "cores", "mig_mode"}
    assert inventory.missing["mig_mode"] == "error 999"
    assert inventory.name == "NVIDIA H100 80GB HBM3"


def test_tables_are_written_beside_a_run(tmp_path: Path) -> None:
    """Parquet carries units and nulls; CSV the same numbers and empty fields."""
    nvml = FakePynvml()
    nvml.fails["nvmlDeviceGetPowerUsage"] = 999
    sampler = sampled(nvml)
    samples = sampler.samples()
    assert samples is not None
    assert [path.name for path in sampler.write(tmp_path)] == [
        "device_samples.parquet",
        "device_activity.parquet",
    ]
    table = pq.read_table(tmp_path / "device_samples.parquet")
    units = {field.name: field.metadata[b"unit"].decode() for field in table.schema}
    assert units == DEVICE_UNITS
    assert table["power_w"].null_count == len(samples) == table.num_rows
    sampler.write(tmp_path, ".csv")
    with (tmp_path / "device_samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["power_w"] for row in rows} == {""}
    assert [float(row["time_s"]) for row in rows] == table["time_s"].to_pylist()
    with pytest.raises(ValueError, match=r"allowed are \.parquet and \.csv"):
        sampler.write(tmp_path, ".json")


@pytest.mark.parametrize("setting", ["device_hz", "activity_hz", "longest_s"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_rates_out_of_range_are_refused(setting: str, value: float) -> None:
    """A rate must be finite and above 0."""
    with pytest.raises(ValueError, match=setting):
        DeviceSampler(**{setting: value})


@given(st.lists(st.floats(allow_nan=False) | st.none(), max_size=12), st.integers(0, 8))
def test_a_table_keeps_the_first_rows_as_they_came(values: list[float | None], capacity: int) -> None:
    """Rows up to the capacity come back in order, the rest is counted, and columns are copies."""
    table = SampleTable({"time_s": "s", "x": "m"}, capacity)
    for place, value in enumerate(values):
        table.append({"time_s": place, "x": value})
    kept = [np.nan if value is None else value for value in values[:capacity]]
    assert len(table) == len(kept)
    assert table.unrecorded == len(values) - len(kept)
    columns = table.columns()
    np.testing.assert_array_equal(columns["x"], kept)
    columns["x"][:] = 7.0
    np.testing.assert_array_equal(table.columns()["x"], kept)
