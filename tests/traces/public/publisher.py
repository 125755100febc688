"""A publisher on this machine, for the tests of fetching."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from traces.public import PublicFile, PublicTrace


class Publisher:
    """A web server that publishes files, and can be told to misbehave.

    Attributes
    ----------
    files
        What it holds, by name.
    fault
        How it answers: well (`""`), or `gone`, `busy`, `short`, `silent` (half the file, then nothing),
        `long`.
    asked
        The names it was asked for.
    callers
        The ports it was asked from, one a connection.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fault = ""
        self.asked: list[str] = []
        self.callers: set[int] = set()
        self.closing = threading.Event()
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # keeps a connection for the next file
            wbufsize = -1  # sends head and body at once, and waits for no acknowledgement between them

            def do_GET(self) -> None:
                publisher.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request, well or not."""
        name = request.path.lstrip("/")
        self.asked.append(name)
        self.callers.add(request.client_address[1])
        if self.fault in ("gone", "busy"):
            request.send_error(404 if self.fault == "gone" else 429)
            return
        body = self.files[name] * (3 if self.fault == "long" else 1)
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        whole = self.fault not in ("short", "silent")
        request.wfile.write(body if whole else body[: len(body) // 2])
        request.wfile.flush()
        request.close_connection = not whole
        if self.fault == "silent":
            self.closing.wait()

    def publish(self, trace: str, files: dict[str, bytes]) -> PublicTrace:
        """Publish files as a trace."""
        self.files |= files
        return PublicTrace(
            name=trace,
            title="A trace of a test",
            what="What the test wrote.",
            format=None,
            origin="https://example.org/project",
            licence="CC BY 4.0",
            licence_url="https://creativecommons.org/licenses/by/4.0/",
            citation="Nobody et al., Nothing, NOWHERE 2026",
            size_bytes=sum(map(len, files.values())),
            files=tuple(
                PublicFile(name, hashlib.sha256(body).hexdigest(), f"{self.address}/{name}")
                for name, body in files.items()
            ),
        )
