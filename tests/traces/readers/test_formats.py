from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import mutations
from told_formats import (
    AZURE_LLM,
    EXAMPLES,
    MOONCAKE,
    columns,
    detected,
    is_told,
    refusal,
    tar,
    written,
    zstd,
)

from traces import Trace, TraceError, read_trace, write_trace
from traces.readers import formats
from traces.readers.formats import FORMATS, detect_format, find_format

REAL = {
    "azure_functions_2019": "azure-functions-2019",
    "azure_functions_2019/sample5_invocations.csv": "azure-functions-2019",
    "azure_functions_2019/sample10_invocations.csv": "azure-functions-2019",
    "azure_functions_2019/sample500_invocations.csv": "azure-functions-2019",
    "azure_functions_2021/AzureFunctionsInvocationTraceForTwoWeeksJan2021_first998.csv": (
        "azure-functions-2021"
    ),
    "azure_llm_2023/AzureLLMInferenceTrace_conv.csv": "azure-llm",
    "burstgpt/BurstGPT_1_first400.csv": "burstgpt",
    "mooncake_fast25/conversation_trace.jsonl.gz": "mooncake",
    "mooncake_fast25/synthetic_trace.jsonl.gz": "mooncake",
    "servegen/language_m-large_traces.tar.gz": "servegen",
    "servegen/language_m-small_traces.tar.gz": "servegen",
    "servegen/multimodal_mm-image_traces_and_datasets.tar.gz": "servegen",
    **{f"infless/{name}.txt": "rate-series" for name in ("Bursty", "Periodic", "Sporadic")},
    **{f"streambox/{name}-load.txt": "rate-series" for name in ("_bursty", "bursty", "periodic", "sporadic")},
}
TABLES = {
    "azure_functions_2019/sample500_invocations.csv": {},
    "azure_functions_2021/AzureFunctionsInvocationTraceForTwoWeeksJan2021_first998.csv": {},
    "azure_llm_2023/AzureLLMInferenceTrace_conv.csv": {},
    "burstgpt/BurstGPT_1_first400.csv": {},
}

Packing = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for one file after another."""
    return tmp_path_factory.mktemp("formats")


@pytest.mark.parametrize(("name", "format_name"), REAL.items())
def test_real_traces_are_recognised(trace_dir: Path, name: str, format_name: str) -> None:
    """Every trace of the pack is of one known format, and no other format takes it."""
    path = trace_dir / name
    assert detected(path) == format_name
    look = formats.look_at(path)
    assert [entry.name for entry in FORMATS.values() if entry.recognises(look)] == [format_name]


@pytest.mark.parametrize("packing", [gzip.compress, zstd])
@pytest.mark.parametrize("name", [name for name in REAL if "." in name])
def test_packed_traces_are_recognised(trace_dir: Path, tmp_path: Path, name: str, packing: Packing) -> None:
    """Packed as gzip or zstd, under a name that says nothing, a trace is recognised as before."""
    content = (trace_dir / name).read_bytes()
    plain = gzip.decompress(content) if name.endswith(".gz") else content
    assert detected(written(tmp_path / "it", plain)) == REAL[name]
    assert detected(written(tmp_path / "it", packing(plain))) == REAL[name]


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_recognised_and_read_as_parquet(trace_dir: Path, tmp_path: Path, name: str) -> None:
    """What pandas makes of a CSV file, with its own types, gives the very same trace."""
    plain = written(tmp_path / "plain" / Path(name).name, (trace_dir / name).read_bytes())
    frame = pd.read_csv(plain)
    converted = tmp_path / "converted" / f"{plain.stem}.parquet"
    converted.parent.mkdir()
    frame.to_parquet(converted, row_group_size=150)
    assert detected(converted) == REAL[name]
    assert columns(read_trace(converted)) == columns(read_trace(plain))


def test_times_as_times_are_read_from_parquet(trace_dir: Path, tmp_path: Path) -> None:
    """Time stamps that pandas understood as such are the same to 100 ns."""
    plain = trace_dir / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
    frame = pd.read_csv(plain)
    frame["TIMESTAMP"] = pd.to_datetime(frame["TIMESTAMP"])
    frame.to_parquet(tmp_path / "conv.parquet")
    assert columns(read_trace(tmp_path / "conv.parquet")) == columns(read_trace(plain))


def test_the_own_form_is_recognised(tmp_path: Path) -> None:
    """What was written is read without a word on its format."""
    trace = Trace.from_functions({"f": [0.5]}, duration_s=2.0)
    write_trace(tmp_path / "it", trace)
    assert detected(tmp_path / "it") == "parquet"
    assert columns(read_trace(tmp_path / "it")) == columns(trace)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: content, id="as it is"),
        pytest.param(lambda content: content.replace(b"\n", b"\r\n"), id="other line ends"),
        pytest.param(lambda content: b"\xef\xbb\xbf" + content, id="mark of byte order"),
        pytest.param(lambda content: content.rstrip(), id="no last line end"),
        pytest.param(lambda content: content + content.split(b"\n")[1] * 5000, id="a long line at the end"),
        pytest.param(lambda content: content + b"\xff", id="damage further down, which is for the reader"),
    ],
)
def test_small_traces_are_recognised(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """A format is told by its beginning, whatever the line ends, and no name of a file is needed."""
    assert detected(written(tmp_path / "it", change(EXAMPLES[name]))) == name


def test_columns_may_be_quoted_in_any_order_and_more(tmp_path: Path) -> None:
    """A header is a set of names."""
    content = b'"Other", "GeneratedTokens","TIMESTAMP",ContextTokens\nx,1,2023-11-16 18:15:46,2\n'
    assert detected(written(tmp_path / "it", content)) == "azure-llm"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b" \r\n\n", "the file is empty", id="blank"),
        pytest.param(
            AZURE_LLM.replace(b"GeneratedTokens", b"Generated"), "found text 'TIMESTAMP,C", id="column"
        ),
        pytest.param(AZURE_LLM.split(b"\n", 1)[1], "found text '2023-11-16", id="no header"),
        pytest.param(AZURE_LLM.replace(b",", b";"), "line 1: found fields parted by ';'", id="semicolon"),
        pytest.param(AZURE_LLM.replace(b",", b"\t"), r"line 1: found fields parted by '\t'", id="tab"),
        pytest.param(MOONCAKE.replace(b"input_length", b"input"), "found text '{\"timestamp", id="key"),
        pytest.param(b"[" * 100_000, "found text '[[[", id="deep"),
        pytest.param(b'{"a":' * 20_000, "found text '{", id="deeper"),
        pytest.param(b"[1, 2]\n", "found text '[1, 2]'", id="list"),
        pytest.param(b"x" * 2**20, "found text 'xxx", id="long line"),
        pytest.param(b"1 2 x\n", "found text '1 2 x'", id="nearly numbers"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", r"found text '\\x89PNG'", id="image"),
        pytest.param(b"\xfd7zXZ\0\0\4", "is packed as xz; unpack it", id="xz"),
        pytest.param(b"PK\x03\x04\x14", "is packed as zip; unpack it", id="zip"),
        pytest.param(b"Rar!\x1a\x07\x01\0", "is packed as rar; unpack it", id="rar"),
        pytest.param(gzip.compress(AZURE_LLM)[:-20], "cannot be unpacked", id="cut gzip"),
        pytest.param(b"PAR1PAR1", "cannot be read, it is damaged", id="cut Parquet"),
        pytest.param(tar({"invocations.csv": b""}), "found an archive of 'invocations.csv'; only", id="tar"),
        pytest.param(b"function,arrival_s\nf,0\n", "which is Parquet: pandas", id="own columns as CSV"),
        pytest.param(b"time_s,action,name,service,kind\n", "holds instances, not requests", id="instances"),
    ],
)
def test_near_misses_are_told(tmp_path: Path, content: bytes, fault: str) -> None:
    """What is no trace, or is one that nobody can read as it is, is refused with what was found."""
    assert fault in refusal(written(tmp_path / "it", content))


def test_an_unknown_table_is_told_by_its_columns(tmp_path: Path) -> None:
    """A Parquet file has no first line."""
    pd.DataFrame({"x": [1], "arrival_s": [2]}).to_parquet(tmp_path / "it")
    assert "found columns 'arrival_s, x', which is of no known format" in refusal(tmp_path / "it")


def test_messages_stay_short(tmp_path: Path) -> None:
    """Neither a line without end nor thousands of columns are shown whole."""
    assert len(refusal(written(tmp_path / "it", b"x," * 10**6))) < 300
    pd.DataFrame({f"column {number}": [1] for number in range(500)}).to_parquet(tmp_path / "it")
    assert len(refusal(tmp_path / "it")) < 300


@pytest.mark.parametrize("name", ["none", "a\0b", "x" * 300, "fifo", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A missing file, a name that none can have, a pipe that nobody writes to, a device without end."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(TraceError) as caught:
        detect_format(name)
    assert caught.value.path == Path(name)


def test_a_folder_that_may_not_be_read_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is told."""

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert refusal(tmp_path) == "cannot be read: Permission denied"


@given(st.binary(max_size=2000) | st.sampled_from(list(EXAMPLES.values())).flatmap(mutations))
@example(b"PAR1")
@example(b"\x1f\x8b")
@example(b"\x28\xb5\x2f\xfd")
def test_any_bytes_are_a_format_or_one_error(folder: Path, content: bytes) -> None:
    """No bytes make it raise anything else, in the file's name and in one line."""
    assert is_told(written(folder / "any", content), FORMATS)


@given(st.data())
def test_a_damaged_archive_is_a_format_or_one_error(folder: Path, data: st.DataObject) -> None:
    """Headers of an archive may say anything."""
    content = bytearray(tar({"x": b"", "chunk-0-trace.csv": b"0,0,0,,,\n", "chunk-1-trace.csv": b""}))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 2047))] = data.draw(st.integers(0, 255))
    assert is_told(written(folder / "any", bytes(content)), ["servegen"])


@pytest.mark.parametrize("packing", [gzip.compress, zstd])
def test_a_huge_archive_is_looked_at_and_not_read(tmp_path: Path, packing: Packing) -> None:
    """Its first part is unpacked and no more: what is cut off or damaged behind it does not show."""
    member = np.random.default_rng(0).bytes(8 * 2**20)
    for name, said in (("d/chunk-7-trace.csv", None), ("other", "found an archive of 'other'")):
        packed = packing(tar({name: member, "chunk-8-trace.csv": member}))
        path = written(tmp_path / "it", packed[: len(packed) // 4])
        assert detected(path) == "servegen" if said is None else said in refusal(path)
        with pytest.raises(TraceError, match="cut off"):
            read_trace(path, format="servegen")


def test_formats_are_found_by_name() -> None:
    """A wrong name is told the nearest one, or all."""
    assert [find_format(name).name for name in FORMATS] == list(FORMATS)
    with pytest.raises(TraceError, match=r"format: found 'burst-gpt'; did you mean 'burstgpt'"):
        find_format("burst-gpt")
    with pytest.raises(TraceError, match=r"format: found 'q'; allowed are azure-functions-2019, .*, parquet"):
        find_format("q")


def test_a_named_format_overrides_the_content(tmp_path: Path) -> None:
    """A file is read as what it is said to be, and refused by that reader."""
    path = written(tmp_path / "it.csv", AZURE_LLM)
    assert len(read_trace(path, format="azure-llm")) == 1
    with pytest.raises(TraceError, match="Timestamp: the column is missing"):
        read_trace(path, format="burstgpt")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_read_through_the_registry(tmp_path: Path, name: str) -> None:
    """Each reader is reached by its format, and tells how far it is."""
    path = written(tmp_path / "it", EXAMPLES[name])
    told: list[tuple[int, int]] = []
    trace = read_trace(path, progress=lambda done, of: told.append((done, of)))
    assert columns(trace) == columns(read_trace(str(path), format=name))
    assert told
    assert told[-1][0] == told[-1][1]
