"""Files from the network: each whole and with the right checksum under its name, or not there at all."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from traces.errors import TraceError
from traces.public.entry import PublicFile, PublicTrace

if TYPE_CHECKING:
    from requests import RequestException, Session

# pooch and requests are imported where they are used: they are slow to import, and few readers fetch.

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
"""Seconds without a byte after which a server is given up; assumed: a slow link still sends some."""

_CHUNK = 64 * 2**10


def download(
    trace: PublicTrace, files: Sequence[PublicFile], folder: Path, received: Callable[[int], None]
) -> None:
    """Download files of a public trace into a folder, one after the other over one connection.

    Parameters
    ----------
    folder
        It is there, and none of the files is in it.
    received
        Told of the bytes that came, piece by piece.

    Raises
    ------
    TraceError
        If a file cannot be had or saved, or its checksum is another; it says what to do by hand.
    """
    import requests

    with requests.Session() as session:
        for file in files:
            _download(session, trace, file, folder / file.name, received)


def _download(
    session: Session, trace: PublicTrace, file: PublicFile, target: Path, received: Callable[[int], None]
) -> None:
    import pooch  # type: ignore[import-untyped]
    from requests import RequestException

    def receive(url: str, partial: str, _: object) -> None:
        # pooch made the file for its owner's eyes alone; a new one is as open as any that the user makes
        Path(partial).unlink()
        length = 0
        digest = hashlib.sha256()
        timeouts = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        with session.get(url, stream=True, timeout=timeouts) as response, Path(partial).open("xb") as stream:
            response.raise_for_status()
            for chunk in response.iter_content(_CHUNK):
                length += len(chunk)
                if trace.size_bytes is not None and length > trace.size_bytes:
                    raise _RefusedError(f"{url} holds more than the {trace.size_bytes} bytes of the trace")
                digest.update(chunk)
                stream.write(chunk)
                received(len(chunk))
        if digest.hexdigest() != file.sha256:
            raise _RefusedError(f"what {url} holds has the SHA-256 {digest.hexdigest()}")

    assert file.url is not None, "the trace is got by hand"
    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(
                file.url,
                known_hash=f"sha256:{file.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=receive,
            )
    except RequestException as error:
        reason, is_gone = _reason(error, file.url)
    except OSError as error:
        raise TraceError(f"cannot be written: {error.strerror or error}", path=target) from None
    except _RefusedError as error:
        reason, is_gone = str(error), True
    else:
        return
    remedy = f"look for the file from {trace.origin}"
    if not is_gone:
        remedy = f"try again later or get {file.url} by hand"
    raise TraceError(
        f"cannot be downloaded, {reason}; {remedy} and save it under this name, its SHA-256 is {file.sha256}",
        path=target,
    )


class _RefusedError(Exception):
    """What was sent is not what the list says."""


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from telling standard error what it downloads."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: RequestException, url: str) -> tuple[str, bool]:
    """Say in a few words why a request failed, and whether the file is gone from there."""
    import requests.exceptions as failures
    from urllib3.exceptions import ReadTimeoutError

    host = urlsplit(url).netloc
    match error:
        case failures.HTTPError(response=response) if response is not None:
            status = response.status_code
            return f"{host} answers {status} {response.reason}", status in (404, 410)
        case failures.SSLError():
            return f"the certificate of {host} is not trusted", False
        case failures.ProxyError():
            return f"the proxy gives no connection to {host}", False
        case failures.ConnectTimeout():
            return f"{host} does not answer within {CONNECT_TIMEOUT_S:g} s", False
        case failures.ReadTimeout() | failures.ConnectionError(args=(ReadTimeoutError(), *_)):
            return f"{host} sent nothing for {READ_TIMEOUT_S:g} s", False
        case failures.ConnectionError():
            return f"there is no connection to {host}", False
        case failures.ChunkedEncodingError() | failures.ContentDecodingError():
            return f"what {host} sends breaks off or is damaged", False
        case _:
            return f"the request to {host} fails ({type(error).__name__})", False
