"""What the verbs on a trace have in common: the options by which one is read, and the reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dilu.progress import ProgressBars
from traces import (
    FORMATS,
    TRANSFORMS,
    Trace,
    TraceFormat,
    apply_transforms,
    detect_format,
    find_format,
    locate,
    parsed_options,
    read_trace,
)

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class GivenTrace:
    """A trace that the command line named: where it was found, as what it was read, and what it is."""

    path: Path
    format: TraceFormat
    trace: Trace


def reading_options(command: Command) -> Command:
    """Add the options by which a trace is read to a command."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of what is drawn."
        ),
        click.option(
            "--apply",
            "steps",
            multiple=True,
            metavar="STEP=VALUE",
            help="Transform it (repeatable, in order), e.g. top=50, scale_rate=2, "
            "'window={start_s: 0, end_s: 3600}'.",
        ),
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="Tell the format's reader (repeatable), e.g. ticks=keep.",
        ),
        click.option(
            "--format", "format_name", metavar="NAME", help="Its format; else told from the content."
        ),
    ):
        command = option(command)
    return command


def read_given(
    path: str, format_name: str | None, options: Sequence[str], steps: Sequence[str], seed: int
) -> GivenTrace:
    """Read the trace that a command line names, by its path or as a public trace that was fetched.

    Raises
    ------
    TraceError
        If it is not there, cannot be read, or cannot be transformed as asked.
    """
    given, transforms = parsed_options(options), [_step(text) for text in steps]
    place = locate(path)
    place, found = detect_format(place) if format_name is None else (place, find_format(format_name))
    with ProgressBars() as bars:
        trace = read_trace(place, format=found.name, seed=seed, progress=bars.reading, options=given)
    return GivenTrace(place, found, apply_transforms(trace, transforms, seed=seed))


def formats_and_transforms() -> str:
    """Say for a help page what can be read, with which options, and how it can be transformed."""
    lines = ["\b", "Formats, and the options of their readers:"]
    for entry in FORMATS.values():
        lines.append(f"  {entry.name}: {entry.title}")
        for option in entry.options.values():
            default = "" if option.default is None else f" [{_shown(option.default)}]"
            lines.append(f"    {option.name}={option.allowed}{default}")
    lines += ["", "\b", "Transforms:", *(f"  {name}: {text}" for name, text in TRANSFORMS.items())]
    return "\n".join(lines)


def _step(text: str) -> dict[str, object]:
    return dict(parsed_options([text]))


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
