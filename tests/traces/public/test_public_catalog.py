from __future__ import annotations

import copy
import gzip
import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from traces import TraceError
from traces.public import attribution, find_public_trace, public_traces, read_public_traces
from traces.public.catalog import SHIPPED

DOCUMENT: dict[str, Any] = {
    "licences": {"MIT": "https://opensource.org/license/mit"},
    "traces": [
        {
            "name": "mine",
            "title": "A trace of a test",
            "what": "What the test wrote.",
            "format": "rate-series",
            "origin": "https://example.org/project",
            "licence": "MIT",
            "citation": "Nobody et al., Nothing, NOWHERE 2026",
            "files": [{"name": "a.csv", "url": "https://example.org/a.csv", "sha256": "0" * 64}],
        }
    ],
}


def _read(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Return what is wrong with the document above after a change."""
    document = copy.deepcopy(DOCUMENT)
    change(document)
    (folder / "traces.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(TraceError) as caught:
        read_public_traces(folder / "traces.yaml")
    return str(caught.value).replace(str(folder), "")


def _published(pack: Path) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of every file under a folder by name, unpacked."""
    found: dict[str, tuple[int, str]] = {}

    def add(name: str, body: bytes) -> None:
        found[name] = (len(body), hashlib.sha256(body).hexdigest())

    for path in sorted(pack.rglob("*")):
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    body = archive.extractfile(member)
                    assert body is not None
                    add(f"{path.name}/{member.name}", body.read())
        elif path.suffix == ".gz":
            add(path.name.removesuffix(".gz"), gzip.decompress(path.read_bytes()))
        elif path.is_file():
            add(path.name, path.read_bytes())
    return found


ARCHIVES = {
    "servegen-m-large": "language_m-large_traces.tar.gz/",
    "servegen-m-small": "language_m-small_traces.tar.gz/",
    "servegen-mm-image": "multimodal_mm-image_traces_and_datasets.tar.gz/",
}


def test_every_checksum_is_that_of_the_real_file(trace_dir: Path) -> None:
    """What can be fetched has the checksums and the total size of the real files, where they are at hand."""
    published = _published(trace_dir)
    not_at_hand = {"azure-llm-2023-code", "mooncake-toolagent"}
    for trace in public_traces():
        if trace.by_hand is not None or trace.name in not_at_hand:
            continue
        real = {file.name: published[ARCHIVES.get(trace.name, "") + file.name] for file in trace.files}
        assert {file.name: file.sha256 for file in trace.files} == {
            name: sha for name, (_, sha) in real.items()
        }
        assert trace.size_bytes == sum(size for size, _ in real.values())


def test_whole_pools_are_fetched() -> None:
    """A pool of ServeGen has its 162, 43 and 35 clients, and the last one a dataset of each."""
    for name, clients, datasets in (("m-large", 162, 0), ("m-small", 43, 0), ("mm-image", 35, 35)):
        files = [file.name for file in find_public_trace(f"servegen-{name}").files]
        assert sum(bool(re.fullmatch(r"chunk-\d+-trace\.csv", file)) for file in files) == clients
        assert sum(bool(re.fullmatch(r"chunk-\d+-dataset\.json", file)) for file in files) == datasets
        assert len(files) == clients + datasets


def test_every_address_is_pinned() -> None:
    """Every address is HTTPS and names a commit in full, so that it holds the same bytes forever."""
    pinned = re.compile(r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}/[\w./-]+")
    urls = [file.url for trace in public_traces() for file in trace.files if trace.by_hand is None]
    assert len(urls) > 290
    assert len(set(urls)) == len(urls)
    for url in urls:
        assert url is not None
        assert pinned.fullmatch(url)


def test_every_trace_says_whose_it_is() -> None:
    """Each trace has a licence that the field knows, its text's address, a citation with year, and a page."""
    for trace in public_traces():
        assert trace.licence in ("CC BY 4.0", "Apache-2.0", "GPL-3.0")
        assert trace.licence_url.startswith("https://")
        assert re.search(r"\w+ \w+ et al\., .+ (20\d\d|arXiv \d{4}\.\d{5})", trace.citation)
        assert trace.origin.startswith("https://github.com/")
        assert trace.citation.split()[0] in attribution(trace)
        assert trace.what.endswith(".")


def test_prefixes_and_samples_say_so() -> None:
    """What is less than what its publisher has says what was changed."""
    for trace in public_traces():
        if re.search(r"sample|prefix|400|openb", trace.name):
            assert trace.changes


def test_the_list_is_found_by_name() -> None:
    """Each name leads to its trace, and a wrong one to the nearest or to all."""
    traces = public_traces()
    assert [find_public_trace(trace.name) for trace in traces] == list(traces)
    assert public_traces() is traces
    with pytest.raises(TraceError, match=r"name: found 'burst-gpt'.*did you mean burstgpt"):
        find_public_trace("burst-gpt")
    with pytest.raises(TraceError, match=r"there are azure-functions-2019-sample500, .*huawei"):
        find_public_trace("?")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(extra=1), "/traces.yaml: extra: found 1, Extra inputs are not permitted"),
        (lambda d: d["traces"][0].update(color="red"), "traces: 0: color: found 'red', Extra inputs"),
        (lambda d: d["traces"][0].pop("citation"), "traces: 0: citation: found"),
        (lambda d: d["traces"][0].update(citation=" "), "traces: 0: citation: found ' '"),
        (lambda d: d["traces"][0].update(format="csv"), "traces: 0: format: found 'csv'"),
        (lambda d: d["traces"][0].update(origin="http://example.org"), "traces: 0: origin: found"),
        (lambda d: d["traces"][0].update(size_bytes="9"), "traces: 0: size_bytes: found '9'"),
        (lambda d: d["traces"][0].update(size_bytes=0), "traces: 0: size_bytes: found 0"),
        (lambda d: d["traces"][0].update(licence="GPL"), "mine: licence: found 'GPL', allowed are MIT"),
        (lambda d: d["traces"][0].update(name="../up"), "../up: name: found '../up'"),
        (lambda d: d["traces"][0]["files"][0].update(sha256="0"), "mine: sha256: found '0'"),
        (lambda d: d["traces"][0]["files"][0].update(url="http://a/b"), "mine: url: found 'http://a/b'"),
        (lambda d: d["traces"].append(d["traces"][0]), "/traces.yaml: name: found 'mine' twice"),
        (lambda d: d.clear(), "licences: found {}, Field required"),
        (
            lambda d: d["traces"][0].update(registry={"file": "none.txt", "url": "https://a/"}),
            "/none.txt: cannot be read",
        ),
    ],
)
def test_a_bad_list_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    """Every fault of a list is one line with the file and the place."""
    message = _read(tmp_path, change)
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.csv", "/many.txt: line 2: found 'a.csv', allowed is NAME SHA256"),
        ("a.csv 00", "/many.txt: line 2: sha256: found '00'"),
        ("../a.csv " + "0" * 64, "/many.txt: line 2: name: found '../a.csv'"),
        ("", "/many.txt: line 2: found ''"),
    ],
)
def test_a_bad_registry_is_refused(tmp_path: Path, line: str, says: str) -> None:
    """Every fault of a registry is one line with the file and the line."""
    (tmp_path / "many.txt").write_text(f"b.csv {'1' * 64}\n{line}\nc.csv {'2' * 64}\n")
    registry = {"file": "many.txt", "url": "https://example.org/folder/"}
    assert says in _read(tmp_path, lambda document: document["traces"][0].update(registry=registry))


def test_a_registry_adds_its_files(tmp_path: Path) -> None:
    """The files of a registry come after those of the list, each with the folder's address."""
    (tmp_path / "many.txt").write_text(f"b.csv {'1' * 64}\nc.csv {'2' * 64}\n")
    document = copy.deepcopy(DOCUMENT)
    document["traces"][0]["registry"] = {"file": "many.txt", "url": "https://example.org/folder/"}
    (tmp_path / "traces.yaml").write_text(yaml.safe_dump(document))
    (trace,) = read_public_traces(tmp_path / "traces.yaml")
    assert [(file.name, file.url, file.sha256[0]) for file in trace.files] == [
        ("a.csv", "https://example.org/a.csv", "0"),
        ("b.csv", "https://example.org/folder/b.csv", "1"),
        ("c.csv", "https://example.org/folder/c.csv", "2"),
    ]


@pytest.mark.parametrize("text", ["", "[", "- a", "\0", "a: &a [*a]"])
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    """What is no YAML, or is some other YAML, is one line."""
    (tmp_path / "traces.yaml").write_text(text)
    with pytest.raises(TraceError) as caught:
        read_public_traces(tmp_path / "traces.yaml")
    assert str(caught.value).startswith(f"{tmp_path}/traces.yaml: ")


def test_every_registry_is_used() -> None:
    """Beside the list stand the registries that it names, and no other."""
    named = set(re.findall(r"file: (\S+)", SHIPPED.read_text()))
    assert {path.name for path in SHIPPED.parent.glob("*.txt")} == named


def test_the_list_needs_no_network_library() -> None:
    """Who only lists the traces does not wait for the libraries of downloads."""
    code = (
        "import sys, traces.public as p; p.public_traces(); print({'pooch', 'requests'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
