"""One colour a system in every figure, of Okabe and Ito's palette, which colour-blind readers tell apart.

Systems that differ in one thing have one hue: quotas at the limit are sky blue, at the request blue.
"""

from __future__ import annotations

from typing import Final

_ORANGE: Final = "#E69F00"
_SKY_BLUE: Final = "#56B4E9"
_GREEN: Final = "#009E73"
_YELLOW: Final = "#F0E442"
_BLUE: Final = "#0072B2"
_VERMILION: Final = "#D55E00"
_PURPLE: Final = "#CC79A7"
_GREY: Final = "#999999"
_DARK: Final = "#4D4D4D"
_BLACK: Final = "#000000"

COLOURS: Final = {
    "exclusive": _GREY,
    "mps-l": _SKY_BLUE,
    "mps-r": _BLUE,
    "tgs": _YELLOW,
    "fast-gs": _GREEN,
    "fast-gs+": _GREEN,
    "infless+": _PURPLE,
    "infless+-l": _SKY_BLUE,
    "infless+-r": _BLUE,
    "dilu": _VERMILION,
    "dilu-rc": _PURPLE,
    "dilu-wa": _YELLOW,
    "dilu-vs": _ORANGE,
    "oracle": _DARK,
}
"""By the name of the system."""

PAPER: Final = _BLACK
"""Of the paper's own values."""
