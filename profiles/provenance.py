"""Where a number comes from. No value of a profile goes without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from profiles.errors import ProfileError

ProvenanceKind = Literal["measured", "fitted", "published", "derived", "assumed"]
"""How far a value can be trusted, best first.

`measured` on the device at hand; `fitted` to raw points; `published` by others; `derived` by a stated rule
from other values; `assumed`, to be replaced by a measurement.
"""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of one value: its kind, and a text that lets a reader find or repeat it.

    Raises
    ------
    ProfileError
        If `kind` is not a `ProvenanceKind` or `source` is blank.
    """

    kind: ProvenanceKind
    source: str

    def __post_init__(self) -> None:
        kinds = get_args(ProvenanceKind)
        if self.kind not in kinds:
            raise ProfileError(f"kind: found {self.kind!r}, allowed are {', '.join(kinds)}")
        if not self.source.strip():
            raise ProfileError("source: found no text, a value needs the place it comes from")
