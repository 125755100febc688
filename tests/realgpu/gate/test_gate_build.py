from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realgpu.gate import GateError, build_gate, gate_environment
from realgpu.gate.build import FLAGS, SOURCES

ROOT = Path(__file__).parents[3]


def test_it_is_built_once(compiler: str, tmp_path: Path) -> None:
    """The second call finds what the first one built, and nothing else lies in the cache."""
    path = build_gate(tmp_path / "cache", compiler)
    first = path.stat().st_mtime_ns
    assert build_gate(tmp_path / "cache", compiler) == path
    assert path.stat().st_mtime_ns == first
    assert list(path.parent.iterdir()) == [path]


def test_other_flags_make_another_library(compiler: str, tmp_path: Path) -> None:
    """A compiler with another option is another key."""
    assert build_gate(tmp_path, compiler) != build_gate(tmp_path, f"{compiler} -DOTHER")


def test_other_sources_make_another_library(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any change of a source is another key."""
    sources = tmp_path / "sources"
    sources.mkdir()
    for source in SOURCES.glob("*.[ch]"):
        shutil.copy(source, sources)
    monkeypatch.setattr("realgpu.gate.build.SOURCES", sources)
    path = build_gate(tmp_path / "cache", compiler)
    with (sources / "bucket.h").open("a") as file:
        file.write("// another\n")
    assert build_gate(tmp_path / "cache", compiler) != path


def test_the_sources_compile_without_a_warning(compiler: str, tmp_path: Path) -> None:
    """Every warning is an error here."""
    call = [*compiler.split(), *FLAGS, "-Werror", "-o", tmp_path / "gate.so", SOURCES / "gate.c", "-ldl"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_several_processes_may_build_at_once(compiler: str, tmp_path: Path) -> None:
    """Four processes that find an empty cache end with one library that loads."""
    script = "import sys, pathlib, realgpu.gate as g; print(g.build_gate(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={"CC": compiler, "PATH": "/usr/bin:/bin"},
        )
        for _ in range(4)
    ]
    found = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0] * 4
    assert found == {str(path) for path in tmp_path.iterdir()}
    assert len(found) == 1


def test_where_the_cache_lies(compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$DILU_GATE_CACHE comes first, then $XDG_CACHE_HOME, then the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DILU_GATE_CACHE", raising=False)
    assert build_gate(None, compiler).parent == tmp_path / "home" / ".cache" / "dilu-lab" / "gate"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build_gate(None, compiler).parent == tmp_path / "xdg" / "dilu-lab" / "gate"
    monkeypatch.setenv("DILU_GATE_CACHE", str(tmp_path / "own"))
    assert build_gate(None, compiler).parent == tmp_path / "own"


def test_no_compiler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler the error says what to install, and that there is another gate."""
    with pytest.raises(GateError, match=r"tried no-such-cc.*install gcc.*the Python gate"):
        build_gate(tmp_path, "no-such-cc")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateError, match="tried cc, gcc, clang"):
        build_gate(tmp_path)


def test_a_compiler_that_fails_is_one_line(tmp_path: Path) -> None:
    """What the compiler said stands in the error, and nothing is left in the cache."""
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'gate.c:1:1: error: not today' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(GateError, match="error: not today; set CC") as caught:
        build_gate(tmp_path / "cache", str(broken))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_is_a_file_is_one_line(compiler: str, tmp_path: Path) -> None:
    """A cache that cannot be made names the variable to set."""
    (tmp_path / "file").touch()
    with pytest.raises(GateError, match="set DILU_GATE_CACHE to a folder that can be written"):
        build_gate(tmp_path / "file" / "cache", compiler)


def test_a_mount_that_forbids_code_is_one_line(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If code cannot be mapped from the cache, the error says so before any worker starts."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("realgpu.gate.build.mmap.mmap", refused)
    with pytest.raises(GateError, match="a folder that is not mounted noexec"):
        build_gate(tmp_path, compiler)


def test_the_environment_of_a_worker() -> None:
    """The gate comes before what is preloaded already, and names its file, its slot and its options."""
    found = gate_environment(
        Path("/c/gate.so"),
        Path("/s/file"),
        3,
        times=Path("/t"),
        inflight=(8, 2),
        base={"LD_PRELOAD": "/x.so"},
    )
    assert found == {
        "LD_PRELOAD": "/c/gate.so:/x.so",
        "GATE_FILE": "/s/file",
        "GATE_SLOT": "3",
        "GATE_TIMES": "/t",
        "GATE_INFLIGHT": "8,2",
    }
