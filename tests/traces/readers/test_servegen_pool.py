from __future__ import annotations

import csv
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations

from traces import TraceError
from traces.readers.servegen_pool import Pool, Windows, read_pool

ROWS = [
    "0,0.5,2.0,Gamma,0.25,8.0",
    "600,0,0,,0,0",
    "1200,0.125,1.7,Weibull,0.6,3.5",
    "1800,2,0.5,Gamma,4,0.1",
]
VALID = "\n".join(ROWS).encode()
DATASET = '{"0": {"input_tokens": "{5: 1.0}", "output_tokens": "{7: 0.5, 8: 0.5}"}}'

rows_strategy = st.lists(
    st.one_of(
        st.just("0,0,,0,0"),
        st.tuples(st.integers(1, 10**6), st.floats(0.01, 90)).map(
            lambda drawn: f"{drawn[0] / 600!r},{drawn[1]!r},Gamma,{1 / drawn[1] ** 2!r},0.5"
        ),
        st.tuples(st.integers(1, 10**6), st.floats(0.1, 100)).map(
            lambda drawn: f"{drawn[0] / 600!r},1.5,Weibull,{drawn[1]!r},0.5"
        ),
    ),
    min_size=1,
    max_size=20,
).map(lambda rows: [f"{600 * window},{row}" for window, row in enumerate(rows)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two clients, of which the second is written anew in each example."""
    folder = tmp_path_factory.mktemp("servegen")
    (folder / "chunk-0-trace.csv").write_bytes(VALID)
    return folder


def read_with(folder: Path, content: bytes) -> Windows:
    """Write the second client and return its windows."""
    (folder / "chunk-1-trace.csv").write_bytes(content)
    return read_pool(folder).clients[1].windows


def parsed(content: bytes) -> list[tuple[int, float, str, float]]:
    """Parse a file the slow way: start, rate, pattern and shape of each window."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    return [(int(row[0]), float(row[1]), row[3], float(row[4])) for row in rows]


def told(windows: Windows) -> list[tuple[int, float, str, float]]:
    """Return the same of what was read."""
    active = windows.rate_rps > 0
    pattern = np.where(active, np.where(windows.is_weibull, "Weibull", "Gamma"), "")
    assert (np.isnan(windows.shape) == ~active).all()
    columns = windows.start_s, windows.rate_rps, pattern, np.where(active, windows.shape, 0)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(rows=rows_strategy)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    """Every window keeps its rate, pattern and shape."""
    folder = tmp_path_factory.mktemp("pool")
    content = "".join(f"{row}\n" for row in rows).encode()
    (folder / "chunk-4-trace.csv").write_bytes(content)
    pool = read_pool(folder)
    assert told(pool.clients[0].windows) == parsed(content)
    assert pool.end_s == 600 * len(rows)


@given(content=mutations(VALID))
def test_a_damaged_file_is_refused_or_read_as_it_stands(folder: Path, content: bytes) -> None:
    """There is no other error and no wrong window; what is idle may say anything of its gaps."""
    try:
        windows = read_with(folder, content)
    except TraceError as error:
        refusal = error
    else:
        expected = [
            (start, rate, pattern, shape if rate else 0) for start, rate, pattern, shape in parsed(content)
        ]
        assert told(windows) == expected
        return
    assert str(refusal).startswith(f"{folder / 'chunk-1-trace.csv'}: ")
    assert len(str(refusal).splitlines()) == 1
    assert refusal.line is None or 1 <= refusal.line <= content.count(b"\n") + 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("600,0,0,,0", "line 2: found 5 fields, allowed are window_start_s, rate, cv, pattern, p1, p2"),
        ("600;0;0;;0;0", "line 2: found 1 fields"),
        ("", "line 2: found 1 fields"),
        ("1200,0,0,,0,0", "line 2: window_start_s: found '1200', allowed is windows of 600 s"),
        ("0,0,0,,0,0", "line 2: window_start_s: found '0'"),
        ("600.0,0,0,,0,0", "line 2: window_start_s: found '600.0', allowed is a whole number"),
        ("600,-0.5,0,,0,0", "line 2: rate: found '-0.5', allowed is a finite number from 0"),
        ("600,nan,0,,0,0", "line 2: rate: found 'nan'"),
        ("600,inf,0,,0,0", "line 2: rate: found 'inf'"),
        ("600,1e9,1,Gamma,1,1", "line 2: rate: found '1e9', allowed is a finite number from 0 to 1e.07"),
        ("600,2.0001,0.5,Gamma,4,0.1", "line 2: rate: found '2.0001', allowed is a rate of a whole number"),
        ("600,1,1,,1,1", "line 2: pattern: found '', allowed is Gamma or Weibull, or nothing at rate 0"),
        ("600,0,0,Gamma,1,1", "line 2: pattern: found 'Gamma'"),
        ("600,1,1,Pareto,1,1", "line 2: pattern: found 'Pareto'"),
        ("600,2,4,Gamma,0.5,0.1", "line 2: p1: found '0.5', allowed is the shape 1 / cv.2 of gamma gaps"),
        ("600,2,101,Gamma,1,0.1", "line 2: cv: found '101', allowed is above 0 and up to 100"),
        ("600,2,0,Gamma,1,0.1", "line 2: cv: found '0'"),
        ("600,2,0.5,Gamma,4,0", "line 2: p2: found '0', allowed is a scale above 0 s"),
        ("600,2,1,Weibull,0.09,1", "line 2: p1: found '0.09', allowed is a Weibull shape from 0.1 to 100"),
        ("600,2,1,Weibull,nan,1", "line 2: p1: found 'nan'"),
        ('600,2,1,"Weibull",0.5,1', "line 2: pattern: found '\"Weibull\"'"),
    ],
)
def test_a_wrong_window_is_refused_with_its_line(folder: Path, row: str, message: str) -> None:
    """The fault is named with file, line and column, and shown."""
    with pytest.raises(TraceError, match=f"chunk-1-trace.csv: {message}"):
        read_with(folder, "\n".join([ROWS[0], row, *ROWS[2:]]).encode())


def test_columns_in_another_order_are_refused(folder: Path) -> None:
    """There is no header, but a rate is a whole number of requests and a shape fits its variation."""
    for order in ([0, 2, 1, 3, 4, 5], [0, 1, 4, 3, 2, 5], [0, 1, 2, 3, 5, 4], [1, 0, 2, 3, 4, 5]):
        rows = [row.split(",") for row in ROWS]
        with pytest.raises(TraceError, match=r"chunk-1-trace.csv: line \d"):
            read_with(folder, "\n".join(",".join(row[at] for at in order) for row in rows).encode())


def test_clients_have_the_same_windows(folder: Path) -> None:
    """A file that ends early is not a client that fell silent."""
    with pytest.raises(
        TraceError, match=r"chunk-1-trace.csv: found windows from 0 to 1200 s, .* 0 to 1800 s"
    ):
        read_with(folder, "\n".join(ROWS[:3]).encode())
    (folder / "chunk-1-trace.csv").write_bytes(b"")
    with pytest.raises(TraceError, match=r"chunk-1-trace.csv: the file is empty"):
        read_pool(folder)


def pool_folder(folder: Path) -> Path:
    """Write a pool with datasets, and things that pools lie beside."""
    folder.mkdir()
    for client in (0, 2, 10):
        (folder / f"chunk-{client}-trace.csv").write_bytes(VALID)
    (folder / "chunk-2-dataset.json").write_text(DATASET, encoding="utf-8")
    (folder / "README.md").write_text("x", encoding="utf-8")
    (folder / "._chunk-0-trace.csv").write_bytes(b"\0\5\x16")
    return folder


def packed(folder: Path, path: Path, mode: str) -> Path:
    """Pack a folder as tar does."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname="m-large")
    return path


def same(one: Pool, other: Pool) -> bool:
    """Whether two pools have the same clients."""
    return [client.number for client in one.clients] == [client.number for client in other.clients] and all(
        told(a.windows) == told(b.windows) and len(a.token_windows) == len(b.token_windows)
        for a, b in zip(one.clients, other.clients, strict=True)
    )


def test_a_pool_is_a_folder_or_an_archive(tmp_path: Path) -> None:
    """Clients come by number, other files are passed over, and what was read is on record."""
    pool = read_pool(pool_folder(tmp_path / "pool"))
    assert [client.number for client in pool.clients] == [0, 2, 10]
    assert [len(client.token_windows) for client in pool.clients] == [0, 1, 0]
    assert [file["name"] for file in pool.files] == [
        "chunk-0-trace.csv",
        "chunk-10-trace.csv",
        "chunk-2-dataset.json",
        "chunk-2-trace.csv",
    ]
    for mode in ("w", "w:gz"):
        archive = packed(tmp_path / "pool", tmp_path / f"pool-{mode[2:]}", mode)
        assert same(read_pool(archive), pool)
        assert [file["name"] for file in read_pool(archive).files] == [archive.name]


def test_what_makes_no_pool_is_refused(tmp_path: Path) -> None:
    """No trace, a dataset alone, and two pools in one archive."""
    folder = pool_folder(tmp_path / "pool")
    with tarfile.open(tmp_path / "two.tar", "w") as archive:
        archive.add(folder, arcname="m-large")
        archive.add(folder, arcname="m-small")
    with pytest.raises(
        TraceError, match=r"two.tar/chunk-\d+-\w+.\w+: stands twice for client \d+; is it more"
    ):
        read_pool(tmp_path / "two.tar")
    (folder / "chunk-2-trace.csv").unlink()
    with pytest.raises(TraceError, match="pool: holds a dataset and no trace of client 2"):
        read_pool(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(TraceError, match=r"pool: holds no file named chunk-<client>-trace.csv"):
        read_pool(folder)


def test_a_fault_in_an_archive_has_its_member_and_line(tmp_path: Path) -> None:
    """The archive, the member and the line are named."""
    folder = pool_folder(tmp_path / "pool")
    (folder / "chunk-2-trace.csv").write_bytes(VALID.replace(b"0.125", b"-0.125"))
    archive = packed(folder, tmp_path / "pool.tar.gz", "w:gz")
    with pytest.raises(TraceError) as refusal:
        read_pool(archive)
    assert str(refusal.value).startswith(f"{archive}/chunk-2-trace.csv: line 3: rate: found '-0.125'")
