"""What is said of one public trace: what it is, whose it is, and which files it has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from traces.errors import TraceError, shown

ATTRIBUTION: Final = "ATTRIBUTION.txt"
"""The file beside a fetched trace that says whose it is."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a file or folder on any system, and nowhere else
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class PublicFile:
    """A file of a public trace.

    Attributes
    ----------
    name
        What it is saved as.
    sha256
        Of its bytes, 64 lower-case hexadecimal digits.
    url
        Where it is downloaded from, over HTTPS; `None` if it has to be got by hand.

    Raises
    ------
    TraceError
        If a value is none of these.
    """

    name: str
    sha256: str
    url: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.name == ATTRIBUTION:
            raise TraceError(f"found {shown(self.name)}, which is written beside the files", field="name")
        if not _SHA256.fullmatch(self.sha256):
            raise TraceError(
                f"found {shown(self.sha256)}, allowed are 64 lower-case hexadecimal digits", field="sha256"
            )
        if self.url is not None and not _is_safe(self.url):
            raise TraceError(f"found {shown(self.url)}, allowed is https://HOST/PATH", field="url")


@dataclass(frozen=True, slots=True)
class PublicTrace:
    """A trace that somebody publishes.

    Attributes
    ----------
    name
        What it is asked for by, and its folder's name.
    title, what
        Its name in full; in one sentence what it holds.
    format
        The format that reads it (`openb`: instances, not requests); `None` if none does.
    origin
        The page of the project that publishes it.
    licence, licence_url, licence_note
        The licence of the data, its text, and what else there is to know of it.
    citation
        What its publishers ask to be cited.
    changes
        What was changed against the publisher's files; `None` if nothing was.
    files
        The files whose checksums are known.
    size_bytes
        Of all files together, where it is known.
    by_hand
        How to get what cannot be downloaded for want of a pinned address.

    Raises
    ------
    TraceError
        If a name cannot be one of a folder, two files have one name, or the files are neither all downloaded
        nor all got by hand.
    """

    name: str
    title: str
    what: str
    format: str | None
    origin: str
    licence: str
    licence_url: str
    citation: str
    licence_note: str | None = None
    changes: str | None = None
    files: tuple[PublicFile, ...] = ()
    size_bytes: int | None = None
    by_hand: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        names = [file.name.lower() for file in self.files]  # some file systems tell no capitals apart
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise TraceError(f"found {shown(twice)} twice", field="files")
        has_urls = {file.url is not None for file in self.files} or {False}
        if has_urls != {self.by_hand is None}:
            raise TraceError(
                "allowed is either a URL of every file, or by_hand and a URL of none", field="files"
            )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise TraceError(
            f"found {shown(name)}, allowed are letters, digits and _ . - after a first letter, digit or _",
            field="name",
        )


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can read or change what is sent: HTTPS, or a server on this machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:  # urlsplit's, of a broken host
        return False
