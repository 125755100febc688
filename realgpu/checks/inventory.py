"""What the host is, and what is on it: the first thing to know where nothing can be looked up later."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from realgpu.checks.driver import NoDriverError, need_driver
from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject, SubjectError

PACKAGES: Final = (
    "torch",
    "triton",
    "torchvision",
    "transformers",
    "nvidia-ml-py",
    "cuda-bindings",
    "cuda-core",
    "numpy",
    "scipy",
    "pydantic",
    "PyYAML",
    "pandas",
    "pyarrow",
    "simpy",
    "click",
    "rich",
    "matplotlib",
)

_COMMANDS: Final = {
    "nvidia_smi": ["nvidia-smi"],
    "nvidia_smi_query": ["nvidia-smi", "-q", "-d", "COMPUTE,CLOCK,POWER"],
    "compiler": ["cc", "--version"],
    "nvcc": ["nvcc", "--version"],
    "pci": ["lspci"],
}
"""All of them only print."""

_COMMAND_WITHIN_S: Final = 15.0
_LINES: Final = 60
_IMPORT_WITHIN_S: Final = 90.0
_MPS_NAME: Final = "nvidia-cuda-mps"
_SETTINGS_OF: Final = ("CUDA_", "NVIDIA_", "LD_")


def inventory(findings: Findings, settings: Settings) -> list[str]:
    """Look around."""
    findings.note("host", _host())
    findings.note("packages", {name: _version(name) for name in PACKAGES})
    for name, command in _COMMANDS.items():
        findings.note(name, _printed(command, only="nvidia" if name == "pci" else ""))
    findings.note("device_files", sorted(str(path) for path in Path("/dev").glob("nvidia*")))
    found = {"nvml": _nvml(), "mps": _mps(), "mps_files": _mps_files(Path("/"), settings.search_s)}
    for name, value in found.items():
        findings.note(name, value)
    findings.note("headline", _headline(found["nvml"], found["mps"], found["mps_files"]["found"]))
    if settings.use_torch:
        _torch(findings)
    try:
        need_driver()
    except NoDriverError as error:
        raise Skipped(f"looked around, and found {error}") from None
    return []


def _headline(nvml: dict[str, Any], mps: dict[str, Any], files: list[str]) -> str:
    device = nvml.get("not_done") or f"{nvml['name']}, driver {nvml['driver']}, CUDA {nvml['cuda']}"
    if mps["installed"]:
        return f"{device}, MPS: {mps['version'] or 'installed'}"
    return f"{device}, MPS {'not on the path, but on disk' if files else 'absent'}"


def _host() -> dict[str, Any]:
    shm = shutil.disk_usage("/dev/shm") if Path("/dev/shm").is_dir() else None
    return {
        "python": sys.version,
        "system": platform.platform(),
        "version": _first_lines(Path("/proc/version"), 1),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "memory": _first_lines(Path("/proc/meminfo"), 3),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "locked_memory": resource.getrlimit(resource.RLIMIT_MEMLOCK),
        "shared_memory_bytes": None if shm is None else {"total": shm.total, "free": shm.free},
        "temporary_files_free_bytes": shutil.disk_usage("/tmp").free if Path("/tmp").is_dir() else None,
        "user": os.getuid(),
        "product": _first_lines(Path("/sys/class/dmi/id/product_name"), 1),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(_SETTINGS_OF)
        },
    }


def _first_lines(path: Path, count: int) -> str | None:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[:count])
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _printed(command: list[str], only: str) -> str:
    """Return the first lines that a command prints, or why it printed none."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_WITHIN_S,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return f"[{command[0]}: {error.strerror}]"
    except subprocess.TimeoutExpired:
        return f"[{command[0]}: nothing within {_COMMAND_WITHIN_S:g} s]"
    return "\n".join([line for line in done.stdout.splitlines() if only in line.lower()][:_LINES])


def _nvml() -> dict[str, Any]:
    try:
        from realgpu.sampling import NoDeviceError, NvmlDevice, take_inventory
    except ImportError as error:  # numpy may be missing
        return {"not_done": str(error)}
    try:
        device = NvmlDevice()
    except NoDeviceError as error:
        return {"not_done": str(error)}
    try:
        return take_inventory(device).as_json()
    finally:
        device.close()


def _mps() -> dict[str, Any]:
    from realgpu.mps import probe

    return probe().as_json()


def _mps_files(root: Path, limit_s: float) -> dict[str, Any]:
    """Search one file system for the binaries of MPS, wherever they may lie, for a limited time."""
    begun_s = time.monotonic()
    found: list[str] = []
    medium = root.lstat().st_dev
    for folder, folders, files in os.walk(root):
        if time.monotonic() - begun_s > limit_s:
            return {"found": found, "searched": f"for {limit_s:g} s, not everywhere"}
        folders[:] = [name for name in folders if _is_on(medium, Path(folder) / name)]
        found += [str(Path(folder) / name) for name in files if name.startswith(_MPS_NAME)]
    return {"found": found, "searched": "everywhere on the root file system"}


def _is_on(medium: int, folder: Path) -> bool:
    try:
        return folder.lstat().st_dev == medium
    except OSError:
        return False


def _torch(findings: Findings) -> None:
    """Import what is imported in every worker, for the first time on this host, and ask about the device."""
    with Subject("first process with torch") as subject:
        for task in ("import_torch", "import_transformers", "facts"):
            try:
                findings.note(task, subject.ask("torch", task, _IMPORT_WITHIN_S))
            except (Skipped, SubjectError) as error:
                findings.note(task, {"not_done": str(error)})
