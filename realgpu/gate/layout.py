"""The shared memory of the gate, declared once: every field with its offset, its writer and its meaning.

`layout.h`, the C side of it, is printed from here (`python realgpu/gate/layout.py header`), and so is the
table in docs/gate.md (`... table`). A test asks the built library for its own offsets.

Every field is 8 bytes, little-endian, naturally aligned, and has one writer; fields of different writers
never share a cache line. So a plain aligned store publishes it, and nobody overwrites what another counts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

MAGIC = int.from_bytes(b"DILUGATE", "little")
ABI_VERSION = 1
CACHE_LINE_BYTES = 64

OPEN = 2**64 - 1
"""As a rate: no limit."""

UNSUPERVISED = 2**64 - 1
"""As a heartbeat: there is no controller to wait for, it never grows stale."""

LARGEST_COST = 2**40
"""Cost of one launch at most. Far above any real grid; keeps sums of costs far from 2^63."""

LARGEST_BURST = 2**62

STALE_NS = 250_000_000
"""A heartbeat older than this opens the gate. Assumed: 50 ticks of 5 ms."""

DEFAULT_DEADLINE_NS = 200_000_000
"""No launch waits longer than this. Assumed: far above a tick, below what a user takes for a hang."""

DEFAULT_KERNEL_NS = 10_000
"""Cost of a kernel that no table knows, under the cost model `TIME`. Assumed: a short kernel."""

Writer = Literal["creator", "controller", "gate", "worker"]


class Mode(IntEnum):
    """What a launch meets."""

    OFF = 0
    COUNT = 1
    ENFORCE = 2
    CALIBRATE = 3


class CostModel(IntEnum):
    """What a launch costs: blocks of its grid, 1, or nanoseconds as calibrated."""

    BLOCKS = 0
    LAUNCHES = 1
    TIME = 2


class GateState(IntEnum):
    """How far the gate has come in its worker."""

    ABSENT = 0
    MAPPED = 1
    DRIVER_SEEN = 2


@dataclass(frozen=True, slots=True)
class Field:
    """One unsigned number of 8 bytes.

    Attributes
    ----------
    offset
        Bytes from the start of its header or slot.
    writer
        The only one that stores to it, after the creator's first values.
    """

    name: str
    offset: int
    writer: Writer
    unit: str
    meaning: str


def _lines(*lines: tuple[Writer, tuple[tuple[str, str, str], ...]]) -> tuple[Field, ...]:
    """Lay out fields, each group on a cache line of its own."""
    return tuple(
        Field(name, CACHE_LINE_BYTES * line + 8 * place, writer, unit, meaning)
        for line, (writer, fields) in enumerate(lines)
        for place, (name, unit, meaning) in enumerate(fields)
    )


HEADER = _lines(
    (
        "creator",
        (
            ("magic", "", "the bytes DILUGATE; stored last, when everything else stands"),
            ("abi_version", "", "changes with anything in this table"),
            ("file_bytes", "bytes", "size of the file"),
            ("header_bytes", "bytes", "where the first slot begins"),
            ("slot_bytes", "bytes", "from one slot to the next"),
            ("slot_count", "slots", "one slot a worker"),
            ("creator_pid", "", "process that created the file"),
            (
                "creator_start",
                "ticks",
                "when that process started, since boot; tells it from a later one of that pid",
            ),
        ),
    ),
    (
        "controller",
        (
            ("heartbeat_ns", "ns", "CLOCK_MONOTONIC of the last tick; 2^64-1: no controller, never stale"),
            ("epoch", "", "grows by one at each change of rates; its low half is a futex"),
            ("period_ns", "ns", "time between two ticks"),
        ),
    ),
)

SLOT = _lines(
    (
        "controller",
        (
            ("rate", "cost/s", "refill of the bucket; 0: blocked, 2^64-1: open"),
            ("burst", "cost", "the bucket holds no more"),
            ("mode", "", "0 off, 1 count, 2 enforce, 3 calibrate"),
            ("cost_model", "", "0 blocks, 1 launches, 2 time (ns)"),
            ("deadline_ns", "ns", "a launch that has waited so long passes"),
            ("sm_choice", "", "index of the SM partition that the worker is to use; the gate ignores it"),
        ),
    ),
    (
        "gate",
        (
            ("spent", "cost", "charged so far; a launch's ticket is what was spent before it"),
            ("granted", "cost", "earned so far; granted - spent are the tokens, below 0 is debt"),
            ("last_refill_ns", "ns", "CLOCK_MONOTONIC up to which the bucket is filled"),
            ("launches", "launches", "that passed, graphs included, captured ones not"),
        ),
    ),
    (
        "gate",
        (
            ("graph_launches", "launches", "of whole graphs"),
            ("captured_launches", "launches", "seen while a stream captured: not charged, never held up"),
            ("captured_cost", "cost", "of the captured launches"),
            ("blocked", "launches", "that found no token"),
            ("stall_ns", "ns", "all waiting, summed over threads"),
            ("deadline_opens", "launches", "that passed because their deadline was over"),
            ("stale_opens", "launches", "that passed because the controller's heartbeat was stale"),
            ("unknown_times", "launches", "charged the default, since no table knew their time"),
        ),
    ),
    (
        "gate",
        (
            ("pid", "", "first process that mapped the slot"),
            ("state", "", "0 absent, 1 mapped, 2 a look-up in the driver was intercepted"),
            ("inflight_waits", "waits", "for launches in flight, when those are bounded"),
        ),
    ),
    (
        "worker",
        (
            ("iterations", "iterations", "batches or training steps finished"),
            ("in_flight", "requests", "being worked on"),
            ("queue_length", "requests", "waiting"),
            ("capture_flag", "", "not 0: the worker captures a graph, no launch is charged or held up"),
            ("ready", "", "not 0: the worker serves"),
            ("last_batch", "requests", "size of the last batch"),
            ("graph_cost", "cost", "of one graph launch; 0: all captured cost, an upper bound"),
        ),
    ),
)


def _whole_lines(fields: tuple[Field, ...]) -> int:
    """Return the bytes of the cache lines that the fields take."""
    return -(-(fields[-1].offset + 8) // CACHE_LINE_BYTES) * CACHE_LINE_BYTES


HEADER_BYTES = _whole_lines(HEADER)
SLOT_BYTES = _whole_lines(SLOT)


def file_bytes(slots: int) -> int:
    """Return the size of a file with so many slots."""
    return HEADER_BYTES + slots * SLOT_BYTES


def _structure(name: str, fields: tuple[Field, ...], size: int) -> Iterator[str]:
    """Return the lines of one C structure, its padding written out, and of what is asserted about it."""
    yield f"struct gate_{name} {{"
    end = 0
    for field in fields:
        if field.offset > end:
            yield f"    unsigned char pad_{end}[{field.offset - end}];"
        alignment = f"_Alignas({CACHE_LINE_BYTES}) " if field.offset == 0 else ""
        yield f"    {alignment}_Atomic uint64_t {field.name};  // {field.writer}"
        end = field.offset + 8
    if size > end:
        yield f"    unsigned char pad_{end}[{size - end}];"
    yield "};"
    yield ""
    for field in fields:
        wanted = f"offsetof(struct gate_{name}, {field.name}) == {field.offset}"
        yield f'_Static_assert({wanted}, "{name}.{field.name}");'
    yield f'_Static_assert(sizeof(struct gate_{name}) == {size}, "{name}");'
    yield ""


def c_header() -> str:
    """Return the text of `layout.h`."""
    constants = {
        "GATE_MAGIC": f"UINT64_C({MAGIC:#x})",
        "GATE_ABI_VERSION": ABI_VERSION,
        "GATE_OPEN": "UINT64_MAX",
        "GATE_LARGEST_COST": f"UINT64_C({LARGEST_COST:#x})",
        "GATE_LARGEST_BURST": f"UINT64_C({LARGEST_BURST:#x})",
        "GATE_STALE_NS": f"UINT64_C({STALE_NS})",
        "GATE_DEFAULT_KERNEL_NS": f"UINT64_C({DEFAULT_KERNEL_NS})",
        **{f"GATE_MODE_{mode.name}": mode.value for mode in Mode},
        **{f"GATE_COST_{model.name}": model.value for model in CostModel},
        **{f"GATE_STATE_{state.name}": state.value for state in GateState},
    }
    names = [("header", field.name) for field in HEADER] + [("slot", field.name) for field in SLOT]
    return "\n".join(
        [
            "// Printed by `python realgpu/gate/layout.py header`; change layout.py, not this.",
            "#ifndef GATE_LAYOUT_H",
            "#define GATE_LAYOUT_H",
            "",
            "#include <stdatomic.h>",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "",
            *(f"#define {name} {value}" for name, value in constants.items()),
            "",
            *_structure("header", HEADER, HEADER_BYTES),
            *_structure("slot", SLOT, SLOT_BYTES),
            "struct gate_field {",
            "    const char *name;",
            "    size_t offset;",
            "};",
            "",
            "static const struct gate_field GATE_FIELDS[] = {",
            *(f'    {{"{part}.{name}", offsetof(struct gate_{part}, {name})}},' for part, name in names),
            "};",
            "",
            "#endif",
            "",
        ]
    )


def markdown_table() -> str:
    """Return the layout as the table of docs/gate.md."""
    rows = ["| field | offset | written by | unit | meaning |", "|---|---:|---|---|---|"]
    for part, fields in (("header", HEADER), ("slot", SLOT)):
        for field in fields:
            name = f"`{part}.{field.name}`"
            rows.append(f"| {name} | {field.offset} | {field.writer} | {field.unit} | {field.meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write({"header": c_header, "table": markdown_table}[sys.argv[1]]())
