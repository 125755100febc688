"""The gate's library, compiled on first use and kept in a cache; and the environment that preloads it."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from realgpu.gate.errors import GateError

SOURCES = Path(__file__).parent
FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread")
LIBRARIES = ("-ldl",)
_COMPILERS = ("cc", "gcc", "clang")
_LONGEST_COMPILATION_S = 120


def build_gate(cache: Path | None = None, compiler: str | None = None) -> Path:
    """Return the library to preload, compiled now if it is not in the cache.

    The key is a hash of sources, compiler and flags, so nothing is ever out of date. Several processes may
    build at once: each compiles into a file of its own, which then takes the place of the others.

    Parameters
    ----------
    cache
        Folder, by default `$DILU_GATE_CACHE`, else `dilu-lab/gate` in `$XDG_CACHE_HOME` or `~/.cache`.
    compiler
        Command, by default `$CC`, else the first of cc, gcc, clang that is there.

    Raises
    ------
    GateError
        If there is no compiler, if it fails, or if the cache cannot be written or not be executed from.
    """
    command = _compiler(compiler)
    folder = cache or _cache_folder()
    path = folder / f"gate-{_key(command)}.so"
    if not path.is_file():
        _make_folder(folder)
        _compile(command, path)
    _check_executable(path)
    return path


def gate_environment(
    library: Path,
    file: Path,
    slot: int,
    *,
    times: Path | None = None,
    inflight: tuple[int, int] | None = None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of a worker whose launches pass the gate.

    Parameters
    ----------
    library, file, slot
        What `build_gate` returned, the path of a `GateFile` and the worker's place in it.
    times
        File of kernel times, for the cost model `TIME`.
    inflight
        `(K, R)`: before every K-th launch an event is recorded, and the one R events ago waited for.
    base
        What else is in it, by default this process's environment. Libraries that it preloads come later.
    """
    environment = dict(os.environ if base is None else base)
    preloaded = environment.get("LD_PRELOAD")
    environment["LD_PRELOAD"] = f"{library}:{preloaded}" if preloaded else str(library)
    environment["GATE_FILE"] = str(file)
    environment["GATE_SLOT"] = str(slot)
    if times is not None:
        environment["GATE_TIMES"] = str(times)
    if inflight is not None:
        environment["GATE_INFLIGHT"] = f"{inflight[0]},{inflight[1]}"
    return environment


def _compiler(named: str | None) -> list[str]:
    """Return the compiler's command, its first word an absolute path."""
    wanted = named or os.environ.get("CC")
    candidates = [shlex.split(wanted)] if wanted else [[name] for name in _COMPILERS]
    for candidate in candidates:
        found = shutil.which(candidate[0]) if candidate else None
        if found is not None:
            return [found, *candidate[1:]]
    tried = wanted or ", ".join(_COMPILERS)
    raise GateError(f"no C compiler found (tried {tried}): install gcc, set CC, or choose the Python gate")


def _cache_folder() -> Path:
    """Return where compiled gates are kept."""
    named = os.environ.get("DILU_GATE_CACHE")
    if named:
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "dilu-lab" / "gate"


def _key(command: Sequence[str]) -> str:
    """Return a hash of all that the library depends on."""
    digest = hashlib.sha256()
    for source in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    try:
        version = subprocess.run(
            [*command, "--version"], capture_output=True, timeout=_LONGEST_COMPILATION_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateError(f"{command[0]} does not run ({error}): set CC to a C compiler") from None
    digest.update(version + b"\0" + "\0".join([*command, *FLAGS, *LIBRARIES]).encode())
    return digest.hexdigest()[:20]


def _make_folder(folder: Path) -> None:
    """Create the cache."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> GateError:
    return GateError(f"{folder}: {error.strerror}; set DILU_GATE_CACHE to a folder that can be written")


def _compile(command: Sequence[str], path: Path) -> None:
    """Compile into a file of our own, then put it in its place."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="building-", suffix=".so", dir=path.parent)
    except OSError as error:
        raise _unwritable(path.parent, error) from None
    os.close(descriptor)
    try:
        call = [*command, *FLAGS, "-o", name, str(SOURCES / "gate.c"), *LIBRARIES]
        done = subprocess.run(
            call, capture_output=True, text=True, timeout=_LONGEST_COMPILATION_S, check=False
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            said = next((line for line in lines if "error" in line), lines[-1])
            raise GateError(f"{command[0]} cannot compile the gate: {said}; set CC to a C11 compiler")
        Path(name).replace(path)
    except subprocess.TimeoutExpired:
        limit = f"{_LONGEST_COMPILATION_S} s"
        raise GateError(f"{command[0]} has not compiled the gate within {limit}; set CC to another") from None
    except OSError as error:
        raise _unwritable(path.parent, error) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _check_executable(path: Path) -> None:
    """See that code can be mapped from there, as the loader will do it."""
    try:
        with path.open("rb") as file:
            mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    except (OSError, ValueError) as error:
        fault = f"{path}: code cannot be loaded from there ({error})"
        raise GateError(f"{fault}; set DILU_GATE_CACHE to a folder that is not mounted noexec") from None
