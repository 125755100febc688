"""The log of a run: what the person sees, and what the processes printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 8 * 2**20
"""A log ends here: whatever loops and prints must not fill a disk."""

_MOST_OF_ONE: Final = 2**18


class Log:
    """A file to which lines are added, each with the seconds since the log began.

    Parameters
    ----------
    say
        Also given each line that is meant for the person.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._begun_s = time.monotonic()
        self._bytes = 0
        path.write_text("", encoding="utf-8")

    def say(self, text: str) -> None:
        """Add a line, and show it."""
        line = f"{time.monotonic() - self._begun_s:7.1f} s  {text}"
        self._say(line)
        self._append(line + "\n")

    def show(self, text: str) -> None:
        """Add a text of several lines as it is, and show it."""
        self._say(text)
        self._append(text + "\n")

    def keep(self, output: Path) -> str:
        """Add what a process printed, its end where that is long; return its last line."""
        try:
            text = output.read_bytes()[-_MOST_OF_ONE:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        if lines:
            self._append("".join(f"           | {line}\n" for line in lines))
        return lines[-1] if lines else ""

    def _append(self, text: str) -> None:
        room = MOST_BYTES - self._bytes
        data = text.encode("utf-8", "replace")
        if room <= 0:
            return
        with self.path.open("ab") as file:
            file.write(data if len(data) <= room else data[:room] + b"\n[the log ends here]\n")
        self._bytes += len(data)
