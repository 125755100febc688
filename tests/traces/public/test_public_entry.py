from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import TraceError
from traces.public import PublicFile, PublicTrace, attribution
from traces.public.attribution import write_attribution

SHA256 = "0123456789abcdef" * 4
TRACE = PublicTrace(
    name="mine",
    title="A trace of a test",
    what="What the test wrote.",
    format=None,
    origin="https://example.org/project",
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="Nobody et al., Nothing, NOWHERE 2026",
    files=(PublicFile("a.csv", SHA256, "https://example.org/a.csv"),),
)


@given(st.one_of(st.text(max_size=8), st.from_regex(r"[./\\:A-Za-z0-9~-]{0,8}", fullmatch=True)))
def test_a_name_never_leaves_its_folder(name: str) -> None:
    """Every name is refused or is that of one entry of a folder, on any system."""
    try:
        file = PublicFile(name, SHA256)
    except TraceError:
        return
    for flavour in (PurePosixPath, PureWindowsPath):
        assert flavour("folder", file.name).parent == flavour("folder")
        assert flavour("folder", file.name).name == name


@pytest.mark.parametrize("name", [".", "..", ".hidden", "-rf", "a/b", "a\\b", "a b", "a.", "C:", "ä"])
def test_a_name_is_plain(name: str) -> None:
    """A name that some system hides, or some shell takes for something else, is refused."""
    with pytest.raises(TraceError, match="name: found"):
        PublicFile(name, SHA256)


@pytest.mark.parametrize(
    "url", ["", "https://", "https:///a", "http://example.org/a", "file:///etc/passwd", "https://[::1/a", "a"]
)
def test_an_unsafe_address_is_refused(url: str) -> None:
    """What is no address, names no host, or can be changed on the way is refused."""
    with pytest.raises(TraceError, match="url: found"):
        PublicFile("a", SHA256, url)


@given(
    st.one_of(
        st.text(max_size=20),
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["https://", "http://", "ftp://", "file://", "HTTP://", "//", ""]),
            st.sampled_from(
                ["127.0.0.1", "localhost", "localhost.example.org", "127.0.0.1@example.org", "[::1", "", "x"]
            ),
            st.sampled_from(["", "/", "/a", ":80/a", "?a"]),
        ),
    )
)
def test_only_safe_addresses_are_allowed(url: str) -> None:
    """Every address is refused, or is HTTPS, or is on this machine."""
    try:
        PublicFile("a", SHA256, url)
    except TraceError:
        return
    parts = urlsplit(url)
    assert parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "../up"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "a."}, "name"),
        ({"by_hand": "ask"}, "files"),
        ({"files": ()}, "files"),
        ({"files": (PublicFile("a", SHA256),)}, "files"),
        ({"files": (*TRACE.files, PublicFile("b", SHA256))}, "files"),
        ({"files": (*TRACE.files, PublicFile("A.csv", SHA256, "https://example.org/b"))}, "files"),
    ],
)
def test_a_trace_that_contradicts_itself_is_refused(changes: dict[str, Any], field: str) -> None:
    """A trace has a safe name, a file a name, and either addresses of all files or instructions."""
    with pytest.raises(TraceError) as caught:
        dataclasses.replace(TRACE, **changes)
    assert caught.value.field == field


@pytest.mark.parametrize("sha256", ["", SHA256[1:], SHA256.upper(), SHA256 + "0", "g" * 64])
def test_a_checksum_is_64_digits(sha256: str) -> None:
    """A checksum that could never match is refused before anything is downloaded."""
    with pytest.raises(TraceError, match="sha256: found"):
        PublicFile("a", sha256)


def test_the_attribution_has_its_own_name() -> None:
    """No file of a trace can take the name of the attribution beside it."""
    with pytest.raises(TraceError, match="written beside the files"):
        PublicFile("ATTRIBUTION.txt", SHA256)


def test_attribution_says_what_the_licence_asks() -> None:
    """Licence and its text, note, citation, changes, origin and every file stand in the attribution."""
    trace = dataclasses.replace(TRACE, licence_note="ask them", changes="the first rows")
    text = attribution(trace)
    flat = " ".join(text.split())
    for part in (
        "Licence: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
        "On the licence: ask them",
        "Please cite: Nobody et al., Nothing, NOWHERE 2026",
        "Changes: the first rows",
        "Origin: https://example.org/project",
        f"a.csv {SHA256} https://example.org/a.csv",
    ):
        assert part in flat
    assert "Changes: none" in attribution(TRACE)
    assert "On the licence" not in attribution(TRACE)
    assert text.endswith("\n")


def test_attribution_is_brought_up_to_date(tmp_path: Path) -> None:
    """An older attribution is replaced, and nothing stays beside it."""
    write_attribution(TRACE, tmp_path)
    newer = dataclasses.replace(TRACE, changes="the first rows")
    write_attribution(newer, tmp_path)
    assert (tmp_path / "ATTRIBUTION.txt").read_bytes() == attribution(newer).encode()
    assert [path.name for path in tmp_path.iterdir()] == ["ATTRIBUTION.txt"]


def test_attributions_written_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that write the attribution of one trace at the same moment do not take each other's file away."""
    both = threading.Barrier(2, timeout=10)
    write = Path.write_bytes

    def write_together(path: Path, data: bytes) -> int:
        length = write(path, data)
        both.wait()
        return length

    monkeypatch.setattr(Path, "write_bytes", write_together)
    with ThreadPoolExecutor(2) as pool:
        for written in [pool.submit(write_attribution, TRACE, tmp_path) for _ in range(2)]:
            written.result()
    assert [path.name for path in tmp_path.iterdir()] == ["ATTRIBUTION.txt"]
