from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import TraceError
from traces.readers import archive
from traces.readers.archive import entries

FILES = {"a.txt": "first\n", "b.txt": "second é\n", "c.bin": "\0\1"}


def is_text(name: str) -> bool:
    """Whether a file is wanted here."""
    return name.endswith(".txt")


def tar(*members: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as writer:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            if isinstance(name, str):
                member.size = len(content)
            writer.addfile(member, io.BytesIO(content))
    return packed.getvalue()


VALID = tar(*((name, text.encode()) for name, text in FILES.items()))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place for one archive after another."""
    return tmp_path_factory.mktemp("archive") / "pool.tar"


def read(path: Path) -> dict[str, str]:
    """Return the texts by name, in the order they come."""
    return {entry.name: entry.text for entry in entries(path, is_text)}


def written(path: Path, content: bytes) -> Path:
    """Write an archive."""
    path.write_bytes(content)
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """Return a member that is no plain file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_folder_and_an_archive_hold_the_same_files(tmp_path: Path, form: int) -> None:
    """Wanted files alone are read, whatever the archive's dialect, packing, and folders within."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "deeper").mkdir()
    deep = "/".join(["deep" * 20] * 2)
    content = tar(
        (special(deep, tarfile.DIRTYPE), b""),
        *((f"{deep}/{name}", text.encode()) for name, text in FILES.items()),
        form=form,
    )
    wanted = {name: text for name, text in FILES.items() if is_text(name)}
    assert read(folder) == wanted
    assert read(written(tmp_path / "p.tar", content)) == wanted
    assert read(written(tmp_path / "p.tar.gz", gzip.compress(content))) == wanted
    assert read(written(tmp_path / "p.tar.zst", pa.compress(content, "zstd", asbytes=True))) == wanted


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (special("a.txt", tarfile.SYMTYPE, "/etc/passwd"), "member 'a.txt': is no plain file or folder"),
        (special("a.txt", tarfile.LNKTYPE, "b.txt"), "member 'a.txt': is no plain file or folder"),
        (special("x", tarfile.CHRTYPE), "member 'x': is no plain file or folder"),
        (special("x", tarfile.BLKTYPE), "member 'x': is no plain file or folder"),
        (special("x", tarfile.FIFOTYPE), "member 'x': is no plain file or folder"),
        ("/etc/a.txt", "member '/etc/a.txt': leads out of the archive"),
        ("../a.txt", "member '../a.txt': leads out of the archive"),
        ("a/../../b.bin", "member 'a/../../b.bin': leads out of the archive"),
        ("a\nb/../x", r"member 'a\\nb/../x': leads out of the archive"),
    ],
)
def test_a_member_that_is_more_than_a_file_is_refused(
    file: Path, member: str | tarfile.TarInfo, message: str
) -> None:
    """Links, devices and names that lead out are named, wanted or not."""
    with pytest.raises(TraceError, match=f"pool.tar: {message}") as refusal:
        read(written(file, tar(("z.txt", b"1"), (member, b""))))
    assert len(str(refusal.value).splitlines()) == 1


def test_an_archive_is_never_unpacked_to_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading needs no file beside the archive."""
    written(file, VALID)
    monkeypatch.setattr(os, "makedirs", pytest.fail)
    before = sorted(file.parent.iterdir())
    assert len(read(file)) == 2
    assert sorted(file.parent.iterdir()) == before


def test_too_many_and_too_large_are_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an archive or a folder may hold is bounded: files, bytes of a file, and bytes in all."""
    written(file, tar(("a.txt", b"x" * 3000), ("b.bin", b"x" * 9000)))
    monkeypatch.setattr(archive, "LARGEST_ENTRY", 2999)
    with pytest.raises(TraceError, match=r"pool.tar/a.txt: has 3000 bytes, allowed are"):
        read(file)
    monkeypatch.setattr(archive, "LARGEST_ENTRY", 3000)
    assert read(file) == {"a.txt": "x" * 3000}
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE", 10_000)
    with pytest.raises(TraceError, match=r"pool.tar: unpacks to more than"):
        read(file)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 2)
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE", 2**15)
    assert len(read(file)) == 1
    with pytest.raises(TraceError, match=r"pool.tar: holds more than 2 members"):
        read(written(file, VALID))
    for name in FILES:
        (tmp_path / name).touch()
    with pytest.raises(TraceError, match=r"holds more than 2 files"):
        read(tmp_path)


def test_a_bomb_is_refused_before_it_fills_the_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member, or a header, of endless zeros is read no further than archives go."""
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE", 2**20)
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        member = special("bomb", kind)
        member.size = 2**33
        content = gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(8 * 2**20))
        with pytest.raises(TraceError, match="unpacks to more than 1 MiB"):
            read(written(file, content))


@given(st.integers(0, len(VALID) - 1))
def test_a_cut_archive_is_refused(file: Path, end: int) -> None:
    """However little is missing, unless it is zeros behind the end."""
    complete = len(VALID[:end].rstrip(b"\0")) == len(VALID.rstrip(b"\0")) and end >= 3 * 1024 + 1024
    if complete:
        assert len(read(written(file, VALID[:end]))) == 2
    else:
        with pytest.raises(TraceError, match=r"pool.tar: is .*damaged or cut off"):
            read(written(file, VALID[:end]))


@given(at=st.integers(0, len(VALID) - 1), value=st.integers(0, 255))
def test_a_damaged_header_ends_nothing_in_silence(file: Path, at: int, value: int) -> None:
    """A changed byte is refused, unless it is in what a file says or in the zeros between files."""
    content = VALID[:at] + bytes([value]) + VALID[at + 1 :]
    try:
        found = read(written(file, content))
    except TraceError as refusal:
        assert str(refusal).startswith(str(file))  # noqa: PT017  # it may be refused, it need not be
        return
    assert found.keys() == {"a.txt", "b.txt"}
    assert found == {"a.txt": "first\n", "b.txt": "second é\n"} or at % 1024 >= 512


@given(st.binary(max_size=3000))
def test_what_is_no_archive_is_refused(file: Path, content: bytes) -> None:
    """Any other bytes are refused with the path."""
    with pytest.raises(TraceError, match=r"pool.tar: "):
        read(written(file, content))


def test_headers_that_break_the_parser_are_refused(file: Path) -> None:
    """Names of names of names, and a map of holes that is no numbers, are damage as any other."""
    name = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    name.size = 1
    nested = (name.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 3000
    holes = tarfile.TarInfo("a.txt")
    holes.pax_headers = {"GNU.sparse.map": "x,y"}
    for content in (nested + VALID, tar((holes, b""))):
        with pytest.raises(TraceError, match=r"pool.tar: is no tar archive, or is damaged or cut off"):
            read(written(file, content))


def test_data_behind_the_end_is_refused(file: Path) -> None:
    """Two archives in one file would otherwise be read as the first."""
    with pytest.raises(TraceError, match="damaged or cut off"):
        read(written(file, VALID + VALID))


def test_bytes_that_are_no_text_are_refused_with_their_line(file: Path, tmp_path: Path) -> None:
    """The member and the line are named, in an archive and in a folder."""
    (tmp_path / "a.txt").write_bytes(b"one\ntwo \xff\n")
    written(file, tar(("a.txt", b"one\ntwo \xff\n")))
    for path in (tmp_path, file):
        with pytest.raises(TraceError, match=r"a.txt: line 2: found byte 0xff, allowed is UTF-8 text"):
            read(path)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    """There is nothing to read."""
    with pytest.raises(TraceError, match=r"nothing: cannot be read: No such file"):
        read(tmp_path / "nothing")
