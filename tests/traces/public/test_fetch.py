from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pooch
import pytest
from publisher import Publisher

from traces import TraceError, read_azure_functions
from traces.public import PublicTrace, default_folder, download, fetch, find_public_trace, local_path, store
from traces.public.entry import ATTRIBUTION

FILES = {"arrivals.csv": b"0.5\n" * 50_000, "functions.csv": b"name\n" * 3}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _message(trace: PublicTrace | str, folder: Path) -> str:
    with pytest.raises(TraceError) as caught:
        fetch(trace, folder)
    return str(caught.value)


def test_fetched_files_are_the_published_bytes(publisher: Publisher, tmp_path: Path) -> None:
    """A fetch gives the published bytes under the names of the list, and whose they are, and no more."""
    trace = publisher.publish("mine", FILES)
    place = fetch(trace, tmp_path)
    assert place == tmp_path / "mine" == local_path(trace, tmp_path)
    assert {name: (place / name).read_bytes() for name in FILES} == FILES
    assert _names(place) == {*FILES, ATTRIBUTION}


def test_what_is_there_is_not_downloaded_again(publisher: Publisher, tmp_path: Path) -> None:
    """A second fetch asks for nothing, writes nothing and tells that all is there."""
    trace = publisher.publish("mine", FILES)
    place = fetch(trace, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    publisher.asked.clear()
    told: list[tuple[int, int]] = []
    assert fetch(trace, tmp_path, progress=lambda *at: told.append(at)) == place
    assert publisher.asked == []
    assert told == [(trace.size_bytes, trace.size_bytes)]
    assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_only_missing_files_are_downloaded(publisher: Publisher, tmp_path: Path) -> None:
    """A fetch that was stopped after one file is taken up with the other."""
    trace = publisher.publish("mine", FILES)
    place = fetch(trace, tmp_path)
    (place / "functions.csv").unlink()
    assert local_path(trace, tmp_path) is None
    publisher.asked.clear()
    fetch(trace, tmp_path)
    assert publisher.asked == ["functions.csv"]
    assert local_path(trace, tmp_path) == place


def test_files_come_over_one_connection(publisher: Publisher, tmp_path: Path) -> None:
    """A trace of many small files is fetched without a new connection for each."""
    files = {f"chunk-{client}-trace.csv": b"%d" % client for client in range(50)}
    fetch(publisher.publish("mine", files), tmp_path)
    assert publisher.asked == list(files)
    assert len(publisher.callers) == 1


def test_progress_counts_the_bytes_of_the_trace(publisher: Publisher, tmp_path: Path) -> None:
    """Progress starts with what is there, never goes back, and ends with the size of the trace."""
    trace = publisher.publish("mine", FILES)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "functions.csv").write_bytes(FILES["functions.csv"])
    told: list[tuple[int, int]] = []
    fetch(trace, tmp_path, progress=lambda *at: told.append(at))
    there = [at for at, _ in told]
    assert there[0] == len(FILES["functions.csv"])
    assert there == sorted(there)
    assert len(there) > 3
    assert told[-1] == (trace.size_bytes, trace.size_bytes)


def test_a_file_with_another_checksum_is_never_overwritten(publisher: Publisher, tmp_path: Path) -> None:
    """A file of the user's under a name of the list stays as it is, and the error names both checksums."""
    trace = publisher.publish("mine", FILES)
    place = tmp_path / "mine"
    place.mkdir()
    (place / "arrivals.csv").write_bytes(b"my own notes")
    message = _message(trace, tmp_path)
    assert str(place / "arrivals.csv") in message
    assert hashlib.sha256(b"my own notes").hexdigest() in message
    assert trace.files[0].sha256 in message
    assert (place / "arrivals.csv").read_bytes() == b"my own notes"
    assert publisher.asked == []
    assert local_path(trace, tmp_path) is None


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_left_alone(
    publisher: Publisher, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """A folder, a pipe or a broken link under a name of the list is an error, which never blocks."""
    trace = publisher.publish("mine", FILES)
    (tmp_path / "mine").mkdir()
    make(tmp_path / "mine" / "arrivals.csv")
    assert "arrivals.csv: is not a regular file" in _message(trace, tmp_path)
    assert local_path(trace, tmp_path) is None
    assert publisher.asked == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("gone", "answers 404 Not Found; look for the file from https://example.org/project"),
        ("busy", "answers 429 Too Many Requests; try again later"),
        ("short", "breaks off"),
        ("long", "holds more than the 200015 bytes"),
        ("silent", "sent nothing for 0.2 s"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, says: str
) -> None:
    """However a server fails, one line says why, where the file goes and its checksum; no part stays."""
    monkeypatch.setattr(download, "READ_TIMEOUT_S", 0.2)
    trace = publisher.publish("mine", FILES)
    publisher.fault = fault
    message = _message(trace, tmp_path)
    assert says in message
    assert message.startswith(str(tmp_path / "mine" / "arrivals.csv"))
    assert trace.files[0].sha256 in message
    assert "\n" not in message
    assert _names(tmp_path / "mine") == {ATTRIBUTION}
    publisher.fault = ""
    publisher.closing.set()
    fetch(trace, tmp_path)
    assert local_path(trace, tmp_path) is not None


def test_a_download_with_another_checksum_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    """What has another checksum than the list gets no name, and the error says both checksums."""
    trace = publisher.publish("mine", FILES)
    publisher.files["arrivals.csv"] = b"something else"
    message = _message(trace, tmp_path)
    assert hashlib.sha256(b"something else").hexdigest() in message
    assert trace.files[0].sha256 in message
    assert _names(tmp_path / "mine") == {ATTRIBUTION}


def test_no_server_is_an_error_that_says_what_to_do(tmp_path: Path, publisher: Publisher) -> None:
    """Without a connection the error names the address, the file to save and its checksum."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    published = publisher.publish("mine", FILES)
    url = f"http://127.0.0.1:{port}/arrivals.csv"
    file = dataclasses.replace(published.files[0], url=url)
    trace = dataclasses.replace(published, files=(file,))
    assert _message(trace, tmp_path) == (
        f"{tmp_path}/mine/arrivals.csv: cannot be downloaded, there is no connection to 127.0.0.1:{port}; "
        f"try again later or get {url} by hand and save it under this name, its SHA-256 is {file.sha256}"
    )


def test_an_interrupt_leaves_nothing_half(publisher: Publisher, tmp_path: Path) -> None:
    """A Ctrl-C in the middle of a file goes through, and the file is neither there nor beside its name."""
    trace = publisher.publish("mine", FILES)

    def interrupt(there: int, _: int) -> None:
        if there > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(trace, tmp_path, progress=interrupt)
    assert _names(tmp_path / "mine") == {ATTRIBUTION}


def test_a_folder_that_cannot_be_made_is_an_error(publisher: Publisher, tmp_path: Path) -> None:
    """A file where the folder should be is one line, at any depth."""
    trace = publisher.publish("mine", FILES)
    (tmp_path / "file").write_text("")
    assert _message(trace, tmp_path / "file") == f"{tmp_path}/file/mine: cannot be made: Not a directory"
    (tmp_path / "mine").write_text("")
    assert _message(trace, tmp_path) == f"{tmp_path}/mine: cannot be made: File exists"


def test_an_attribution_that_cannot_be_written_is_an_error(publisher: Publisher, tmp_path: Path) -> None:
    """No data are downloaded where it cannot be said whose they are."""
    trace = publisher.publish("mine", FILES)
    (tmp_path / "mine" / ATTRIBUTION).mkdir(parents=True)
    assert f"{ATTRIBUTION}: cannot be written" in _message(trace, tmp_path)
    assert publisher.asked == []
    assert _names(tmp_path / "mine") == {ATTRIBUTION}


def test_a_full_disk_is_an_error(publisher: Publisher, tmp_path: Path) -> None:
    """A write that the system refuses half way is one line, and leaves nothing."""
    resource: ModuleType = pytest.importorskip("resource")
    trace = publisher.publish("mine", FILES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = _message(trace, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message == f"{tmp_path}/mine/arrivals.csv: cannot be written: File too large"
    assert _names(tmp_path / "mine") == {ATTRIBUTION}


def test_a_complete_trace_needs_no_writing(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace that is complete is fetched from a folder that nobody may write to."""
    trace = publisher.publish("mine", FILES)
    place = fetch(trace, tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    assert fetch(trace, tmp_path) == place


def test_fetched_files_are_as_open_as_any(publisher: Publisher, tmp_path: Path) -> None:
    """A fetched file may be read by whom any new file of the user may be read by."""
    (tmp_path / "any").write_text("")
    place = fetch(publisher.publish("mine", FILES), tmp_path)
    assert {path.stat().st_mode for path in place.iterdir()} == {(tmp_path / "any").stat().st_mode}


def test_two_fetches_at_once_agree(publisher: Publisher, tmp_path: Path) -> None:
    """Fetches of one trace by several at once all end with the whole trace."""
    trace = publisher.publish("mine", FILES)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(trace, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [local_path(trace, tmp_path)] * 4
    assert _names(tmp_path / "mine") == {*FILES, ATTRIBUTION}


def test_fetch_is_silent(
    publisher: Publisher, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch says nothing on its own, and leaves the logger of others as it was."""
    logger = logging.Logger("pooch of a test", logging.DEBUG)
    logger.addHandler(logging.StreamHandler())
    monkeypatch.setattr(pooch.core, "get_logger", lambda: logger)
    monkeypatch.setattr(pooch, "get_logger", lambda: logger)
    fetch(publisher.publish("mine", FILES), tmp_path)
    assert capfd.readouterr() == ("", "")
    logger.debug("heard")
    assert capfd.readouterr().err == "heard\n"


def test_what_is_got_by_hand_says_how(tmp_path: Path) -> None:
    """A trace that cannot be downloaded is an error with instructions and a page, and makes no folder."""
    trace = find_public_trace("azure-llm-2024")
    message = _message("azure-llm-2024", tmp_path)
    assert trace.by_hand is not None
    assert trace.by_hand in message
    assert trace.origin in message
    assert _names(tmp_path) == set()
    assert local_path("azure-llm-2024", tmp_path) is None


def test_what_was_got_by_hand_is_verified(publisher: Publisher, tmp_path: Path) -> None:
    """A file got by hand is complete if its checksum is the known one, and gets its attribution."""
    published = publisher.publish("mine", FILES)
    file = dataclasses.replace(published.files[0], url=None)
    trace = dataclasses.replace(published, files=(file,), by_hand="ask for it")
    message = _message(trace, tmp_path)
    assert message.startswith(f"{tmp_path}/mine/arrivals.csv: has to be got by hand: ask for it")
    assert file.sha256 in message
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "arrivals.csv").write_bytes(FILES["arrivals.csv"])
    assert fetch(trace, tmp_path) == tmp_path / "mine" == local_path(trace, tmp_path)
    assert _names(tmp_path / "mine") == {"arrivals.csv", ATTRIBUTION}


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    """Neither fetch nor look-up takes a name that the list does not have."""
    for ask in (fetch, local_path):
        with pytest.raises(TraceError, match="did you mean infless"):
            ask("inflss", tmp_path)


def test_default_folder_is_named_by_the_environment(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`DILU_TRACES` names the folder, and without it the user's cache is taken, empty or unset."""
    monkeypatch.setenv("DILU_TRACES", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    trace = publisher.publish("one", FILES)
    assert fetch(trace) == tmp_path / "mine" / "one" == local_path(trace)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DILU_TRACES", "~/theirs")
    assert default_folder() == tmp_path / "theirs"
    monkeypatch.setenv("DILU_TRACES", "")
    cache = default_folder()
    monkeypatch.delenv(store.FOLDER_VARIABLE)
    assert default_folder() == cache
    assert cache.is_absolute()
    assert "dilu-lab" in cache.parts


def test_a_trace_is_located_by_path_or_name(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there goes before a public trace of its name; a path that is neither stays what it is."""
    trace = publisher.publish("mine", FILES)
    monkeypatch.setattr(store, "public_traces", lambda: (trace,))
    monkeypatch.setattr(store, "find_public_trace", lambda _: trace)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError, match=r"mine: is not fetched; `dilu traces fetch mine` gets it"):
        store.locate("mine", tmp_path / "cache")
    place = fetch(trace, tmp_path / "cache")
    assert store.locate("mine", tmp_path / "cache") == place
    assert store.locate("other", tmp_path / "cache") == Path("other")
    (tmp_path / "mine").mkdir()
    assert store.locate("mine", tmp_path / "cache") == Path("mine")


def test_a_trace_got_by_hand_is_located_with_advice(tmp_path: Path) -> None:
    """The name of a trace that cannot be fetched leads to the list, which says how to get it."""
    with pytest.raises(TraceError, match=r"azure-llm-2024: has to be got by hand; `dilu traces list"):
        store.locate("azure-llm-2024", tmp_path)


def test_a_fetched_trace_is_read(publisher: Publisher, tmp_path: Path, trace_dir: Path) -> None:
    """The 500 functions of the Azure trace are fetched under names by which the reader finds them."""
    shipped = find_public_trace("azure-functions-2019-sample500")
    bodies = {
        file.name: (trace_dir / "azure_functions_2019" / file.name).read_bytes() for file in shipped.files
    }
    publisher.files |= bodies
    trace = dataclasses.replace(
        shipped,
        files=tuple(
            dataclasses.replace(file, url=f"{publisher.address}/{file.name}") for file in shipped.files
        ),
    )
    read = read_azure_functions(fetch(trace, tmp_path), seed=0)
    assert len(read.functions) == 500
    assert read.arrival_s.size == 3_037_902
    assert not any(map(bool, read.attributes["execution_s"] != read.attributes["execution_s"]))
