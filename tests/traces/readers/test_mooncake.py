from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, trace_or_refusal

from traces import Trace, TraceError
from traces.readers.mooncake import read_mooncake

Request = tuple[int, int, int]
"""Time stamp (ms), input and output tokens."""

requests_strategy = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 3000), st.integers(0, 10**6)), min_size=1, max_size=30
).map(sorted)


def line_of(stamp_ms: int, input_tokens: int, output_tokens: int) -> str:
    """Return a request as the files have it."""
    ids = list(range(-(-input_tokens // 512)))
    return json.dumps(
        {
            "timestamp": stamp_ms,
            "input_length": input_tokens,
            "output_length": output_tokens,
            "hash_ids": ids,
        }
    )


def write(path: Path, lines: list[str]) -> Path:
    """Write lines as a text file."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


VALID = "\n".join(line_of(*request) for request in [(5, 600, 3), (5, 1, 0), (3005, 512, 70), (6007, 90, 8)])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place for one file after another."""
    return tmp_path_factory.mktemp("mooncake") / "conversation_trace.jsonl"


def requests(trace: Trace) -> list[Request]:
    """Return what a trace of one function holds, time in milliseconds from the first request."""
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    stamps = (trace.arrival_s * 1000).round().astype(int).tolist()
    return list(zip(stamps, trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))


def parsed(content: bytes) -> list[Request]:
    """Parse a file the slow way."""
    rows = [json.loads(line) for line in content.decode("utf-8-sig").rstrip().split("\n")]
    assert all(len(row["hash_ids"]) == -(-row["input_length"] // 512) for row in rows)
    stamps = [row["timestamp"] for row in rows]
    assert stamps == sorted(stamps)
    return [(row["timestamp"] - stamps[0], row["input_length"], row["output_length"]) for row in rows]


@given(found=requests_strategy)
def test_what_is_written_is_read(file: Path, found: list[Request]) -> None:
    """Each request keeps its place, its time from the first one, and its tokens."""
    trace = read_mooncake(write(file, [line_of(*request) for request in found]), ticks="keep")
    assert requests(trace) == [(stamp - found[0][0], *tokens) for stamp, *tokens in found]
    gaps = [gap for gap in np.diff([stamp for stamp, *_ in found]).tolist() if gap]
    assert trace.duration_s == pytest.approx((found[-1][0] - found[0][0] + min(gaps, default=1)) / 1000)
    assert trace.provenance["starts_at_ms"] == found[0][0]


@given(found=requests_strategy, seed=st.integers(0, 100))
def test_spreading_moves_a_request_within_its_tick(file: Path, found: list[Request], seed: int) -> None:
    """No request leaves the order of the file, its own stamp, or the tick that begins with it."""
    path = write(file, [line_of(*request) for request in found])
    kept, spread = read_mooncake(path, ticks="keep"), read_mooncake(path, seed=seed)
    tick_s = spread.provenance["tick_s"]
    assert isinstance(tick_s, float)
    moved = spread.arrival_s - kept.arrival_s
    assert (moved >= -1e-9).all()
    assert (moved < 2 * tick_s).all()
    stamps = np.unique(kept.arrival_s)
    reached = np.searchsorted(stamps, spread.arrival_s + 1e-9, side="right")
    assert (stamps[reached - 1] == kept.arrival_s).all()
    assert [tokens for _, *tokens in requests(spread)] == [tokens for _, *tokens in requests(kept)]
    assert spread.duration_s == kept.duration_s


def test_a_tick_is_filled_evenly(file: Path) -> None:
    """Requests of one stamp lie anywhere up to the next tick, and after a pause no further than one tick."""
    stamps = [0] * 4000 + [3000] * 4000 + [30_000] * 4000
    trace = read_mooncake(write(file, [line_of(stamp, 1, 1) for stamp in stamps]), seed=3)
    for start_s in (0.0, 3.0, 30.0):
        inside = trace.arrival_s[(trace.arrival_s >= start_s) & (trace.arrival_s < start_s + 3)] - start_s
        assert inside.size == 4000
        assert np.histogram(inside, bins=6, range=(0, 3))[0] == pytest.approx(4000 / 6, abs=5 * 24)
    assert trace.duration_s == 33.0


@pytest.mark.parametrize(("next_ms", "filled_s"), [(1900, 1.9), (2000, 1.0)])
def test_a_clock_that_jitters_has_no_holes(file: Path, next_ms: int, filled_s: float) -> None:
    """A tick that is a little long is filled to its end; at twice the shortest one, one was left out."""
    stamps = [0] * 2000 + [next_ms, next_ms + 1000]
    trace = read_mooncake(write(file, [line_of(stamp, 1, 1) for stamp in stamps]))
    assert 0.99 * filled_s < trace.arrival_s[:2000].max() < filled_s


def test_the_seed_and_the_function_choose_the_places(file: Path) -> None:
    """The same seed and name give the same bytes, others give others."""
    path = write(file, [line_of(0, 1, 1)] * 50)
    first, again = read_mooncake(path, seed=1), read_mooncake(path, seed=1)
    assert first.arrival_s.tobytes() == again.arrival_s.tobytes()
    assert first.provenance == again.provenance
    for other in (read_mooncake(path, seed=2), read_mooncake(path, seed=1, function="chat")):
        assert other.arrival_s.tolist() != first.arrival_s.tolist()


@pytest.mark.parametrize(
    ("name", "function"),
    [("conversation_trace.jsonl", "conversation"), ("toolagent_trace.jsonl.gz", "toolagent"), ("x", "x")],
)
def test_the_function_is_named_by_the_file_or_the_caller(tmp_path: Path, name: str, function: str) -> None:
    """The name up to its first dot, without what all these files share."""
    path = write(tmp_path / name, [line_of(0, 1, 1)])
    assert read_mooncake(path).functions == (function,)
    assert read_mooncake(path, function="chat").functions == ("chat",)


def test_packed_files_read_alike(file: Path, tmp_path: Path) -> None:
    """Plain, gzip and zstd hold the same trace, and what was read is on record."""
    plain = read_mooncake(write(file, VALID.split("\n")))
    (tmp_path / "conversation_trace.jsonl.gz").write_bytes(gzip.compress(VALID.encode()))
    (tmp_path / "conversation_trace.jsonl.zst").write_bytes(pa.compress(VALID.encode(), "zstd", asbytes=True))
    for packed in map(read_mooncake, sorted(tmp_path.iterdir())):
        assert packed.arrival_s.tolist() == plain.arrival_s.tolist()
        assert packed.provenance["left_out"] == "hash_ids, the ids of 5 prefix blocks"


def test_progress_is_told_up_to_the_end(file: Path) -> None:
    """The last word is that all bytes are read."""
    seen: list[tuple[int, int]] = []
    path = write(file, VALID.split("\n"))
    read_mooncake(path, progress=lambda done, size: seen.append((done, size)))
    assert seen[-1] == (path.stat().st_size,) * 2


@given(content=mutations(VALID.encode(), delimiter=b", "))
def test_a_damaged_file_is_refused_or_read_as_it_stands(file: Path, content: bytes) -> None:
    """There is no other error and no wrong trace."""
    trace = trace_or_refusal(lambda path: read_mooncake(path, ticks="keep"), file, content)
    if trace is not None:
        assert requests(trace) == parsed(content)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"timestamp": 9}', "found the keys 'timestamp'; allowed is each of timestamp, input_length"),
        (
            '{"timestamp": 9, "timestamp": 9, "input_length": 1, "output_length": 1, "hash_ids": [0]}',
            "found the keys 'timestamp', 'timestamp'",
        ),
        (
            '{"timestamp": 9, "input_length": 1, "output_length": 1, "hash_ids": [0], "user": 1}',
            "found the keys .*'user'",
        ),
        ("{}", "found the keys none"),
        ("[]", ".*allowed is a JSON object"),
        ("7", ".*allowed is a JSON object"),
        ("[" * 100_000, ".*allowed is a JSON object"),
        ('{"a":' * 100_000, ".*allowed is a JSON object"),
        ('{"timestamp": 9' + "0" * 5000 + "}", ".*allowed is a JSON object"),
        (line_of(9, 1, 1) + line_of(9, 1, 1), ".*allowed is a JSON object"),
        (line_of(9, 1, 1)[:-1], ".*allowed is a JSON object"),
        (line_of(4, 1, 1), "timestamp: found 4, allowed is 5 or later"),
        (line_of(-1, 1, 1), "timestamp: found -1, allowed is a whole number from 0"),
        (line_of(9, 1, 1).replace("9", "true"), "timestamp: found True"),
        (line_of(9, 1, 1).replace("9", "9.0"), "timestamp: found 9.0"),
        (line_of(9, 1, 1).replace("9", "1e400"), "timestamp: found inf"),
        (line_of(9, 1, 1).replace("9", "NaN"), ".*allowed is a JSON object"),
        (line_of(9, 1, 1).replace("9", "-Infinity"), ".*allowed is a JSON object"),
        (line_of(9, 1, 1).replace("9", '"9"'), "timestamp: found '9'"),
        (line_of(9, 1, 1).replace("9", "[]"), "timestamp: found a list or an object"),
        (line_of(10**16, 1, 1), "timestamp: found 10000000000000000"),
        (line_of(9, 1, 2**31), "output_length: found 2147483648"),
        (line_of(9, 1, 1).replace("[0]", "{}"), "hash_ids: found a list or an object"),
        (line_of(9, 1, 1).replace("[0]", "null"), "hash_ids: found None"),
        (line_of(9, 1, 1).replace("[0]", "[0.5]"), "hash_ids: found 0.5"),
        (line_of(9, 1, 1).replace("[0]", "[true]"), "hash_ids: found True"),
        (line_of(9, 1, 1).replace("[0]", "[-1]"), "hash_ids: found -1"),
        (line_of(9, 1, 1).replace("[0]", "[[0]]"), "hash_ids: found a list or an object"),
        (line_of(9, 513, 1).replace("[0, 1]", "[0]"), "hash_ids: found 1 ids, allowed are the 2 of an input"),
        (line_of(9, 512, 1).replace("[0]", "[0, 1]"), "hash_ids: found 2 ids, allowed are the 1 of an input"),
        ("", "found an empty line before the end"),
    ],
)
def test_a_wrong_line_is_refused(file: Path, row: str, message: str) -> None:
    """The fault is named with file and line, and with the key where there is one."""
    with pytest.raises(TraceError, match=rf"conversation_trace.jsonl: line 2: {message}") as refusal:
        read_mooncake(write(file, [line_of(5, 1, 1), row, line_of(9, 1, 1)]))
    assert len(str(refusal.value)) < 400


def test_nesting_at_the_limit_of_the_parser_is_refused(file: Path) -> None:
    """Whatever depth still parses, the message can be written."""
    for depth in range(850, 1010, 5):
        row = line_of(5, 1, 1).replace("[0]", "[" * depth + "]" * depth)
        with pytest.raises(TraceError, match="line 1: "):
            read_mooncake(write(file, [row]))


def test_a_fault_behind_many_lines_has_its_line(file: Path) -> None:
    """Lines are counted through the blocks in which a file is read."""
    lines = [line_of(stamp, 3000, 1) for stamp in range(60_000)]
    with pytest.raises(TraceError, match=r"line 60001: timestamp: found 7, allowed is 59999 or later"):
        read_mooncake(write(file, [*lines, line_of(7, 1, 1)]))
    assert len(read_mooncake(write(file, [*lines, "", ""]))) == 60_000


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (b"\n\n", "the file is empty")])
def test_a_file_without_requests_is_refused(file: Path, content: bytes, message: str) -> None:
    """No request is no trace."""
    file.write_bytes(content)
    with pytest.raises(TraceError, match=message):
        read_mooncake(file)


def test_a_wrong_option_is_refused(file: Path) -> None:
    """Words are those of the signature."""
    with pytest.raises(TraceError, match="ticks: found 'even', allowed are spread, keep"):
        read_mooncake(file, ticks="even")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "count", "span_s", "kept_cv", "spread_cv", "tick_s", "mean_tokens"),
    [
        ("conversation", 12_031, 3536.999, 3.034, 1.0, 2.997, (12_035, 343)),
        ("synthetic", 3_993, 1022.025, 1.011, 1.011, 0.001, (15_325, 149)),
    ],
)
def test_the_real_traces_have_their_known_figures(
    trace_dir: Path,
    name: str,
    count: int,
    span_s: float,
    kept_cv: float,
    spread_cv: float,
    tick_s: float,
    mean_tokens: tuple[int, int],
) -> None:
    """Count, span, variation and tokens are those of the files; spread over its ticks, a batch is Poisson."""
    path = trace_dir / "mooncake_fast25" / f"{name}_trace.jsonl.gz"
    kept, spread = read_mooncake(path, ticks="keep"), read_mooncake(path)
    assert len(kept) == len(spread) == count
    assert kept.arrival_s[[0, -1]].tolist() == [0.0, span_s]
    assert kept.duration_s == pytest.approx(span_s + tick_s)
    assert spread.provenance["tick_s"] == tick_s
    for trace, cv in ((kept, kept_cv), (spread, spread_cv)):
        gaps_s = np.diff(trace.arrival_s)
        assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, abs=0.02)
    assert kept.input_tokens is not None
    assert kept.output_tokens is not None
    assert (round(kept.input_tokens.mean()), round(kept.output_tokens.mean())) == mean_tokens
