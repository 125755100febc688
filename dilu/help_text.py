"""What the verbs' help pages have in common."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Lay out example commands for the end of a help page."""
    keep_lines = "\b"  # click would wrap them
    return "\n".join([keep_lines, "Examples:", *(f"  {line}" for line in lines)])
