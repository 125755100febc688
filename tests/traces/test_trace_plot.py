from __future__ import annotations

import struct
import zlib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from traces.errors import TraceError
from traces.generate import ArrivalSpec, generate
from traces.plot import _figure, plot_trace
from traces.statistics import describe
from traces.trace import Trace

KINDS = generate(
    [
        ArrivalSpec("steady", "poisson", 4.0),
        ArrivalSpec("_periodic $x_1$", "periodic", 2.0),
        ArrivalSpec("bursty \u51fd\u6570\n", "bursty", 3.0),
        ArrivalSpec("sporadic", "sporadic", 0.2, period_s=1500.0),
        ArrivalSpec("f" * 80, "even", 0.01),
        ArrivalSpec("silent", "poisson", 0.0),
    ],
    duration_s=7200.0,
    seed=1,
)
LLM = Trace.from_columns(
    [0.0, 1.0, 1.0, 5.0],
    [0] * 4,
    ["llm"],
    duration_s=9.0,
    input_tokens=[10, 0, 3000, 7],
    output_tokens=[1] * 4,
)


def pixels(path: Path) -> bytes:
    """Return the image data of a PNG, which must be whole."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, image = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert kind not in (b"tEXt", b"tIME", b"iTXt")  # neither date nor version
        image += content if kind == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(image)


@pytest.mark.parametrize(
    ("trace", "panels"),
    [
        (KINDS, 3),
        (LLM, 3),
        (Trace.from_functions({"f": [30.0]}, duration_s=60.0), 2),
        (Trace.from_functions({"f": [3.0] * 5}, duration_s=60.0), 2),
        (Trace.from_functions({"f": [], "g": []}, duration_s=60.0), 3),
        (Trace.from_functions({}, duration_s=60.0), 2),
        (Trace.from_columns([], [], ["f"], duration_s=1.0, input_tokens=[]), 3),
        (Trace.from_functions({"f": [0.0, 1e-7]}, duration_s=1e-3), 2),
        (Trace.from_functions({"f": [1.0], "g": [9e8]}, duration_s=1e9), 3),
    ],
    ids=["kinds", "llm", "one", "same time", "empty", "nothing", "no tokens", "short", "long"],
)
def test_every_trace_has_a_picture(tmp_path: Path, trace: Trace, panels: int) -> None:
    """However few the requests, and whatever the names, a picture is drawn without a warning."""
    path = tmp_path / "trace.png"
    statistics = describe(trace)
    plot_trace(trace, path, statistics=statistics)
    assert pixels(path)
    figure = _figure(trace, statistics)
    assert len(figure.axes) == panels
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()


def test_equal_traces_have_equal_pictures(tmp_path: Path) -> None:
    """Bytes depend on the trace alone: not on what was drawn before, nor on the reader's own settings."""
    plot_trace(KINDS, tmp_path / "first.png")
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30}):
        plot_trace(KINDS, tmp_path / "second.png", statistics=describe(KINDS))
        assert mpl.rcParams["font.size"] == 20
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    plot_trace(LLM, tmp_path / "other.png")
    assert pixels(tmp_path / "other.png") != pixels(tmp_path / "first.png")


def test_the_areas_over_time_are_all_requests() -> None:
    """The most requested functions and the others, stacked, hold each request once."""
    figure = _figure(KINDS, describe(KINDS))
    layers = [patch.get_data() for patch in figure.axes[0].patches]
    assert len(layers) == 5
    drawn = 0.0
    below = np.zeros(1)
    for values, edges, baseline in layers:
        assert np.array_equal(np.broadcast_to(below, values.shape), baseline)
        drawn += float(((values - baseline) * np.diff(edges) * 60.0).sum())
        below = values
    assert drawn == pytest.approx(len(KINDS))


def test_names_are_shown_as_they_are() -> None:
    """Long names are cut, dollars are no mathematics, and what the font lacks is a question mark."""
    legend = _figure(KINDS, describe(KINDS)).axes[0].get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert [name.split(" ", 1)[1] for name in shown] == [
        "steady",
        "bursty ???",
        r"_periodic \$x_1\$",
        "sporadic",
        "others",
    ]
    steady, long = KINDS.select(["steady"]), KINDS.select(["f" * 80, "silent"])
    assert _figure(steady, describe(steady)).axes[0].get_legend() is None
    legend = _figure(long, describe(long)).axes[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text() == "100% fffffffffffff..."


def test_the_end_of_a_window_is_no_spike() -> None:
    """What a window has beyond its last whole bin is drawn as part of that bin."""
    trace = Trace.from_functions({"f": [*np.arange(0.5, 240.0), 240.001]}, duration_s=240.002)
    (layer,) = [patch.get_data() for patch in _figure(trace, describe(trace)).axes[0].patches]
    assert layer.values.max() == pytest.approx(1.0, rel=0.5)
    assert layer.edges[-1] == 240.002


def test_gaps_of_a_function_are_not_those_between_functions() -> None:
    """The curve of all requests counts gaps in the order of time, the other one those inside functions."""
    trace = Trace.from_functions({"f": np.arange(50) * 2.0, "g": np.arange(50) * 2.0 + 1.0}, duration_s=100.0)
    every, own, _ = _figure(trace, describe(trace)).axes[1].lines
    for line, gap_s in ((every, 1.0), (own, 2.0)):
        edges, share = (np.asarray(values, dtype=np.float64) for values in line.get_data())
        assert share[edges < 0.9 * gap_s].max() == 0.0
        assert share[edges > 1.1 * gap_s].min() == 1.0


def test_the_curve_of_tokens_begins_with_its_zeros() -> None:
    """The share of requests without tokens is where the curve starts."""
    inputs, outputs = _figure(LLM, describe(LLM)).axes[2].lines
    tokens, share = (np.asarray(values, dtype=np.float64) for values in inputs.get_data())
    assert (tokens[0], tokens[-1], share[-1]) == (0.0, 3000.0, 1.0)
    assert set(np.asarray(outputs.get_xdata()).tolist()) == {1.0}


def test_each_class_has_its_colour_and_marker() -> None:
    """Functions are drawn by rank, each once, by class; those without requests are counted on the axis."""
    statistics = describe(KINDS)
    axes = _figure(KINDS, statistics).axes[2]
    drawn = {str(line.get_label()).split(":")[0]: len(np.atleast_1d(line.get_xdata())) for line in axes.lines}
    requested = [name for name, count in zip(statistics.classes, KINDS.counts.tolist(), strict=True) if count]
    assert drawn == {name: requested.count(name) for name in drawn}
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 4
    assert axes.get_xlabel() == "function, by rank (1 without requests)"


def test_a_bad_path_is_refused(tmp_path: Path) -> None:
    """Another kind of file, or a directory that is not there, is named, and nothing is written."""
    with pytest.raises(TraceError, match=r"path: found 'trace.pdf', allowed is a name ending in .png"):
        plot_trace(LLM, tmp_path / "trace.pdf")
    with pytest.raises(TraceError, match=r"nowhere/trace.png: cannot be written: No such file"):
        plot_trace(LLM, tmp_path / "nowhere" / "trace.png")
    assert not list(tmp_path.iterdir())


def test_statistics_of_another_trace_are_refused(tmp_path: Path) -> None:
    """A picture does not carry the numbers of something else."""
    with pytest.raises(TraceError, match="statistics: found those of 4 requests and 1 functions"):
        plot_trace(KINDS, tmp_path / "trace.png", statistics=describe(LLM))
