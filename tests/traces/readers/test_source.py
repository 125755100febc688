from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import TraceError
from traces.readers import source
from traces.readers.source import Block, blocks, head, identity, opened, read_text

MIB = 2**20

# b"1,2\n3,4\n" * 8 as `zstd --check` packs it; without a checksum, damage to the content is not to be found
CHECKED_ZSTD = bytes.fromhex("28b52ffd045875000040312c320a332c340a0100dd59b8f981d570")


def zstd(data: bytes) -> bytes:
    """One zstd frame; what it says of its length is left to the library."""
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip of two members": lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]),
    "padded gzip": lambda data: gzip.compress(data) + b"\0" * 600,
    "zstd": zstd,
    "zstd of two frames": lambda data: zstd(data[:5]) + zstd(data[5:]),
    "zstd behind a frame to skip": lambda data: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(data),
}


@contextmanager
def small(block: int = 7, longest_line: int = 100) -> Iterator[None]:
    """Make the edges of blocks so frequent that a short text meets them."""
    with patch.object(source, "BLOCK", block), patch.object(source, "LONGEST_LINE", longest_line):
        yield


@contextmanager
def peak_below(most: int) -> Iterator[None]:
    """Assert that Python holds at most so many bytes more at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@given(
    text=st.text(alphabet="ab,é\u2028€😀\n", min_size=1, max_size=60).filter(lambda text: text.strip()),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    packing=st.sampled_from(sorted(PACKINGS)),
    block=st.integers(1, 30),
)
def test_blocks_are_the_text_in_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, text: str, line_end: str, mark: bytes, packing: str, block: int
) -> None:
    """However it is packed and wherever blocks end, they join to the text and know their lines."""
    content = text.replace("\n", line_end).encode()
    path = tmp_path_factory.mktemp("source") / "t"
    path.write_bytes(PACKINGS[packing](mark + content))
    with small(block, longest_line=1000):
        found = list(blocks(path))
        assert read_text(path) == content.decode()
    assert b"".join(part.data for part in found) == content
    assert all(part.data.endswith(b"\n") for part in found[:-1])
    before = 0
    for part in found:
        assert part.first_line == before + 1
        before += part.data.count(b"\n")
    assert head(path) == mark + content


def test_only_one_mark_of_byte_order_is_left_out(tmp_path: Path) -> None:
    """A second one is text, at whatever size of blocks."""
    path = tmp_path / "t"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfa")
    for block in (1, 3, 50):
        with small(block):
            assert list(blocks(path)) == [Block(1, b"\xef\xbb\xbfa")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ab\ncd\nef\n\xffg\n", "line 4: found byte 0xff, allowed is UTF-8 text"),
        (b"ab\ncd\nef\n\xc3\nz", "line 4: found byte 0xc3"),
        (b"ab\ncd\nef\ng\xe2\x82", "line 4: found byte 0xe2"),
        (b"ab\ncd\nef\n\0g\n", "line 4: found byte 0x00"),
        (b"ab\r\ncd\r\ne\rf\r\n", "line 3: found a carriage return inside a line"),
        (b"ab\ncd\nef\r", "line 3: found a carriage return inside a line"),
        ("ab\ncd".encode("utf-16"), "line 1: found byte 0xff"),
        (b"ab\n" + b"x" * 120, "line 2: is longer than 100 bytes"),
        (b"", "the file is empty"),
        (b" \n\r\n", "the file is empty"),
        (b"  ", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
    ],
)
@pytest.mark.parametrize("block", [1, 4, 1000])
def test_what_is_no_text_is_refused_with_its_line(
    tmp_path: Path, content: bytes, message: str, block: int
) -> None:
    """The line is that of the file, in the first block and in later ones."""
    path = tmp_path / "t"
    path.write_bytes(content)
    with small(block), pytest.raises(TraceError) as refusal:
        list(blocks(path))
    assert str(refusal.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("packing", ["gzip", "gzip of two members", "zstd", "zstd of two frames"])
@given(data=st.data())
def test_a_packed_file_that_is_cut_off_is_refused(
    tmp_path_factory: pytest.TempPathFactory, packing: str, data: st.DataObject
) -> None:
    """Less text never passes for the whole, unless the cut is between two members."""
    content = b"".join(b"%d,%d\n" % (row, row * row) for row in range(200))
    packed = PACKINGS[packing](content)
    whole = {len(packed), len(PACKINGS[packing.split()[0]](content[:5]))}
    cut = data.draw(st.integers(4, len(packed) - 1).filter(lambda cut: cut not in whole))
    path = tmp_path_factory.mktemp("source") / "t"
    path.write_bytes(packed[:cut])
    with pytest.raises(TraceError, match="damaged or cut off"):
        list(blocks(path))


@pytest.mark.parametrize("packing", ["gzip", "zstd with a checksum"])
@given(data=st.data())
def test_a_packed_file_with_wrong_bytes_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, packing: str, data: st.DataObject
) -> None:
    """A checksum finds any wrong byte of the content."""
    content = b"1,2\n3,4\n" * 8
    packed = bytearray(gzip.compress(content) if packing == "gzip" else CHECKED_ZSTD)
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("source") / "t"
    path.write_bytes(bytes(packed))
    try:
        found, refusal = b"".join(block.data for block in blocks(path)), ""
    except TraceError as error:
        found, refusal = content, str(error)
    assert found == content
    assert not refusal or refusal.startswith(str(path))


def test_wrong_bytes_behind_a_packed_file_are_refused(tmp_path: Path) -> None:
    """What follows must be packed too."""
    path = tmp_path / "t"
    for packed in (gzip.compress(b"a\n"), zstd(b"a\n")):
        path.write_bytes(packed + b"b\n")
        with pytest.raises(TraceError, match="damaged or cut off"):
            list(blocks(path))


def test_a_line_of_10_gb_is_refused_early(tmp_path: Path) -> None:
    """A sparse file without a line end costs no more memory than the longest line."""
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(10 * 10**9)
    with (
        peak_below(4 * source.LONGEST_LINE),
        pytest.raises(TraceError, match=r"t.csv: line 1: is longer than"),
    ):
        list(blocks(path))


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize(
    ("line", "message"), [(b"0", "line 1: is longer than"), (b"0\n", "unpacks to more than")]
)
def test_a_bomb_is_refused_in_bounded_memory(
    tmp_path: Path, pack: Callable[[bytes], bytes], line: bytes, message: str
) -> None:
    """Half a gigabyte in half a megabyte or less, as one line or as many, is stopped on its way."""
    path = tmp_path / "t"
    path.write_bytes(pack(line * (64 * MIB // len(line))) * 8)
    assert path.stat().st_size < MIB
    with peak_below(64 * MIB), pytest.raises(TraceError, match=message):
        sum(len(block.data) for block in blocks(path))


def test_a_small_file_that_expands_far_is_read(tmp_path: Path) -> None:
    """The bound on expansion is for what becomes large."""
    path = tmp_path / "t"
    path.write_bytes(gzip.compress(b"0\n" * MIB))
    assert path.stat().st_size * source.MOST_EXPANSION < 2 * MIB
    assert len(read_text(path)) == 2 * MIB


def test_a_text_that_is_taken_in_whole_is_bounded(tmp_path: Path) -> None:
    """A file of some gigabytes is refused after some megabytes."""
    path = tmp_path / "t"
    path.write_bytes(b"0\n" * 1000)
    with (
        small(50),
        patch.object(source, "MOST_TEXT", 500),
        pytest.raises(TraceError, match="longer than 500"),
    ):
        read_text(path)


@pytest.mark.parametrize("read", [lambda path: list(blocks(path)), read_text, head, identity])
def test_only_regular_files_are_opened(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """A pipe that nobody writes to, a device, a folder and a name that cannot be are refused at once."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(TraceError, match="is not a regular file"):
            read(path)
    for path in (tmp_path / "none", tmp_path / "a\0b", tmp_path / ("a" * 300), tmp_path / "none" / "a"):
        with pytest.raises(TraceError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("packing", PACKINGS)
def test_progress_is_in_bytes_of_the_file(tmp_path: Path, packing: str) -> None:
    """It rises to the size of the file as it is stored, packed or not."""
    path = tmp_path / "t"
    path.write_bytes(PACKINGS[packing](b"".join(b"%d\n" % row for row in range(200_000))))
    told: list[tuple[int, int]] = []
    with small(10_000):
        list(blocks(path, progress=lambda done, of: told.append((done, of))))
    size = path.stat().st_size
    assert {of for _, of in told} == {size}
    done = [done for done, _ in told]
    assert done == sorted(done)
    assert done[0] < size
    assert done[-1] == size


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_read_returns_what_was_asked_for(tmp_path: Path, packing: str) -> None:
    """Also across the members and frames of a packed file."""
    path = tmp_path / "t"
    path.write_bytes(PACKINGS[packing](b"0123456789"))
    with opened(path) as stream:
        assert [stream.read(4) for _ in range(4)] == [b"0123", b"4567", b"89", b""]


def test_identity_is_that_of_the_bytes_as_stored(tmp_path: Path) -> None:
    """The name without its folder, and the SHA-256 that `sha256sum` prints."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"abc")
    assert identity(path) == {
        "name": "t.csv",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
