from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from told_formats import AZURE_LLM, EXAMPLES, detected, refusal, written

from traces import read_trace
from traces.readers.formats import FORMATS, detect_format


def test_a_folder_with_one_trace_is_that_trace(tmp_path: Path) -> None:
    """A file beside it that is no trace, hidden files and pipes do not matter."""
    written(tmp_path / "README.md", b"# Real traces\n")
    written(tmp_path / ".hidden", AZURE_LLM)
    os.mkfifo(tmp_path / "fifo")
    trace = written(tmp_path / "code.csv", AZURE_LLM)
    assert detect_format(tmp_path) == (trace, FORMATS["azure-llm"])
    assert read_trace(tmp_path).functions == ("code",)


def test_a_folder_with_several_traces_names_them(tmp_path: Path) -> None:
    """Nobody chooses silently; up to ten are named, in the order of their names."""
    for number in range(12):
        written(tmp_path / f"{number:02d}" / "it.csv", AZURE_LLM)
    fault = refusal(tmp_path)
    assert fault.startswith("holds 12 traces; name one of 00/it.csv, 01/it.csv, ")
    assert fault.endswith("09/it.csv, ...")


def test_a_folder_without_a_trace_says_why(tmp_path: Path) -> None:
    """An empty folder, one with no trace, one whose trace is packed in an unknown way."""
    assert refusal(tmp_path).startswith("holds no trace of a known format (azure-functions-2019, ")
    written(tmp_path / "README.md", b"# Real traces\n")
    assert refusal(tmp_path).endswith("parquet)")
    packed = written(tmp_path / "dataset.tar.xz", b"\xfd7zXZ\0")
    assert refusal(tmp_path).endswith(f"; {packed}: is packed as xz; unpack it, or pack it as gzip or zstd")


def test_folders_that_are_traces_are_found_below(tmp_path: Path) -> None:
    """Pools of clients and days of Azure are folders; one of them in a folder is its only trace."""
    written(tmp_path / "language" / "m-small" / "chunk-3-trace.csv", b"0,0,0,,,\n")
    pool = tmp_path / "language" / "m-small"
    assert detected(pool) == "servegen"
    assert detect_format(tmp_path / "language") == (pool, FORMATS["servegen"])
    assert detect_format(tmp_path) == (pool, FORMATS["servegen"])
    written(tmp_path / "azure" / "day_invocations.csv.gz", gzip.compress(EXAMPLES["azure-functions-2019"]))
    assert detected(tmp_path / "azure") == "azure-functions-2019"
    assert refusal(tmp_path) == "holds 2 traces; name one of azure, language/m-small"


def test_thousands_of_clients_are_a_pool(tmp_path: Path) -> None:
    """A pool is told by the names of its files, and none of them is opened."""
    for number in range(3000):
        (tmp_path / f"chunk-{number}-trace.csv").touch()
    assert detected(tmp_path) == "servegen"


def test_thousands_of_other_files_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some hundred files, or ten thousand names, one has to be named."""
    for number in range(300):
        (tmp_path / f"{number}.csv").touch()
    assert refusal(tmp_path) == "holds more than 200 files to look at; name one"
    monkeypatch.setattr("traces.readers.looks.MOST_NAMES", 299)
    assert refusal(tmp_path) == "holds more than 299 files; name one"


def test_what_lies_deeper_is_to_be_named(tmp_path: Path) -> None:
    """A folder is searched, and its folders, and no further."""
    trace = written(tmp_path / "a" / "b" / "it.csv", AZURE_LLM)
    assert "holds no trace" in refusal(tmp_path)
    assert detect_format(tmp_path / "a") == (trace, FORMATS["azure-llm"])


def test_a_file_that_is_only_called_like_a_day_makes_no_folder_of_days(tmp_path: Path) -> None:
    """A note on invocations beside a trace of another kind is a note."""
    written(tmp_path / "about_invocations.md", b"# Invocations\n")
    trace = written(tmp_path / "it.csv", AZURE_LLM)
    assert detect_format(tmp_path) == (trace, FORMATS["azure-llm"])


def test_a_folder_inside_itself_has_an_end(tmp_path: Path) -> None:
    """A link to the folder above is not followed for ever."""
    (tmp_path / "again").symlink_to(tmp_path)
    assert "holds no trace" in refusal(tmp_path)
    trace = written(tmp_path / "it.csv", AZURE_LLM)
    assert detect_format(trace) == (trace, FORMATS["azure-llm"])


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("openb_gpu_v2023", "holds instances, not requests: `dilu replay openb --trace {}` places them"),
        ("openb_gpu_v2023/openb_pod_list_default.csv", "`dilu replay openb --trace {parent}` places them"),
        ("openb_gpu_v2023/openb_node_list_all_node.csv", "openb --trace {parent}` places instances on them"),
        ("azure_functions_2019/sample10_durations.csv", "name the file of invocations beside it"),
        ("azure_functions_2019/sample500_memory.csv", "name the file of invocations beside it"),
        ("infless", "holds 3 traces; name one of Bursty.txt, Periodic.txt, Sporadic.txt"),
        ("servegen", "holds 3 traces; name one of language_m-large_traces.tar.gz"),
        ("LICENSES", "holds no trace of a known format"),
        (".", "traces; name one of azure_functions_2019, azure_functions_2021/AzureF"),
    ],
)
def test_what_stands_beside_traces_says_what_it_is_for(trace_dir: Path, name: str, fault: str) -> None:
    """Instances, nodes, durations, memory, licences, and folders of several traces."""
    path = trace_dir / name
    assert fault.format(path, parent=path.parent) in refusal(path)


def test_a_folder_of_instances_alone_says_so(trace_dir: Path, tmp_path: Path) -> None:
    """Both lists beside each other, which is what `dilu replay openb` takes, in the order of their names."""
    for name in ("openb_pod_list_default.csv", "openb_node_list_gpu_node.csv"):
        written(tmp_path / name, (trace_dir / "openb_gpu_v2023" / name).read_bytes())
    said = refusal(tmp_path)
    assert said.startswith(str(tmp_path / "openb_pod_list_default.csv"))
    assert said.endswith(f"holds instances, not requests: `dilu replay openb --trace {tmp_path}` places them")
