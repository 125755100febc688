from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from dilu import systems as systems_module
from dilu.__main__ import run
from experiments import own_policies
from policies import find_system, system_names
from policies.systems import SLOTS
from recording import load

TEMPLATE = (files("dilu") / "template" / "my_policy.py").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_names_each_system_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Name, title and source in 100 columns, rivals first, and how to see more."""
    assert run(["systems"]) == 0
    out, err = capfd.readouterr()
    table, closing = out.rstrip("\n").split("\n\n")
    assert tuple(line.split()[0] for line in table.splitlines()) == system_names()
    for name, line in zip(system_names(), table.splitlines(), strict=True):
        system = find_system(name)
        assert system.title in line
        assert system.source.split()[0] in line
    assert "dilu systems NAME..." in closing
    assert max(len(line) for line in out.splitlines()) <= 100
    assert err == ""


def test_named_ones_are_shown_in_full(capfd: pytest.CaptureFixture[str]) -> None:
    """Source and the policy in each slot, in the order in which they were named, within 100 columns."""
    assert run(["systems", "dilu", "exclusive"]) == 0
    out, _ = capfd.readouterr()
    dilu, exclusive = out.split("\n\n")
    assert dilu.startswith("dilu: Dilu\n  source        Lv et al., ASPLOS 2025")
    assert exclusive.startswith("exclusive: ")
    for slot in SLOTS:
        assert f"\n  {slot} " in dilu
    assert max(len(line) for line in out.splitlines()) <= 100


def test_what_is_modelled_and_left_out_is_told_if_there_is_something_to_tell(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two stand between source and slots; an empty one is no line."""
    half = dataclasses.replace(find_system("dilu"), modelled="its quotas", left_out="")
    found = own_policies.Found("dilu", half)
    monkeypatch.setattr(systems_module, "find", lambda name, folders: found)
    assert run(["systems", "dilu"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[2:3] == ["  modelled      its quotas"]
    assert lines[3].startswith("  sizing")


def test_a_new_policy_runs_as_it_is(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`--new` writes the template and names two commands; both work as printed."""
    assert run(["systems", "--new", "fresh.py"]) == 0
    out, _ = capfd.readouterr()
    check, replay = (line.split() for line in out.splitlines() if line.startswith("  "))
    assert Path("fresh.py").read_text() == TEMPLATE
    assert [p.name for p in here.iterdir()] == ["fresh.py"]
    assert check == ["python", "fresh.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, *check[1:]], check=True, capture_output=True, env=environment)
    assert said.stdout == b"keeps the contract of: horizontal\n"
    assert replay == ["dilu", "replay", "--system", "dilu", "--system", "fresh.py"]
    assert run([*replay[1:], "--set", "duration_s=120", "--out", "run"]) == 0
    assert capfd.readouterr().out.split()[:2] == ["dilu", "Headroom"]
    dilu, mine = (load(Path("run") / label).summary for label in ("dilu", "Headroom"))
    assert mine["launches"] > dilu["launches"]  # it does what it says
    assert run(["systems", "fresh.py"]) == 0
    assert "horizontal    Headroom(load=0.7, window_s=60): Keeps so many" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--new", "mine.py"], "--new: mine.py is there already; nothing was written"),
        (["--new", "link.py"], "--new: link.py is there already; nothing was written"),
        (["--new", "mine.txt"], "--new: found 'mine.txt', allowed is a name such as my_policy.py"),
        (["--new", "my-policy.py"], "--new: found 'my-policy.py', allowed is a name such as my_policy.py"),
        (["--new", ""], "allowed is a name such as my_policy.py"),
        (["--new", "json.py"], "--new: json is the name of an installed module; choose another"),
        (["--new", "policies.py"], "--new: policies is the name of an installed module; choose another"),
        (["--new", "nowhere/other.py"], "--new: nowhere/other.py cannot be written (No such file"),
        (["--new", "other.py", "dilu"], "--new: takes no NAME beside it"),
        (["mine.py"], "mine.py: found none, allowed is a policies.System"),
        (["nowhere:X"], "nowhere:X: found no module 'nowhere'"),
    ],
)
def test_what_is_refused_is_one_line_and_leaves_all_as_it_was(
    here: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Nothing is overwritten, not even through a link, and no half-written file stays."""
    Path("mine.py").write_text("mine = 1\n")
    Path("link.py").symlink_to("gone.py")
    assert run(["systems", *arguments]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert sorted(p.name for p in here.iterdir()) == ["link.py", "mine.py"]
    assert Path("mine.py").read_text() == "mine = 1\n"


def test_a_file_that_comes_meanwhile_is_not_overwritten(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the write someone else may make the file; it is theirs."""
    monkeypatch.setattr(Path, "exists", lambda self: False)
    Path("mine.py").write_text("theirs")
    assert run(["systems", "--new", "mine.py"]) == 2
    assert "mine.py is there already" in capfd.readouterr().err
    assert [(p.name, p.read_text()) for p in here.iterdir()] == [("mine.py", "theirs")]


@pytest.fixture
def broken_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package whose entry point leads nowhere."""
    info = tmp_path / "site" / "rival_dist-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dilu.systems]\nrival = nowhere_module:X\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    own_policies._offered.cache_clear()
    yield
    own_policies._offered.cache_clear()


@pytest.mark.usefixtures("broken_offer")
def test_a_broken_offer_is_one_line_beside_the_list(capfd: pytest.CaptureFixture[str]) -> None:
    """Listing names it and its package and lists the others; showing another is not affected."""
    assert run(["systems"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("exclusive")
    assert err.count("\n") == 1
    assert err.startswith("dilu: rival of rival-dist (nowhere_module:X): found no module 'nowhere_module'")
    assert run(["systems", "dilu"]) == 0
    assert capfd.readouterr().err == ""
    assert run(["systems", "rival"]) == 2
    assert capfd.readouterr().err == err


def test_a_fault_inside_a_decision_keeps_its_traceback(here: Path) -> None:
    """What a policy raises while it decides is its author's to debug: the traceback names the line."""
    Path("mine.py").write_text(TEMPLATE.replace("busiest_rps /", "1 // 0 * busiest_rps /"))
    with pytest.raises(ZeroDivisionError) as caught:
        run(["replay", "--system", "mine.py", "--set", "duration_s=5", "--out", "run"])
    assert str(caught.traceback[-1].path) == str(here / "mine.py")
