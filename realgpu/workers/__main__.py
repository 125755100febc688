"""The entry of a worker process; what takes long to import comes after signals are seen to."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Be a worker on the socket that the command line names, and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the orchestrator decides what a Ctrl-C means
    from realgpu.workers.worker import live

    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.stderr.write("usage: python -m realgpu.workers FD, an open UNIX stream socket\n")
        return 2
    return live(int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
