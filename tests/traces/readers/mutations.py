"""Damage done to the bytes of a text format, one or several kinds at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from traces import Trace, TraceError

Mutation = Callable[[DrawFn, bytes], bytes]

# What people and programs write where a number should stand, and what spoils a field.
_WRONG_NUMBERS = (b"-", b"nan", b"x", b"", b"inf", b"-1", b"1e3", b"0x1f", b"1_0", b".5", b"9" * 400)
_WRONG_FIELDS = (b"", b" ", b"nan", b"-1", b"NULL", b"0", b"1.5", b'"', b'""', b'"a\n1"', b"null", b"{}")
_WRONG_BYTES = (b"\xff", b"\x00", b"\xc3", b"\xef\xbb\xbf", b"\r", b"\xe2\x80\xa8", b"\x1f\x8b", b"PAR1")
_DELIMITERS = (b";", b"\t", b"|", b" ", b",,")


def mutations(data: bytes, *, delimiter: bytes = b",", most: int = 3) -> SearchStrategy[bytes]:
    """Return what becomes of `data` after one to `most` mutations.

    Lines end with a line feed; `delimiter` parts the fields of a line. A result may equal `data`: swapping
    two equal lines changes nothing.
    """

    def columnwise(change: Callable[[DrawFn, list[bytes]], list[bytes]]) -> Mutation:
        return lambda draw, content: _in_one_or_all_lines(draw, content, delimiter, change)

    kinds: list[Mutation] = [
        _cut,
        _invalid_byte,
        _replace_digit,
        _replace_number,
        _delete_line_end,
        _swap_lines,
        _repeat_line,
        _delete_line,
        _blank_line,
        _other_line_ends,
        lambda draw, content: _other_delimiter(draw, content, delimiter),
        columnwise(_swap_fields),
        columnwise(_drop_field),
        columnwise(_repeat_field),
        columnwise(_spoil_field),
    ]

    @st.composite
    def mutated(draw: DrawFn) -> bytes:
        content = data
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=most)):
            content = kind(draw, content)
        return content

    return mutated()


def trace_or_refusal(read: Callable[[Path], Trace], path: Path, content: bytes) -> Trace | None:
    """Write and read a damaged file; return `None` if it was refused as it should be.

    That is: by the package's own error, in one line that begins with the path, and with no line that the file
    does not have.
    """
    path.write_bytes(content)
    try:
        return read(path)
    except TraceError as error:
        refusal = error
    assert str(refusal).startswith(f"{path}: ")
    assert len(str(refusal).splitlines()) == 1
    assert refusal.line is None or 1 <= refusal.line <= content.count(b"\n") + 1
    return None


def _cut(draw: DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _invalid_byte(draw: DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(_WRONG_BYTES)) + data[at + draw(st.integers(0, 1)) :]


def _replace_digit(draw: DrawFn, data: bytes) -> bytes:
    digit = st.sampled_from([bytes([code]) for code in b"0123456789"])
    return _replace_match(draw, data, rb"[0-9]", digit | st.sampled_from(_WRONG_NUMBERS))


def _replace_number(draw: DrawFn, data: bytes) -> bytes:
    return _replace_match(draw, data, rb"[0-9]+", st.sampled_from(_WRONG_NUMBERS))


def _replace_match(draw: DrawFn, data: bytes, pattern: bytes, by: SearchStrategy[bytes]) -> bytes:
    matches = list(re.finditer(pattern, data))
    if not matches:
        return data
    start, end = draw(st.sampled_from(matches)).span()
    return data[:start] + draw(by) + data[end:]


def _delete_line_end(draw: DrawFn, data: bytes) -> bytes:
    return _replace_match(draw, data, rb"\r?\n", st.just(b""))


def _swap_lines(draw: DrawFn, data: bytes) -> bytes:
    lines = data.split(b"\n")
    here, there = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
    lines[here], lines[there] = lines[there], lines[here]
    return b"\n".join(lines)


def _repeat_line(draw: DrawFn, data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(lines)))
    return b"\n".join(lines)


def _delete_line(draw: DrawFn, data: bytes) -> bytes:
    lines = data.split(b"\n")
    del lines[draw(st.integers(0, len(lines) - 1))]
    return b"\n".join(lines)


def _blank_line(draw: DrawFn, data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([b"", b" ", b"\r"])))
    return b"\n".join(lines)


def _other_line_ends(draw: DrawFn, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n"])))


def _other_delimiter(draw: DrawFn, data: bytes, delimiter: bytes) -> bytes:
    other = draw(st.sampled_from(_DELIMITERS))
    if draw(st.booleans()):
        return data.replace(delimiter, other)
    return _replace_match(draw, data, re.escape(delimiter), st.just(other))


def _in_one_or_all_lines(
    draw: DrawFn, data: bytes, delimiter: bytes, change: Callable[[DrawFn, list[bytes]], list[bytes]]
) -> bytes:
    """Change the fields of one line, or of all lines in the same way."""
    lines = data.split(b"\n")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = delimiter.join(change(draw, lines[at].split(delimiter)))
        return b"\n".join(lines)
    rows = [line.split(delimiter) for line in lines]
    width = max(map(len, rows))
    order = change(draw, [b"%d" % position for position in range(width)])
    return b"\n".join(
        delimiter.join(_picked(row, order)) if len(row) == width else delimiter.join(row) for row in rows
    )


def _picked(row: list[bytes], order: list[bytes]) -> list[bytes]:
    """Return the fields that an order names by position; what is no position stands for itself."""
    return [row[int(place)] if place.isdigit() and int(place) < len(row) else place for place in order]


def _swap_fields(draw: DrawFn, fields: list[bytes]) -> list[bytes]:
    here, there = draw(st.integers(0, len(fields) - 1)), draw(st.integers(0, len(fields) - 1))
    swapped = list(fields)
    swapped[here], swapped[there] = fields[there], fields[here]
    return swapped


def _drop_field(draw: DrawFn, fields: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(fields) - 1))
    return fields[:at] + fields[at + 1 :]


def _repeat_field(draw: DrawFn, fields: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(fields)))
    return [*fields[:at], draw(st.sampled_from(fields)), *fields[at:]]


def _spoil_field(draw: DrawFn, fields: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(fields) - 1))
    return [*fields[:at], draw(st.sampled_from(_WRONG_FIELDS)), *fields[at + 1 :]]
