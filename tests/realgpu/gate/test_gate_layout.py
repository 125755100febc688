from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from realgpu.gate.charge import load_library
from realgpu.gate.layout import (
    CACHE_LINE_BYTES,
    HEADER,
    HEADER_BYTES,
    SLOT,
    SLOT_BYTES,
    Field,
    c_header,
    file_bytes,
    markdown_table,
)

ROOT = Path(__file__).parents[3]


def test_the_header_of_the_c_side_is_the_printed_one() -> None:
    """`layout.h` is what layout.py prints, so the two cannot drift apart."""
    assert (ROOT / "realgpu" / "gate" / "layout.h").read_text() == c_header()


def test_the_page_shows_the_layout() -> None:
    """The table in docs/gate.md is the printed one."""
    assert markdown_table() in (ROOT / "docs" / "gate.md").read_text()


def test_the_library_has_the_same_offsets(gate_library: Path) -> None:
    """The compiled gate itself says where its fields are."""
    library = load_library(gate_library)
    name, offset = ctypes.c_char_p(), ctypes.c_size_t()
    found = {}
    while library.gate_field(len(found), ctypes.byref(name), ctypes.byref(offset)):
        assert name.value is not None
        found[name.value.decode()] = offset.value
    wanted = {f"header.{field.name}": field.offset for field in HEADER}
    assert found == wanted | {f"slot.{field.name}": field.offset for field in SLOT}


@pytest.mark.parametrize("fields", [HEADER, SLOT])
def test_no_cache_line_has_two_writers(fields: tuple[Field, ...]) -> None:
    """What different writers store never shares a line, and no two fields share a byte."""
    writers: dict[int, set[str]] = {}
    for field in fields:
        assert field.offset % 8 == 0
        writers.setdefault(field.offset // CACHE_LINE_BYTES, set()).add(field.writer)
    assert all(len(each) == 1 for each in writers.values())
    assert len({field.offset for field in fields}) == len({field.name for field in fields}) == len(fields)


def test_slots_start_on_cache_lines() -> None:
    """Header and slots are whole cache lines, so neighbours share none."""
    assert HEADER_BYTES % CACHE_LINE_BYTES == SLOT_BYTES % CACHE_LINE_BYTES == 0
    assert file_bytes(3) == HEADER_BYTES + 3 * SLOT_BYTES
