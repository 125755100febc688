"""The formats that can be read, told apart by what a file says and not by what it is called."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from traces.errors import TraceError, shown
from traces.parameters import nearest
from traces.readers.azure_day_files import SUFFIXES
from traces.readers.azure_functions_2019 import read_azure_functions
from traces.readers.azure_functions_2021 import read_azure_functions_2021
from traces.readers.azure_llm import read_azure_llm
from traces.readers.burstgpt import read_burstgpt
from traces.readers.canonical import read_parquet
from traces.readers.looks import Look, look_at
from traces.readers.mooncake import read_mooncake
from traces.readers.options import GIVEN, Option, options_of, parsed_options
from traces.readers.rate_series import read_rate_series
from traces.readers.servegen import read_servegen
from traces.readers.source import Progress
from traces.trace import Trace

__all__ = [
    "FORMATS",
    "Option",
    "TraceFormat",
    "detect_format",
    "find_format",
    "parsed_options",
    "read_trace",
]

MOST_LOOKS: Final = 200
"""At what is in a folder and its folders; public traces have fewer files, but for the clients of ServeGen."""

_MOST_NAMED: Final = 10  # in a message
_NUMBERS_SEEN: Final = 100
_SERVEGEN: Final = re.compile(r"(.*/)?chunk-[0-9]{1,9}-(trace\.csv|dataset\.json)")


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A format: what it is called, what reads it, and what it looks like."""

    name: str
    title: str
    read: Callable[..., Trace]
    recognises: Callable[[Look], bool]

    @property
    def options(self) -> Mapping[str, Option]:
        """What its reader can be told, by name."""
        return options_of(self.read)

    def checked(self, options: Mapping[str, object]) -> dict[str, object]:
        """Return options as the reader takes them.

        Raises
        ------
        TraceError
            If the format has no such option, or a value is not allowed.
        """
        known = self.options
        for name in options:
            if name not in known:
                near = "" if name in GIVEN else nearest(name, known)
                mend = near or f"; it has {', '.join(known) or 'none'}"
                raise TraceError(f"is no option of format {self.name}{mend}", field=str(name))
        return {name: known[name].checked(value) for name, value in options.items()}


def _columns(*required: str) -> Callable[[Look], bool]:
    return lambda look: look.kind in ("text", "parquet") and look.names >= set(required)


def _is_azure_2019(look: Look) -> bool:
    if look.kind == "folder":
        return any("invocations" in name and name.endswith(SUFFIXES) for name in look.names)
    return _columns("HashApp", "HashFunction", "Trigger")(look)


def _is_servegen(look: Look) -> bool:
    return look.kind in ("folder", "tar") and any(map(_SERVEGEN.fullmatch, look.names))


def _is_mooncake(look: Look) -> bool:
    if not look.first_line.startswith("{"):
        return False
    try:
        row = json.loads(look.first_line)
    except (ValueError, RecursionError):
        return False
    return set(row) >= {"timestamp", "input_length", "output_length"}


def _is_rate_series(look: Look) -> bool:
    texts = look.first_line.split()[:_NUMBERS_SEEN]
    try:
        return bool([float(text) for text in texts])
    except ValueError:
        return False


FORMATS: Final[Mapping[str, TraceFormat]] = {
    entry.name: entry
    for entry in (
        TraceFormat(
            "azure-functions-2019",
            "Azure Functions Trace 2019: invocations a minute, durations, memory",
            read_azure_functions,
            _is_azure_2019,
        ),
        TraceFormat(
            "azure-functions-2021",
            "Azure Functions Invocation Trace 2021: one invocation a row",
            read_azure_functions_2021,
            _columns("app", "func", "end_timestamp", "duration"),
        ),
        TraceFormat(
            "azure-llm",
            "Azure LLM inference traces 2023 and 2024: one request a row, with tokens",
            read_azure_llm,
            _columns("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        ),
        TraceFormat(
            "burstgpt",
            "BurstGPT: requests to ChatGPT and GPT-4, with tokens",
            read_burstgpt,
            _columns("Timestamp", "Model", "Request tokens", "Response tokens", "Log Type"),
        ),
        TraceFormat(
            "mooncake", "Mooncake (FAST'25): requests of Kimi, with tokens", read_mooncake, _is_mooncake
        ),
        TraceFormat(
            "servegen", "ServeGen: rates of the clients of production LLMs", read_servegen, _is_servegen
        ),
        TraceFormat(
            "rate-series", "A series of rates, one function a file", read_rate_series, _is_rate_series
        ),
        TraceFormat(
            "parquet",
            "The project's own form: one request a row, as `dilu traces convert` writes it",
            read_parquet,
            lambda look: look.kind == "parquet" and look.names >= {"function", "arrival_s"},
        ),
    )
}

_NO_TRACES: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (
        frozenset({"HashFunction", "percentile_Average_50"}),
        "holds the durations of an Azure Functions trace; name the file of invocations beside it",
    ),
    (
        frozenset({"SampleCount", "AverageAllocatedMb"}),
        "holds the memory of an Azure Functions trace; name the file of invocations beside it",
    ),
    (
        frozenset({"num_gpu", "gpu_milli"}),
        "holds instances, not requests: `dilu replay openb --trace {folder}` places them",
    ),
    (
        frozenset({"sn", "cpu_milli", "memory_mib", "gpu"}),
        "holds nodes, not requests: `dilu replay openb --trace {folder}` places instances on them",
    ),
    (
        frozenset({"time_s", "action", "name", "service"}),
        "holds instances, not requests: an experiment places them by `workload.instances.file`",
    ),
    (
        frozenset({"function", "arrival_s"}),
        "has the columns of the project's own form, which is Parquet: pandas.read_csv(...).to_parquet(...)",
    ),
)
"""What stands beside traces, or is nearly one, by its columns, and what to do with it."""


def detect_format(path: Path | str) -> tuple[Path, TraceFormat]:
    """Tell the format of a file or folder from what it says.

    Returns
    -------
    The path to read, which is that of the only trace in the folder if the folder is none itself, and its
    format.

    Raises
    ------
    TraceError
        If it cannot be read, is of no known format, or is a folder of several traces.
    """
    path = Path(path)
    look = look_at(path)
    known = _recognised(look)
    if known is not None:
        return path, known
    if look.kind == "folder":
        return _only_trace(path, look)
    raise _unknown(path, look)


def find_format(name: str) -> TraceFormat:
    """Return a format by name; `TraceError` names the nearest."""
    if name not in FORMATS:
        mend = nearest(name, FORMATS) or f"; allowed are {', '.join(FORMATS)}"
        raise TraceError(f"found {shown(name)}{mend}", field="format")
    return FORMATS[name]


def read_trace(
    path: Path | str,
    *,
    format: str | None = None,  # noqa: A002  # it is what everyone calls it
    seed: int = 0,
    progress: Progress | None = None,
    options: Mapping[str, object] | None = None,
) -> Trace:
    """Read a trace of any known format.

    Parameters
    ----------
    format
        One of `FORMATS`; `None` tells it from the content.
    seed
        Of formats whose reader draws arrivals.
    progress
        Told how far the reading is.
    options
        What the format's reader can be told (`TraceFormat.options`).

    Raises
    ------
    TraceError
        If the format cannot be told, has no such option, or the file is not what the format says.
    """
    path, found = detect_format(path) if format is None else (Path(path), find_format(format))
    given = found.checked(options or {})
    if "seed" in inspect.signature(found.read).parameters:
        given["seed"] = seed
    return found.read(path, progress=progress, **given)


def _recognised(look: Look) -> TraceFormat | None:
    return next((entry for entry in FORMATS.values() if entry.recognises(look)), None)


def _only_trace(folder: Path, look: Look) -> tuple[Path, TraceFormat]:
    """Return the one trace in a folder that is none itself."""
    found: list[tuple[Path, TraceFormat]] = []
    others: list[tuple[Path, Look]] = []
    failed: list[TraceError] = []
    for path, seen in _looks_in(folder, look):
        if isinstance(seen, TraceError):
            failed.append(seen)
        elif (known := _recognised(seen)) is not None:
            found.append((path, known))
        else:
            others.append((path, seen))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path.relative_to(folder)) for path, _ in found[:_MOST_NAMED])
        more = ", ..." if len(found) > _MOST_NAMED else ""
        raise TraceError(f"holds {len(found)} traces; name one of {names}{more}", path=folder)
    if advice := _advice(others):
        raise advice
    reason = f"; {failed[0]}" if failed else ""
    raise TraceError(f"holds no trace of a known format ({', '.join(FORMATS)}){reason}", path=folder)


def _looks_in(folder: Path, look: Look) -> Iterator[tuple[Path, Look | TraceError]]:
    """Look at what is in a folder, and at what is in its folders that are no trace themselves.

    Raises
    ------
    TraceError
        If there is more than anyone would look at.
    """
    places = [(folder / name, 1) for name in sorted(look.names) if not name.startswith(".")]
    for count, (path, depth) in enumerate(places, start=1):
        if count > MOST_LOOKS:
            raise TraceError(f"holds more than {MOST_LOOKS} files to look at; name one", path=folder)
        try:
            seen: Look | TraceError = look_at(path)
        except TraceError as error:
            seen = error
        if isinstance(seen, Look) and seen.kind == "folder" and depth == 1 and _recognised(seen) is None:
            places += [(path / name, 2) for name in sorted(seen.names) if not name.startswith(".")]
        else:
            yield path, seen


def _unknown(path: Path, look: Look) -> TraceError:
    """Return the error about a file of no known format."""
    if advice := _advice([(path, look)]):
        return advice
    for mark in ";\t|" if look.kind == "text" else "":
        if _recognised(look.parted_by(mark)) is not None:
            return TraceError(f"found fields parted by {shown(mark)}, allowed is ','", path=path, line=1)
    if look.kind == "tar":
        first = shown(min(look.names, default=""))
        return TraceError(f"found an archive of {first}; only ServeGen's are read as they are", path=path)
    is_table = look.kind == "parquet"
    seen = f"columns {shown(', '.join(sorted(look.names)))}" if is_table else f"text {shown(look.first_line)}"
    return TraceError(f"found {seen}, which is of no known format ({', '.join(FORMATS)})", path=path)


def _advice(looks: Sequence[tuple[Path, Look]]) -> TraceError | None:
    """Return what to do with the first file that stands beside traces, by what it says."""
    for columns, advice in _NO_TRACES:
        for path, look in looks:
            if look.kind in ("text", "parquet") and look.names >= columns:
                return TraceError(advice.format(folder=path.parent), path=path)
    return None
