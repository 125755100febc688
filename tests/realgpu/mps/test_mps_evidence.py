from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_mps import FakeMps

from realgpu.mps import MpsControl, collect


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build the fake driver, with and without names of errors."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the fake driver")
    folder = tmp_path_factory.mktemp("libcuda")
    source = str(Path(__file__).with_name("fake_libcuda.c"))
    built = {"full": [], "nameless": ["-DWITHOUT_NAMES"]}
    for name, options in built.items():
        subprocess.run(
            [compiler, "-shared", "-fPIC", *options, "-o", folder / f"{name}.so", source], check=True
        )
    return {name: str(folder / f"{name}.so") for name in built}


@pytest.fixture(autouse=True)
def _no_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the host's environment says of MPS."""
    for name in [name for name in os.environ if name.startswith("CUDA_")]:
        monkeypatch.delenv(name)


def test_a_process_under_mps_knows_it(libraries: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Attribute 133 decides, and the SM count is what the cap left."""
    monkeypatch.setenv("FAKE_CUDA_SMS", "66")
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "50")
    evidence = collect(libcuda=libraries["full"])
    assert evidence.runs_under_mps
    assert (evidence.driver, evidence.mps_enabled, evidence.sm_count) == (13000, 1, 66)
    assert (evidence.percentage, evidence.pid, evidence.reason) == ("50", os.getpid(), None)
    assert evidence.in_client_list is None


def test_attribute_0_is_not_mps_whatever_else_is_said(
    libraries: dict[str, str], fake: FakeMps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an environment nor a place in the client list makes a run MPS."""
    fake.set_clients(os.getpid())
    with fake.supervisor() as supervisor:
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(supervisor.control.pipe_directory))
        monkeypatch.setenv("FAKE_CUDA_MPS", "0")
        evidence = collect(libcuda=libraries["full"])
    assert evidence.in_client_list is True
    assert not evidence.runs_under_mps


def test_an_attribute_that_cannot_be_read_is_not_mps(
    libraries: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed question leaves no value, though the driver wrote one."""
    monkeypatch.setenv("FAKE_CUDA_MPS_CODE", "1")
    evidence = collect(libcuda=libraries["full"])
    assert (evidence.mps_enabled, evidence.sm_count) == (None, 132)
    assert not evidence.runs_under_mps
    assert evidence.reason == "cuDeviceGetAttribute: 1"


def test_another_process_in_the_client_list_is_not_this_one(libraries: dict[str, str], fake: FakeMps) -> None:
    """Only the own number counts."""
    fake.set_clients(os.getpid() + 1)
    with fake.supervisor() as supervisor:
        assert collect(control=supervisor.control, libcuda=libraries["full"]).in_client_list is False


def test_without_a_driver_there_is_a_reason_and_no_exception() -> None:
    """On a host without a GPU the record says so."""
    evidence = collect(libcuda="libcuda-that-is-not-there.so.1")
    assert evidence.driver is None
    assert evidence.reason is not None
    assert evidence.reason.startswith("no driver (")
    assert not evidence.runs_under_mps


def test_errors_of_the_driver_are_named(libraries: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken server, a device that is not there and a driver that names nothing."""
    assert collect(3, libcuda=libraries["full"]).reason == "cuDeviceGet: 101 CUDA_ERROR_INVALID_DEVICE"
    monkeypatch.setenv("FAKE_CUDA_INIT", "805")
    evidence = collect(libcuda=libraries["full"])
    assert evidence.reason == "cuInit: 805 CUDA_ERROR_MPS_CONNECTION_FAILED"
    assert (evidence.driver, evidence.mps_enabled) == (13000, None)
    assert collect(libcuda=libraries["nameless"]).reason == "cuInit: 805"


def test_a_library_that_is_no_driver_is_a_reason() -> None:
    """A file that loads and has none of the functions is told by the first that lacks."""
    evidence = collect(libcuda="libc.so.6")
    assert evidence.mps_enabled is None
    assert "cuInit: not in libc.so.6" in (evidence.reason or "")


def test_a_daemon_that_does_not_answer_is_a_reason(libraries: dict[str, str], tmp_path: Path) -> None:
    """The driver's word stands though the client list is unknown."""
    control = MpsControl(tmp_path, binary=tmp_path / "none")
    evidence = collect(control=control, libcuda=libraries["full"])
    assert evidence.runs_under_mps
    assert evidence.in_client_list is None
    assert "client list: " in (evidence.reason or "")


def test_evidence_is_json(libraries: dict[str, str]) -> None:
    """A manifest can hold it, the judgement included."""
    record = json.loads(json.dumps(collect(libcuda=libraries["full"]).as_json(), allow_nan=False))
    assert record["runs_under_mps"] is True
    assert record["mps_enabled"] == 1
