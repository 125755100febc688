"""A publisher on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from publisher import Publisher


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """Run a publisher."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Publisher()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.closing.set()
    running.server.shutdown()
    thread.join()
    running.server.server_close()
