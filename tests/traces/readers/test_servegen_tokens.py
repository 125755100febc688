from __future__ import annotations

import ast
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations

from traces import TraceError
from traces.readers.archive import Entry
from traces.readers.servegen import read_servegen
from traces.readers.servegen_tokens import TokenWindow, read_token_windows

LANGUAGE = {"input_tokens": {17: 0.25, 18: 0.75}, "output_tokens": {3: 1.0}}
IMAGES = {
    "text_tokens": {5: 1.0},
    "image_tokens": {100: 0.5, 300: 0.5},
    "image_count": {0: 0.25, 1: 0.25, 3: 0.5},
    "audio_tokens": {0: 1.0},
    "audio_count": {0: 1.0},
    "output_tokens": {7: 1.0},
}

Fields = dict[str, dict[int, float]]


def document(windows: dict[int, Fields]) -> str:
    """Return windows as the files have them: dictionaries as Python prints them, within JSON."""
    texts = {
        str(start): {name: repr(found) for name, found in fields.items()} for start, fields in windows.items()
    }
    return json.dumps(texts, indent=2)


def read(text: str) -> tuple[TokenWindow, ...]:
    """Read a dataset."""
    return read_token_windows(Entry("chunk-1-dataset.json", Path("pool/chunk-1-dataset.json"), text))


def draws(window: TokenWindow, size: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Return many draws."""
    return window.draw(size, np.random.Generator(np.random.PCG64(8)))


def test_draws_follow_the_distributions() -> None:
    """Each value comes as often as the file says, and no other value."""
    inputs, outputs = draws(read(document({0: LANGUAGE}))[0])
    counts = Counter(inputs.tolist())
    assert counts.keys() == {17, 18}
    assert counts[17] == pytest.approx(10_000, abs=400)
    assert set(outputs.tolist()) == {3}


def test_an_input_is_its_text_and_all_its_images() -> None:
    """Each image of a request has tokens of its own; a request may have none."""
    inputs, _ = draws(read(document({0: IMAGES}))[0])
    counts = Counter(inputs.tolist())
    # three images of 100 or 300: 300, 500, 700, 900 with odds 1 3 3 1; one: 100, 300; none: 0
    odds = {5: 1 / 4, 105: 1 / 8, 305: 1 / 8 + 1 / 16, 505: 3 / 16, 705: 3 / 16, 905: 1 / 16}
    assert counts.keys() == odds.keys()
    for value, share in odds.items():
        assert counts[value] / inputs.size == pytest.approx(share, abs=0.01)


@given(
    weights=st.dictionaries(st.integers(0, 10**6), st.integers(1, 1000), min_size=1, max_size=50),
    size=st.integers(0, 50),
)
def test_any_distribution_survives(weights: dict[int, int], size: int) -> None:
    """What is written is read, and what is drawn is among it."""
    total = sum(weights.values())
    found = {value: weight / total for value, weight in weights.items()}
    (window,) = read(document({0: {"input_tokens": found, "output_tokens": found}}))
    assert window.text.values.tolist() == list(found)
    assert np.diff(window.text.up_to, prepend=0.0) == pytest.approx(list(found.values()), abs=1e-9)
    inputs, outputs = draws(window, size)
    assert inputs.size == outputs.size == size
    assert set(inputs.tolist()) | set(outputs.tolist()) <= found.keys()


def test_windows_without_a_distribution_are_passed_over() -> None:
    """Nothing was seen in them; fields that say nothing of tokens may hold anything."""
    empty: Fields = {"input_tokens": {}, "output_tokens": {}}
    half: Fields = {"input_tokens": {1: 1.0}, "output_tokens": {}}
    texts = json.loads(document({0: empty, 600: LANGUAGE, 1200: half}))
    texts["600"]["reason_ratio"] = "{(0.0, 0.1): 1.0}"
    assert [window.start_s for window in read(json.dumps(texts))] == [600]
    assert read("{}") == ()


def test_requests_take_the_latest_window_that_has_some(tmp_path: Path) -> None:
    """Tokens change with the window's time; before the first one they are unknown, which is 0."""
    rows = [f"{600 * window},1,0.5,Gamma,4,0.25" for window in range(5)]
    for client in (0, 1):
        (tmp_path / f"chunk-{client}-trace.csv").write_text("\n".join(rows), encoding="utf-8")
    later = {name: {99: 1.0} for name in LANGUAGE}
    none: Fields = {name: {} for name in LANGUAGE}
    text = document({600: LANGUAGE, 1200: none, 2400: later})
    (tmp_path / "chunk-1-dataset.json").write_text(text, encoding="utf-8")
    trace = read_servegen(tmp_path)
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    assert not trace.input_tokens[trace.span("client-0")].any()
    window = (trace.arrivals("client-1") // 600).astype(int)
    inputs, outputs = (column[trace.span("client-1")] for column in (trace.input_tokens, trace.output_tokens))
    expected = [({0}, {0}), ({17, 18}, {3}), ({17, 18}, {3}), ({17, 18}, {3}), ({99}, {99})]
    for at, (of_input, of_output) in enumerate(expected):
        assert (set(inputs[window == at].tolist()), set(outputs[window == at].tolist())) == (
            of_input,
            of_output,
        )


def test_arrivals_do_not_depend_on_tokens(tmp_path: Path) -> None:
    """A dataset beside a trace gives tokens and moves nothing; parts have the tokens of the whole."""
    (tmp_path / "chunk-0-trace.csv").write_text(
        "0,1,0.5,Gamma,4,0.25\n600,1,0.5,Gamma,4,0.25\n", encoding="utf-8"
    )
    bare = read_servegen(tmp_path)
    (tmp_path / "chunk-0-dataset.json").write_text(document({0: LANGUAGE}), encoding="utf-8")
    whole = read_servegen(tmp_path)
    assert bare.input_tokens is None
    assert whole.arrival_s.tolist() == bare.arrival_s.tolist()
    part = read_servegen(tmp_path, start_s=100.0, duration_s=800.0)
    assert part.input_tokens is not None
    assert part.input_tokens.tolist() == whole.window(100.0, 900.0).input_tokens.tolist()  # type: ignore[union-attr]


def test_tokens_are_drawn_apart_from_arrivals(tmp_path: Path) -> None:
    """Whether the first request of a window comes early says nothing of its tokens."""
    rows = [f"{600 * window},0.1,1.0,Gamma,1.0,10.0" for window in range(4000)]
    (tmp_path / "chunk-0-trace.csv").write_text("\n".join(rows), encoding="utf-8")
    halves = {"input_tokens": {0: 0.5, 1: 0.5}, "output_tokens": {0: 1.0}}
    (tmp_path / "chunk-0-dataset.json").write_text(document({0: halves}), encoding="utf-8")
    trace = read_servegen(tmp_path, duration_s=2_400_000.0)
    assert trace.input_tokens is not None
    window, first = np.unique(trace.arrival_s // 600, return_index=True)
    waited_s = trace.arrival_s[first] - 600 * window
    correlation = np.corrcoef(waited_s, trace.input_tokens[first])[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(4000)


def replaced(field: str, value: object) -> str:
    """Return a dataset in which one field of the second window holds something else."""
    texts = json.loads(document({0: LANGUAGE, 600: IMAGES}))
    texts["600"][field] = value
    return json.dumps(texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"0": {\n"input_tokens": }}', "line 2: is no JSON: Expecting value"),
        ('{"0": {}, "0": {}}', r"is no JSON of this format \(a key stands twice\)"),
        ('{"0": {"input_tokens": NaN}}', r"is no JSON of this format \(found NaN\)"),
        ("[" * 100_000, "is no JSON of this format"),
        ("[]", r"found \[\], allowed is an object"),
        ('{"0": 5}', "window 0: found 5, allowed is an object"),
        ('{"-600": {}}', "window: found '-600', allowed is ascending whole seconds"),
        (document({600: LANGUAGE, 0: LANGUAGE}), "window: found '0', allowed is ascending whole seconds"),
        ('{"0": {"output_tokens": "{1: 1.0}"}}', "window 0: text_tokens: found None, allowed is text like"),
        ('{"0": {"input_tokens": "{1: 1.0}"}}', "window 0: output_tokens: found None"),
        (replaced("output_tokens", {"1": 1.0}), "window 600: output_tokens: found {'1': 1.0}"),
        (replaced("output_tokens", "__import__('os').getcwd()"), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{1: open('x')}"), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{" * 100_000), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{1: 1.0" + " " * 200_000), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{1.5: 1.0}"), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{-1: 1.0}"), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{1: -0.5, 2: 1.5}"), "window 600: output_tokens: found"),
        (replaced("output_tokens", "{1: nan}"), "window 600: output_tokens: found"),
        (
            replaced("output_tokens", "{1: 0.5, 2: 0.4}"),
            "window 600: output_tokens: found 0.9, allowed is probabilities that sum to 1",
        ),
        (
            replaced("output_tokens", "{1: 1e999}"),
            "window 600: output_tokens: found inf, allowed is probabilities",
        ),
        (
            replaced("output_tokens", "{1: 0.5, 1: 0.5}"),
            "window 600: output_tokens: found '{1: 0.5, 1: 0.5}', allowed is each value once",
        ),
        (
            replaced("output_tokens", "{20000000: 1.0}"),
            "window 600: output_tokens: found 20000000, allowed is up to 10000000",
        ),
        (
            replaced("image_count", "{1001: 1.0}"),
            "window 600: image_count: found 1001, allowed is up to 1000",
        ),
        (replaced("image_count", None), "window 600: image_count: found None"),
        (replaced("video_count", "{1: 1.0}"), "window 600: video_tokens: found None"),
        (replaced("reason_ratio", {"600": {}}), "window 600: reason_ratio: found {'600': {}}"),
    ],
)
def test_a_wrong_dataset_is_refused(text: str, message: str) -> None:
    """The fault is named with file, window and field; nothing is evaluated."""
    with pytest.raises(TraceError, match=f"pool/chunk-1-dataset.json: {message}") as refusal:
        read(text)
    assert len(str(refusal.value)) < 250


DAMAGED = document({0: LANGUAGE, 600: IMAGES}).encode()


@given(content=mutations(DAMAGED, delimiter=b", "))
def test_a_damaged_dataset_is_refused_or_read_as_it_stands(content: bytes) -> None:
    """There is no other error and no wrong distribution, by a parser of Python's literals."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return  # refused before, by whoever reads the file
    try:
        windows = read(text)
    except TraceError as refusal:
        assert str(refusal).startswith("pool/chunk-1-dataset.json: ")  # noqa: PT017  # it need not be refused
        return
    documents = {int(start): fields for start, fields in json.loads(text).items()}
    for window in windows:
        fields = documents.pop(window.start_s)
        text_field = "input_tokens" if "input_tokens" in fields else "text_tokens"
        kinds = [kind for kind in ("image", "audio", "video") if f"{kind}_count" in fields]
        found = {text_field: window.text, "output_tokens": window.output}
        for kind, (count, tokens) in zip(kinds, window.pieces, strict=True):
            found |= {f"{kind}_count": count, f"{kind}_tokens": tokens}
        for name, distribution in found.items():
            expected = ast.literal_eval(fields[name])
            assert distribution.values.tolist() == list(expected)
            assert distribution.up_to == pytest.approx(np.cumsum(list(expected.values())), abs=1e-5)
    for fields in documents.values():
        assert {} in [ast.literal_eval(found) for found in fields.values() if found.startswith("{")]


def test_real_distributions_are_read_as_python_reads_them(trace_dir: Path) -> None:
    """All 140 windows of the pool of images, by Python's own parser of literals."""
    path = trace_dir / "servegen" / "multimodal_mm-image_traces_and_datasets.tar.gz"
    seen = 0
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith("-dataset.json"):
                file = archive.extractfile(member)
                assert file is not None
                text = file.read().decode()
                for window, fields in zip(read(text), json.loads(text).values(), strict=True):
                    assert dict(
                        zip(window.text.values.tolist(), np.diff(window.text.up_to, prepend=0), strict=True)
                    ) == (pytest.approx(ast.literal_eval(fields["text_tokens"])))
                    seen += 1
    assert seen == 140
