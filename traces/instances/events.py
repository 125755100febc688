"""Workloads for placement alone: instances that start and stop, with no requests.

Dilu's large-scale simulation (ASPLOS 2025, section 5.5, figures 17 and 18) is driven by such events. They are
kept as CSV with the columns `time_s,action,name,service,kind,gpus,request,limit,memory_gb`: memory is that of
one GPU in units of 2**30 bytes, so that a 40 GB GPU holds 40. A `stop` row needs `time_s`, `action` and
`name`; its other fields are empty, or repeat the start. A further column `gpu_types`, which may be left out,
holds the types of GPU that the instance may have, joined by `|`; empty: any.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from traces.errors import TraceError, shown
from traces.readers.tables import Table, number

Action = Literal["start", "stop"]
InstanceKind = Literal["inference", "llm", "training"]

GIB = 2**30
COLUMNS = ("time_s", "action", "name", "service", "kind", "gpus", "request", "limit", "memory_gb")
TYPES_COLUMN = "gpu_types"
_SIZE_COLUMNS = (*COLUMNS[3:], TYPES_COLUMN)
SEPARATOR = "|"
_MOST_GPUS = 1_000_000
_MOST_MEMORY_GB = 1_000_000  # of one GPU: far above any, and exact in bytes


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """An instance starts or stops.

    Attributes
    ----------
    time_s
        Seconds from the start of the workload.
    action
        `start` or `stop`. A stop carries what its start said of the instance.
    name
        The instance, unique while it runs.
    service
        The function that it is an instance of.
    kind
        `inference`, `llm` or `training`.
    gpus
        GPUs that the instance needs, each with the share and the memory below.
    request, limit
        SM shares of one GPU, 0 < request <= limit <= 1.
    memory_bytes
        Memory on one GPU.
    gpu_types
        Types of GPU that the instance may have; `None`: any.

    Raises
    ------
    TraceError
        If a value is out of range.
    """

    time_s: float
    action: Action
    name: str
    service: str
    kind: InstanceKind
    gpus: int
    request: float
    limit: float
    memory_bytes: int
    gpu_types: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_s) and self.time_s >= 0):
            raise TraceError(f"found {shown(self.time_s)}, allowed is a finite number from 0", field="time_s")
        for field, value, allowed in (
            ("action", self.action, get_args(Action)),
            ("kind", self.kind, get_args(InstanceKind)),
        ):
            if value not in allowed:
                raise TraceError(f"found {shown(value)}, allowed are {', '.join(allowed)}", field=field)
        for field, text in (("name", self.name), ("service", self.service)):
            if not text:
                raise TraceError("found an empty name", field=field)
        if self.gpus < 1:
            raise TraceError(f"found {self.gpus}, allowed are whole numbers from 1", field="gpus")
        if not 0 < self.request <= 1:
            raise TraceError(f"found {shown(self.request)}, allowed is above 0 and up to 1", field="request")
        if not self.request <= self.limit <= 1:
            raise TraceError(
                f"found {shown(self.limit)}, allowed is from the request ({self.request}) to 1", field="limit"
            )
        if self.memory_bytes < 0:
            raise TraceError(f"found {self.memory_bytes} bytes, allowed is from 0", field="memory_gb")
        if self.gpu_types is not None:
            _check_types(self.gpu_types)


def read_instance_events(path: Path | str) -> list[InstanceEvent]:
    """Read instance events from a CSV file.

    Raises
    ------
    TraceError
        With file, line and column, if a row is truncated or a value out of range, time goes back, an instance
        starts while it runs, or one stops that does not run.
    """
    path = Path(path)
    table = Table(path, required=COLUMNS)
    columns = [name for name in (*COLUMNS, TYPES_COLUMN) if name in table.columns]
    events: list[InstanceEvent] = []
    running: dict[str, InstanceEvent] = {}
    for line, row in table:
        text = {TYPES_COLUMN: ""} | {column: row[table.columns[column]].strip() for column in columns}
        try:
            event = _event(text, running)
        except TraceError as error:
            raise TraceError(str(error.args[0]), path=path, line=line, field=error.field) from None
        if events and event.time_s < events[-1].time_s:
            raise TraceError(
                f"found {event.time_s} after {events[-1].time_s}, allowed is ascending time",
                path=path,
                line=line,
                field="time_s",
            )
        if event.action == "start":
            running[event.name] = event
        else:
            del running[event.name]
        events.append(event)
    if not events:
        raise TraceError("holds a header and no event", path=path)
    return events


def write_instance_events(path: Path | str, events: Iterable[InstanceEvent]) -> None:
    """Write instance events as `read_instance_events` reads them, byte for byte the same on any machine.

    The column `gpu_types` is there if any instance may not have a GPU of any type.
    """
    events = list(events)
    columns = COLUMNS if all(event.gpu_types is None for event in events) else (*COLUMNS, TYPES_COLUMN)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for event in events:
        row: list[object] = [_shortest(event.time_s), event.action, event.name]
        if event.action == "start":
            sizes = (event.request, event.limit, event.memory_bytes / GIB)
            row += [event.service, event.kind, event.gpus, *map(_shortest, sizes)]
            if event.gpu_types is not None:
                row.append(SEPARATOR.join(sorted(event.gpu_types)))
        writer.writerow(row + [""] * (len(columns) - len(row)))
    Path(path).write_text(text.getvalue(), encoding="utf-8", newline="")


def gpu_types(
    text: str, *, field: str, path: Path | None = None, line: int | None = None
) -> frozenset[str] | None:
    """Read types of GPU joined by `|`; `None` where there are none, which allows any.

    Raises
    ------
    TraceError
        If a name is empty.
    """
    if not text:
        return None
    types = frozenset(name.strip() for name in text.split(SEPARATOR))
    if "" in types:
        message = f"found {shown(text)}, allowed are names joined by {SEPARATOR}"
        raise TraceError(message, path=path, line=line, field=field)
    return types


def _check_types(types: frozenset[str]) -> None:
    wrong = sorted(name for name in types if not name or name != name.strip() or SEPARATOR in name)
    if wrong or not types:
        found = shown(wrong[0]) if wrong else "none"
        raise TraceError(f"found {found}, allowed are names without {SEPARATOR}", field=TYPES_COLUMN)


def _event(text: dict[str, str], running: dict[str, InstanceEvent]) -> InstanceEvent:
    match text["action"]:
        case "start":
            return _start(text, running)
        case "stop":
            return _stop(text, running)
        case unknown:
            raise TraceError(f"found {shown(unknown)}, allowed are start, stop", field="action")


def _start(text: dict[str, str], running: dict[str, InstanceEvent]) -> InstanceEvent:
    event = InstanceEvent(
        time_s=_number(text, "time_s"),
        action=cast(Action, text["action"]),
        name=text["name"],
        service=text["service"],
        kind=cast(InstanceKind, text["kind"]),
        gpus=_gpus(text),
        request=_number(text, "request"),
        limit=_number(text, "limit"),
        memory_bytes=round(_memory_gb(text) * GIB),
        gpu_types=gpu_types(text[TYPES_COLUMN], field=TYPES_COLUMN),
    )
    if event.name in running:
        raise TraceError(f"found a start of {shown(event.name)}, which runs already", field="name")
    return event


def _stop(text: dict[str, str], running: dict[str, InstanceEvent]) -> InstanceEvent:
    if text["name"] not in running:
        raise TraceError(f"found a stop of {shown(text['name'])}, which does not run", field="name")
    start = running[text["name"]]
    if any(text[column] for column in _SIZE_COLUMNS):
        repeated = _start(text | {"action": "start", "name": start.name}, running={})
        for field in ("service", "kind", "gpus", "request", "limit", "memory_bytes", "gpu_types"):
            found, said = getattr(repeated, field), getattr(start, field)
            if found != said:
                message = f"found {_shown(found)}, allowed is nothing or what the start says ({_shown(said)})"
                raise TraceError(message, field=field)
    return replace(start, time_s=_number(text, "time_s"), action="stop")


def _shown(value: object) -> str:
    return shown(SEPARATOR.join(sorted(value)) if isinstance(value, frozenset) else value)


def _number(text: dict[str, str], column: str) -> float:
    return number(text[column], field=column)


def _memory_gb(text: dict[str, str]) -> float:
    memory_gb = _number(text, "memory_gb")
    if memory_gb > _MOST_MEMORY_GB:
        raise TraceError(f"found {memory_gb:g}, allowed is up to {_MOST_MEMORY_GB}", field="memory_gb")
    return memory_gb


def _gpus(text: dict[str, str]) -> int:
    digits = text["gpus"].lstrip("0") or "0"
    is_whole = text["gpus"].isascii() and text["gpus"].isdigit()
    if not is_whole or len(digits) > len(str(_MOST_GPUS)) or int(digits) > _MOST_GPUS:
        raise TraceError(
            f"found {shown(text['gpus'])}, allowed are whole numbers from 1 to {_MOST_GPUS}", field="gpus"
        )
    return int(digits)


def _shortest(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
