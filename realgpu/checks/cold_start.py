"""A start-up taken apart: process, imports, context, network, weights from where they lie, first answer."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from realgpu.checks.driver import need_driver
from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject, SubjectError

_PART_WITHIN_S: Final = 90.0
_CHUNK_BYTES: Final = 2**26
_SHARED_MEMORY: Final = Path("/dev/shm")
_BIG_BYTES: Final = 4 * 10**9
"""A model with more weights is started once; assumed."""

_COPIES_ON_HOST: Final = 6
"""Weights lie on the host in three copies at most; twice that much is to be available."""


def cold_start(findings: Findings, settings: Settings) -> list[str]:
    """Start each model in new processes, and measure each part."""
    need_driver()
    if not settings.use_torch:
        raise Skipped("without torch there is no start-up to take apart")
    faults: list[str] = []
    headlines: dict[str, str] = {}
    reason = "no model was asked for"
    for model in settings.cold_start_models:
        starts: list[dict[str, Any]] = []
        while len(starts) < _starts_wanted(starts, settings):
            try:
                starts.append(_start(model, settings))
            except (Skipped, SubjectError) as error:
                findings.note(f"{model}: not done", reason := str(error))
                if isinstance(error, SubjectError) and not is_shortage(error):
                    faults.append(f"{model}: {error}")
                break
            medians = _medians(starts)
            findings.note(model, {"starts": starts, "median_s": medians})
            parts = ("process_s", "import_torch_s", "context_s", "build_s", "first_inference_s")
            headlines[model] = f"{model} {sum(medians[part] for part in parts):.1f} s"
            findings.note("headline", ", ".join(headlines.values()) + " without copying weights")
    if not headlines and not faults:
        raise Skipped(reason)
    return faults


def is_shortage(error: SubjectError) -> bool:
    """Whether a model does not fit: no fault of the host."""
    return "out of memory" in str(error)


def _starts_wanted(starts: list[dict[str, Any]], settings: Settings) -> int:
    is_big = bool(starts) and starts[0]["weights_bytes"] > _BIG_BYTES
    return 1 if is_big else settings.cold_start_repeats


def _start(model: str, settings: Settings) -> dict[str, Any]:
    """Start a model once; return the seconds of each part."""
    with Subject(f"start of {model}") as subject:
        imported = subject.ask("torch", "import_torch", _PART_WITHIN_S)
        parts: dict[str, Any] = {
            "process_s": time.monotonic() - subject.started_s - imported["seconds"],
            "import_torch_s": imported["seconds"],
        }
        parts["context_s"] = subject.ask("torch", "make_context", _PART_WITHIN_S)["seconds"]
        if settings.scale == "full":  # the small ones need it not
            imported = subject.ask("torch", "import_transformers", _PART_WITHIN_S)
            parts["import_transformers_s"] = imported["seconds"]
        built = subject.ask("torch", "build", _PART_WITHIN_S, model=model, scale=settings.scale)
        parts |= {"build_s": built["seconds"], "weights_bytes": built["weights_bytes"]}
        parts["weights"] = _weights(subject, built["weights_bytes"], settings)
        first, second = (subject.ask("torch", "serve", _PART_WITHIN_S, batch=1) for _ in range(2))
        return {**parts, "first_inference_s": first["seconds"], "second_inference_s": second["seconds"]}


def _weights(subject: Subject, weights_bytes: int, settings: Settings) -> dict[str, Any]:
    """Copy weights from everywhere they may lie."""
    size = min(weights_bytes, settings.most_weights_bytes, _available_bytes() // _COPIES_ON_HOST)
    disk = Path(settings.disk_folder or tempfile.gettempdir())
    found: dict[str, Any] = {}
    for name in ("pageable", "pinned"):
        found[name] = subject.ask(
            "torch", "copy_weights", _PART_WITHIN_S, source=name, path=None, most_bytes=size
        )
    for name, folder, cached in (("shared_memory", _SHARED_MEMORY, True), ("disk", disk, False)):
        free = _free_bytes(folder)
        if free < 2 * size:
            found[name] = {"not_done": f"{folder} has {free} bytes free, {2 * size} are wanted"}
            continue
        with file_of_bytes(folder, size) as path:
            if not cached:
                forget(path)
            found[name] = subject.ask(
                "torch", "copy_weights", _PART_WITHIN_S, source="file", path=str(path), most_bytes=size
            )
    return found


def _available_bytes() -> int:
    """Return the memory that this host can spare (`MemAvailable` of /proc/meminfo)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0


def _medians(starts: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name, value in starts[0].items() if name.endswith("_s") and isinstance(value, float)]
    return {name: statistics.median(start[name] for start in starts if name in start) for name in names}


def _free_bytes(folder: Path) -> int:
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


@contextmanager
def file_of_bytes(folder: Path, size: int) -> Iterator[Path]:
    """Make a file of random bytes, written through to its medium; it goes at the end."""
    descriptor, name = tempfile.mkstemp(prefix="dilu-weights-", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            chunk = os.urandom(min(size, _CHUNK_BYTES))
            for begun in range(0, size, _CHUNK_BYTES):
                file.write(chunk[: size - begun])
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def forget(path: Path) -> None:
    """Have the kernel drop what it caches of a file, so that it is read from its medium."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
