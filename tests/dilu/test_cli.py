from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dilu.__main__ import cli, run

LAB = """\
cluster: {nodes: 1, gpus_per_node: 4}
functions:
  - {name: vision, model: resnet152}
  - {name: job, model: bert-base, training: true, workers: 2}
workload: {synthesize: {vision: {kind: poisson, rate_rps: 20}}}
systems: [exclusive, dilu]
duration_s: 10
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small experiment in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def test_replay_prints_the_table_and_keeps_the_results(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`dilu replay` compares the systems with ratios to the first, says where results are, and exits 0."""
    assert run(["replay", "lab.yaml"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    header, *rows = out.splitlines()
    assert header.split() == ["exclusive", "dilu"]
    for label in (
        "SLO violation rate [%]",
        "latency p99 [ms]",
        "GPU time [s]",
        "training throughput [steps/s]",
    ):
        assert any(row.startswith(label) for row in rows), label
    assert "(1.00x)" in out
    assert rows[-1] == "Results: runs/lab-1"
    assert rows[-2].startswith("Profiles: A100-40GB-PCIE; values of ")
    assert max(len(row) for row in rows[: rows.index("")]) <= 100
    assert (lab.parent / "runs" / "lab-1" / "comparison.csv").exists()


def test_replay_takes_every_option(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Systems, seed, changes and the folder can be given on the command line."""
    options = ["--system", "dilu", "--seed", "5", "--set", "duration_s=5", "--world", "sim", "--out", "here"]
    assert run(["replay", "lab.yaml", *options]) == 0
    assert sorted(p.name for p in Path("here").iterdir()) == [
        "arrivals.parquet",
        "comparison.csv",
        "dilu",
        "run.json",
    ]
    assert "Results: here" in capfd.readouterr().out


def test_compare_names_systems_of_several_runs_apart(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Systems of one run go by name, the same system of two runs by its folders; the first is the base."""
    for out in ("a", "b"):
        assert run(["replay", "lab.yaml", "--set", "duration_s=5", "--out", out]) == 0
    capfd.readouterr()
    assert run(["compare", "a"]) == 0
    assert capfd.readouterr().out.splitlines()[0].split() == ["exclusive", "dilu"]
    assert run(["compare", "a/exclusive", "a", "b/dilu"]) == 0
    assert capfd.readouterr().out.splitlines()[0].split() == ["exclusive", "a/dilu", "b/dilu"]


def test_size_lists_the_methods(capfd: pytest.CaptureFixture[str]) -> None:
    """`dilu size` shows each method's size and trials; traversal measures the whole grid of 60."""
    assert run(["size", "resnet152"]) == 0
    rows = {row.split()[0]: row.split()[1:] for row in capfd.readouterr().out.splitlines() if row.strip()}
    assert set(rows) >= {"hgss", "traversal", "gpulet", "infless"}
    assert rows["traversal"][3] == "60"
    assert int(rows["hgss"][3]) < 20
    assert run(["size", "resnet152", "--method", "hgss", "--slo", "0.2"]) == 0
    assert "traversal" not in capfd.readouterr().out
    assert run(["size", "bert-base", "--training"]) == 0
    assert "bisection" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "quikstart"], "experiment 'quikstart': unknown; did you mean 'quickstart'?"),
        (["replay", "--sed", "1"], "No such option '--sed'"),
        (["replay", "--seed", "x"], "Invalid value for '--seed'"),
        (
            ["replay", "lab.yaml", "--set", "cluster.nods=1"],
            "cluster.nods: unknown key; did you mean 'nodes'?",
        ),
        (["replay", "lab.yaml", "--system", "dilo"], "did you mean 'dilu'?"),
        (["replay", "lab.yaml", "--trace", "x"], "has no trace that --trace x could replace"),
        (["replay", "--trace", "nowhere"], "nowhere: "),
        (["replay", "lab.yaml", "--out", "lab.yaml"], "--out lab.yaml: "),
        (["replay", "lab.yaml", "extra"], "unexpected extra argument"),
        (["replay", ""], "experiment '': unknown"),
        (["compare"], "Missing argument"),
        (["compare", "."], "no run in it"),
        (["compare", "nowhere"], "nowhere: no such folder"),
        (["size", "resnet"], "nearest is 'resnet152'"),
        (["size", "resnet152", "--slo", "-1"], "--slo: found -1.0, allowed are seconds above 0"),
        (["size", "resnet152", "--slo", "0.0001"], "found no size that executes within"),
        (["size", "resnet152", "--training", "--slo", "1"], "training has no SLO"),
        (["systems", "dilo"], "did you mean 'dilu'?"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    lab: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Whatever is wrong with the command line: one line on standard error, status 2, nothing left behind."""
    before = sorted(lab.parent.iterdir())
    assert run(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("dilu: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(lab.parent.iterdir()) == before


def test_every_verb_shows_an_example(capfd: pytest.CaptureFixture[str]) -> None:
    """`--help` of the command and of each verb exits 0 and holds an example that can be copied."""
    for verb in ([], *([name] for name in cli.commands)):
        assert run([*verb, "--help"]) == 0
        assert f"  {' '.join(['dilu', *verb])}" in capfd.readouterr().out
    assert run([]) == 0
    assert "Examples:" in capfd.readouterr().out
    assert run(["--version"]) == 0


def test_a_closed_pipe_is_no_error() -> None:
    """When the reader of a pipe goes away the command says nothing about it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dilu", "systems"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 141


def test_closed_output_is_one_line() -> None:
    """Without a standard output at all the command says so and stops."""
    command = f"exec {shlex.quote(sys.executable)} -m dilu systems >&-"
    process = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, timeout=60, check=False)
    assert process.stderr.decode() == (
        "dilu: standard output: is closed, allowed is to discard it (>/dev/null)\n"
    )
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("dilu/summary.json", b"{}", "summary.json: system: found None"),
        ("dilu/summary.json", b'{"system": "dilu", "requests": "abc"}', "requests: found 'abc', allowed is"),
        ("dilu/summary.json", None, "summary.json: not found"),
        ("dilu/manifest.json", None, "run/dilu: is no whole run, although comparison.csv lists it"),
        ("comparison.csv", b"\xff\xfe", "comparison.csv: found bytes that are not UTF-8"),
    ],
)
def test_compare_refuses_damaged_runs(
    lab: Path, capfd: pytest.CaptureFixture[str], file: str, content: bytes | None, message: str
) -> None:
    """A run with a damaged or missing file is one line and status 2."""
    assert run(["replay", "lab.yaml", "--set", "duration_s=1", "--out", "run"]) == 0
    damaged = lab.parent / "run" / file
    damaged.unlink() if content is None else damaged.write_bytes(content)
    capfd.readouterr()
    assert run(["compare", "run"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_is_one_line_and_its_status(lab: Path, sent: signal.Signals, status: int) -> None:
    """Ctrl-C, SIGTERM and SIGHUP end a long replay with one line, and leave no half-written system."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dilu", "replay", "lab.yaml", "--set", "duration_s=100000", "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100"},
    )
    deadline = time.monotonic() + 60
    while not any(Path("run").glob(".exclusive.*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert err.decode() == "dilu: interrupted\n"
    assert process.returncode == status
    assert not Path("run").exists()


def test_a_backend_is_for_the_real_world(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`--backend` without `--world realgpu` would change nothing, and says so."""
    assert run(["replay", "lab.yaml", "--backend", "cpu"]) == 2
    assert "--backend cpu: is for --world realgpu" in capfd.readouterr().err
