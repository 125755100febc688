from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from dilu.__main__ import run
from traces import FORMATS, TRANSFORMS, Trace, read_parquet, write_trace
from traces.public import public_traces

LLM = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n" + "\r\n".join(
    f"2023-11-16 18:{minute:02d}:{second:02d}.0000000,{100 + second},{1 + second}"
    for minute in (15, 16, 17)
    for second in range(0, 60, 5)
)
KEYS = {"requests", "span_s", "mean_rps", "peak_minute_over_mean", "iat_cv", "functions"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an LLM trace, and no fetched traces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DILU_TRACES", str(tmp_path / "fetched"))
    (tmp_path / "conv.csv").write_text(LLM, newline="")
    return tmp_path


def test_inspect_shows_one_screen(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Format, source, numbers and tokens, within a hundred columns and a screen."""
    assert run(["traces", "inspect", "conv.csv"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "conv.csv (azure-llm)"
    assert "CC BY 4.0" in out
    assert any(line.split()[:2] == ["requests", "36"] for line in lines)
    assert any(line.split()[0] == "output" and line.split()[4] == "56" for line in lines if line.strip())
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 40


def test_inspect_speaks_json(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Machines get all numbers, the format and the provenance."""
    assert run(["traces", "inspect", "conv.csv", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report.keys() >= KEYS
    assert (report["requests"], report["span_s"], report["functions"]) == (36, 175.0, 1)
    assert report["format"] == "azure-llm"
    assert report["provenance"]["files"][0]["name"] == "conv.csv"


def test_inspect_draws(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`--plot` leaves a PNG; a name that is none is refused before anything is read."""
    assert run(["traces", "inspect", "conv.csv", "--plot", "conv.png"]) == 0
    assert Path("conv.png").read_bytes().startswith(b"\x89PNG")
    assert "Picture: conv.png" in capfd.readouterr().out
    assert run(["traces", "inspect", "none.csv", "--plot", "conv.pdf"]) == 2
    assert "ends in .png" in capfd.readouterr().err


def test_convert_keeps_the_trace_and_what_was_done(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Options of the reader and transforms are applied, and recorded in what is written."""
    steps = ["--apply", "window={start_s: 60, end_s: 120}", "--apply", "scale_rate=2", "--seed", "3"]
    assert run(["traces", "convert", "conv.csv", "out.parquet", "--option", "function=chat", *steps]) == 0
    assert capfd.readouterr().out == "out.parquet: 24 requests of 1 functions\n"
    trace = read_parquet("out.parquet")
    assert trace.functions == ("chat",)
    assert trace.duration_s == 60.0
    transforms = trace.provenance["transforms"]
    assert isinstance(transforms, list)
    assert [step["transform"] for step in transforms] == ["window", "scale_rate"]
    assert transforms[1]["seed"] == 3
    assert run(["traces", "inspect", "out.parquet", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["requests"] == 24


def test_convert_writes_over_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is there stays; a name that is not Parquet's and a missing folder are refused."""
    Path("out.parquet").write_text("mine")
    for out, word in (("out.parquet", "is there already"), ("a.csv", ".parquet"), ("no/a.parquet", "folder")):
        assert run(["traces", "convert", "conv.csv", out]) == 2
        assert word in capfd.readouterr().err
    assert Path("out.parquet").read_text() == "mine"


def test_synthesize_is_repeatable(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same seed gives the same bytes, another one others."""
    for out, seed in (("a.parquet", "1"), ("b.parquet", "1"), ("c.parquet", "2")):
        assert run(["traces", "synthesize", out, "--functions", "20", "--hours", "2", "--seed", seed]) == 0
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes() != Path("c.parquet").read_bytes()
    assert "of 20 functions" in capfd.readouterr().out
    assert run(["traces", "synthesize", "d.parquet", "--hours", "nan"]) == 2
    assert "hours: found nan" in capfd.readouterr().err


def test_list_names_every_trace(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One row a trace; asked for by name, all of it."""
    assert run(["traces", "list"]) == 0
    out = capfd.readouterr().out
    rows = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert {trace.name for trace in public_traces()} <= set(rows)
    assert run(["traces", "list", "burstgpt-400"]) == 0
    out = capfd.readouterr().out
    for word in ("CC BY 4.0", "https://", "KDD 2025", "dilu traces fetch burstgpt-400"):
        assert word in out
    assert run(["traces", "list", "burstgtp"]) == 2
    assert "burstgpt" in capfd.readouterr().err


def test_a_public_trace_that_is_not_here_is_not_downloaded(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is fetched unasked: the message says by which command it is."""
    assert run(["traces", "inspect", "burstgpt-400"]) == 2
    assert "`dilu traces fetch burstgpt-400` gets it" in capfd.readouterr().err
    assert run(["traces", "inspect", "huawei"]) == 2
    assert "`dilu traces list huawei` says how" in capfd.readouterr().err
    assert not Path("fetched").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: cannot be read: No such file or directory"),
        (["conv.csv", "--format", "azure-lm"], "format: found 'azure-lm'; did you mean 'azure-llm'?"),
        (["conv.csv", "--option", "tick=keep"], "tick: is no option of format azure-llm"),
        (["conv.csv", "--option", "keep"], "option: found 'keep', allowed is KEY=VALUE"),
        (["conv.csv", "--apply", "topp=3"], "found 'topp', allowed are window"),
        (["conv.csv", "--apply", "window={start_s: 0"], "window: found '{start_s: 0', which is no YAML"),
        (["conv.csv", "--apply", "window={start_s: 0, end_s: 1000}"], "0.window.end_s: found 1000"),
        (["conv.csv", "--format", "mooncake"], "conv.csv: line 1: "),
    ],
)
def test_a_wrong_argument_is_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Status 2, nothing on standard output, and the mend."""
    assert run(["traces", "inspect", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("dilu: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_pipe_is_no_trace(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What may never end is not waited for."""
    os.mkfifo("pipe.csv")
    assert stat.S_ISFIFO(Path("pipe.csv").stat().st_mode)
    assert run(["traces", "inspect", "pipe.csv"]) == 2
    assert "is not a regular file" in capfd.readouterr().err


def test_help_names_formats_options_and_transforms(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What can be read and done is found without a manual."""
    assert run(["traces", "inspect", "--help"]) == 0
    out = capfd.readouterr().out
    assert all(name in out for name in (*FORMATS, *TRANSFORMS))
    assert "ticks=" in out


def test_without_a_verb_there_is_help(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`dilu traces` alone says what there is."""
    assert run(["traces"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert all(verb in out for verb in ("list", "inspect", "convert", "synthesize", "fetch"))


def test_a_converted_trace_is_replayed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What `convert` wrote is a trace like any other."""
    write_trace("own.parquet", Trace.from_functions({"f": [0.1, 0.2, 1.0]}, duration_s=2.0))
    Path("lab.yaml").write_text(
        "cluster: {nodes: 1, gpus_per_node: 1}\nfunctions: [{name: g, model: vgg19}]\nsystems: [dilu]\n"
        "workload: {trace: {path: own.parquet}}\n"
    )
    assert run(["replay", "lab.yaml", "--out", "out"]) == 0
    assert json.loads(Path("out/dilu/summary.json").read_text())["requests"] == 3
