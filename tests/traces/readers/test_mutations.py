from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, find, settings
from mutations import mutations

TABLE = b"a,b,c\n1,22,3\n4,55,6\n7,88,9\n"


def columns(content: bytes) -> list[tuple[bytes, ...]]:
    """Return the columns of a table whose rows have one width."""
    return list(zip(*(line.split(b",") for line in content.splitlines()), strict=False))


A, B, C = columns(TABLE)


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda found: found != TABLE and TABLE.startswith(found), id="cut"),
        pytest.param(lambda found: columns(found) == [B, A, C], id="columns swapped"),
        pytest.param(lambda found: columns(found) == [A, C], id="column dropped"),
        pytest.param(lambda found: columns(found) == [A, B, B, C], id="column repeated"),
        pytest.param(lambda found: found == TABLE.replace(b",", b";"), id="other delimiter"),
        pytest.param(lambda found: found == TABLE.replace(b"55", b"5-"), id="sign in a number"),
        pytest.param(lambda found: found == TABLE.replace(b"55", b"nan"), id="nan for a number"),
        pytest.param(lambda found: found == TABLE.replace(b"55", b"x5"), id="letter in a number"),
        pytest.param(lambda found: found == TABLE.replace(b"55", b"65"), id="other digit"),
        pytest.param(lambda found: found == TABLE.replace(b"55", b""), id="empty field"),
        pytest.param(lambda found: found == b"a,b,c\n7,88,9\n4,55,6\n1,22,3\n", id="lines swapped"),
        pytest.param(lambda found: found == b"a,b,c\n1,22,3\n7,88,9\n", id="line lost"),
        pytest.param(lambda found: found == TABLE.replace(b"\n4", b"4"), id="line end lost"),
        pytest.param(lambda found: found == TABLE.replace(b"\n4", b"\n\n4"), id="blank line"),
        pytest.param(lambda found: found == TABLE.replace(b"\n", b"\r\n"), id="other line ends"),
        pytest.param(lambda found: b"\xff" in found, id="byte that is no UTF-8"),
    ],
)
def test_each_kind_of_damage_is_done(damaged: Callable[[bytes], bool]) -> None:
    """Every kind that readers must stand is among the mutations, undisturbed by another one."""
    thorough = settings(max_examples=50_000, derandomize=True, database=None, phases=[Phase.generate])
    assert damaged(find(mutations(TABLE, most=1), damaged, settings=thorough))


@pytest.mark.parametrize("data", [b"", b"\n", b"x", b"7", b"\xff\x00,", b",,\n,"])
def test_any_bytes_can_be_damaged(data: bytes) -> None:
    """No content is too short or too strange to be mutated."""
    found = find(mutations(data), lambda mutated: mutated != data, settings=settings(database=None))
    assert isinstance(found, bytes)
