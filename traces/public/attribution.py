"""What stands beside a fetched trace: whose it is, under which licence, what to cite, what was changed.

CC BY 4.0 asks for it wherever the data are passed on (section 3(a)), which copying the folder then does.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from textwrap import wrap

from traces.errors import TraceError
from traces.public.entry import ATTRIBUTION, PublicTrace

_WIDTH = 100


def attribution(trace: PublicTrace) -> str:
    """Return the text of a trace's `ATTRIBUTION.txt`."""
    said = {
        "What": trace.what,
        "Origin": trace.origin,
        "Licence": f"{trace.licence}, {trace.licence_url}",
        "On the licence": trace.licence_note,
        "Please cite": trace.citation,
        "Changes": trace.changes or "none",
    }
    lines = [trace.title, ""]
    for title, text in said.items():
        if text is not None:
            lines += wrap(
                f"{title}: {text}",
                _WIDTH,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    lines += ["", "Files, with their SHA-256 and where they come from:"]
    for file in trace.files:
        lines += ["", file.name, f"  {file.sha256}", f"  {file.url or trace.origin}"]
    return "\n".join(lines) + "\n"


def write_attribution(trace: PublicTrace, folder: Path) -> None:
    """Write `ATTRIBUTION.txt` into a trace's folder, whole or not at all, unless it says the same already.

    Raises
    ------
    TraceError
        If it cannot be written.
    """
    path = folder / ATTRIBUTION
    text = attribution(trace).encode()
    beside = path.with_name(f".{ATTRIBUTION}.{secrets.token_hex(8)}.partial")  # others may write theirs now
    try:
        if path.is_file() and path.read_bytes() == text:
            return
        try:
            beside.write_bytes(text)
            beside.replace(path)
        finally:
            with suppress(FileNotFoundError):
                beside.unlink()
    except OSError as error:
        raise TraceError(f"cannot be written: {error.strerror or error}", path=path) from None
