"""The token counts of a ServeGen client's requests: distributions, one set for every few hours."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.readers.archive import Entry

MOST_TOKENS: Final = 10**7
MOST_PIECES: Final = 1000
"""Of images in a request; the pool mm-image has up to 49, and inputs of up to 4,242 tokens of text."""

_MODALITIES = ("image", "audio", "video")
_LARGEST_ROUNDING = 1e-6
_LATEST_S = 10**9

# Python's way to write a dictionary of whole numbers and probabilities; no other literal can follow it, so
# that none need be evaluated
_BLANK = r"[ \t\r\n]*"
_ENTRY = rf"(?:0|[1-9][0-9]{{0,8}}){_BLANK}:{_BLANK}(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{{1,3}})?"
_ENTRIES = rf"{_ENTRY}(?:{_BLANK},{_BLANK}{_ENTRY})*"
_EMPTY = re.compile(rf"\{{{_BLANK}\}}")
_DISTRIBUTION = re.compile(rf"\{{{_BLANK}(?:{_ENTRIES})?{_BLANK}\}}")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of whole numbers: int64 values, and float64 probability up to and with each."""

    values: NDArray[np.int64]
    up_to: NDArray[np.float64]

    def draw(self, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return independent draws."""
        return self.values[np.searchsorted(self.up_to, rng.random(size), side="right")]


@dataclass(frozen=True, slots=True)
class TokenWindow:
    """What the requests from one time on are made of.

    Attributes
    ----------
    start_s
        When it begins; it lasts until the next one.
    text, output
        Tokens of a request's text, and of its answer.
    pieces
        For each kind of media, how many of them a request has, and the tokens of one.
    """

    start_s: int
    text: Distribution
    output: Distribution
    pieces: tuple[tuple[Distribution, Distribution], ...]

    def draw(self, size: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the input tokens, text and media together, and output tokens of some requests.

        The distributions are marginal ones: all draws are independent, as in ServeGen's own generator.
        """
        inputs = self.text.draw(size, rng)
        outputs = self.output.draw(size, rng)
        for count, tokens in self.pieces:
            ends = np.cumsum(count_of := count.draw(size, rng))
            up_to = np.concatenate([[0], np.cumsum(tokens.draw(int(ends[-1]) if size else 0, rng))])
            inputs = inputs + up_to[ends] - up_to[ends - count_of]
        return inputs, outputs


def read_token_windows(entry: Entry) -> tuple[TokenWindow, ...]:
    """Read a `chunk-<client>-dataset.json`.

    It holds, by the start of a window (s), the fields `input_tokens` or `text_tokens`, `output_tokens`, and
    for media the tokens of one and their count (`image_tokens`, `image_count`, likewise audio and video),
    each as text that holds a Python dictionary of probabilities. Other fields hold text too and are passed
    over, and so are windows with an empty distribution, in which nothing was seen.

    Raises
    ------
    TraceError
        If it is anything else, or probabilities do not sum to 1.
    """
    windows: list[TokenWindow] = []
    last_s = -1
    for start, fields in _objects(entry).items():
        if not (re.fullmatch("[0-9]{1,10}", start) and last_s < int(start) <= _LATEST_S):
            raise _fault(entry, "window", start, "ascending whole seconds")
        last_s = int(start)
        if type(fields) is not dict:
            raise _fault(entry, f"window {start}", fields, "an object")
        window = _window(last_s, fields, entry)
        if window is not None:
            windows.append(window)
    return tuple(windows)


def _objects(entry: Entry) -> dict[str, Any]:
    try:
        value = json.loads(entry.text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise TraceError(f"is no JSON: {error.msg}", path=entry.path, line=error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise TraceError(f"is no JSON of this format ({error})", path=entry.path) from None
    if type(value) is not dict:
        raise TraceError(f"found {shown(value)}, allowed is an object", path=entry.path)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"found {text}")


def _window(start_s: int, fields: dict[str, Any], entry: Entry) -> TokenWindow | None:
    text_field = "input_tokens" if "input_tokens" in fields else "text_tokens"
    bounds = {text_field: MOST_TOKENS, "output_tokens": MOST_TOKENS}
    media = [
        (f"{kind}_count", f"{kind}_tokens")
        for kind in _MODALITIES
        if f"{kind}_count" in fields or f"{kind}_tokens" in fields
    ]
    bounds |= {count: MOST_PIECES for count, _ in media} | {tokens: MOST_TOKENS for _, tokens in media}
    known: dict[str, Distribution] = {}
    for field in dict.fromkeys([*bounds, *fields]):
        text, name = fields.get(field), f"window {start_s}: {field}"
        if type(text) is not str or (field in bounds and not _DISTRIBUTION.fullmatch(text)):
            raise _fault(entry, name, text, "text like '{17: 0.25, 18: 0.75}'")
        if field in bounds and not _EMPTY.fullmatch(text):
            known[field] = _distribution(text, bounds[field], entry, name)
    if len(known) < len(bounds):
        return None
    pieces = tuple((known[count], known[tokens]) for count, tokens in media)
    return TokenWindow(start_s, known[text_field], known["output_tokens"], pieces)


def _distribution(text: str, most: int, entry: Entry, field: str) -> Distribution:
    parts = text.strip("{} \t\r\n").replace(":", ",").split(",")
    values = np.array([int(part) for part in parts[::2]])
    up_to = np.cumsum([float(part) for part in parts[1::2]])
    if values.max() > most:
        raise _fault(entry, field, int(values.max()), f"up to {most}")
    if np.unique(values).size < values.size:
        raise _fault(entry, field, text, "each value once")
    if not abs(up_to[-1] - 1) <= _LARGEST_ROUNDING:
        raise _fault(entry, field, float(up_to[-1]), "probabilities that sum to 1")
    return Distribution(values, up_to / up_to[-1])


def _fault(entry: Entry, field: str, found: object, allowed: str) -> TraceError:
    return TraceError(f"found {shown(found)}, allowed is {allowed}", path=entry.path, field=field)
