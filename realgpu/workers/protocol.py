"""What orchestrator and worker say to each other: JSON, a message a line.

To a worker come `Begin`, any number of `Run`, and `Stop`; from it `Ready`, a `Done` for each `Run`,
`Finished` when a training has done all its steps, and last `Stopped` or `Failed`. Times are CLOCK_MONOTONIC
in nanoseconds.

Both ends check every message, when they make it and when they read it.
"""

from __future__ import annotations

import base64
import json
import math
import pickle
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from realgpu.errors import RealGpuError

LONGEST_LINE: Final = 1 << 20
"""Bytes of a message at most, its end of line included."""

BackendName = Literal["virtual", "cpu", "cuda"]
Job = Literal["serve", "train"]
Thing = TypeVar("Thing")

_INTEGERS: Final = range(-(1 << 63), 1 << 63)


class _From(NamedTuple):
    """A range of numbers without an end."""

    least: int


Index = Annotated[int, _From(0)]
Count = Annotated[int, _From(1)]
Steps = Annotated[float, _From(0)]


@dataclass(frozen=True, slots=True)
class _Message:
    """A message whose fields are of their types and in their ranges.

    Raises
    ------
    RealGpuError
        If one is not; the line names message, field, what was found and what is allowed.
    """

    def __post_init__(self) -> None:
        hints = _hints(kind_of(type(self)))
        for declared in fields(self):
            found, hint = getattr(self, declared.name), hints[declared.name]
            if not _fits(found, hint):
                where = f"{kind_of(type(self))}: {declared.name}"
                raise RealGpuError(f"{where}: found {_shown(found)}, allowed is {_named(hint)}")


@dataclass(frozen=True, slots=True)
class Begin(_Message):
    """Become this instance.

    Attributes
    ----------
    board
        Path of the board.
    seats
        Its rows there, one for each GPU it sits on.
    profile, sharing
        A `profiles.ModelProfile` and a `profiles.sharing.Sharing`, as `packed` made them.
    batch
        Largest batch.
    interference
        Name of a shipped interference model, or `None`.
    iterations
        Training steps to do; `None`: until told to stop.
    models
        Names of models by their numbers on the board.
    options
        Of the backend; see there.
    """

    board: str
    seats: tuple[Index, ...]
    backend: BackendName
    job: Job
    model: str
    profile: str
    batch: Count
    sharing: str
    interference: str | None
    iterations: Count | None
    seed: Index
    models: tuple[str, ...]
    options: dict[str, Any]

    def __post_init__(self) -> None:
        super(Begin, self).__post_init__()
        if not self.seats:
            raise RealGpuError("begin: seats: found none, an instance sits on one GPU at least")


@dataclass(frozen=True, slots=True)
class Run(_Message):
    """Serve requests `first` .. `first + count - 1`.

    Attributes
    ----------
    iterations
        1, or the output tokens of an LLM's longest answer.
    """

    first: Index
    count: Count
    iterations: Count


@dataclass(frozen=True, slots=True)
class Stop(_Message):
    """End: after the batch that runs, or, in training, before the next step."""


@dataclass(frozen=True, slots=True)
class Ready(_Message):
    """Started up. `loaded` holds `import_s`, `load_s`, `warm_up_s`, and facts about the device."""

    at_ns: int
    loaded: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done(_Message):
    """A batch has been served, between these times."""

    first: Index
    count: Count
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Finished(_Message):
    """All training steps have been done; the worker waits for `Stop`."""

    steps: Steps
    at_ns: int


@dataclass(frozen=True, slots=True)
class Failed(_Message):
    """It cannot go on, and ends with status 1."""

    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Stopped(_Message):
    """It ends, having been told to. `steps` are those of training, 0 for serving."""

    steps: Steps
    at_ns: int


Message = Begin | Run | Stop | Ready | Done | Finished | Failed | Stopped

_KINDS: Final = {message.__name__.lower(): message for message in get_args(Message)}


def encode(message: Message) -> bytes:
    """Return a message as a line.

    Raises
    ------
    RealGpuError
        If it is longer than `LONGEST_LINE`, or holds what JSON has no word for.
    """
    kind = kind_of(type(message))
    try:
        text = json.dumps({"kind": kind, **asdict(message)}, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise RealGpuError(f"{kind}: cannot be written as JSON ({error})") from None
    line = text.encode("ascii") + b"\n"
    if len(line) > LONGEST_LINE:
        raise RealGpuError(f"{kind}: found {len(line)} bytes, allowed are {LONGEST_LINE}")
    return line


def decode(line: bytes) -> Message:
    """Return the message of a line.

    Raises
    ------
    RealGpuError
        If it is no JSON object, of no known kind, or a field is missing, unknown, or not as declared.
    """
    if len(line) > LONGEST_LINE:
        raise RealGpuError(f"message: found {len(line)} bytes, allowed are {LONGEST_LINE}")
    try:
        found = json.loads(
            line.decode(), object_pairs_hook=_without_repeats, parse_float=_number, parse_constant=_number
        )
    except (ValueError, RecursionError) as error:
        raise RealGpuError(f"message: found {_shown(line)}, which is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise RealGpuError(f"message: found {_shown(found)}, allowed is an object")
    kind = found.pop("kind", None)
    message = _KINDS.get(kind) if isinstance(kind, str) else None
    if message is None:
        raise RealGpuError(f"message: kind: found {_shown(kind)}, allowed are {', '.join(_KINDS)}")
    names = [declared.name for declared in fields(message)]
    for name in found:
        if name not in names:
            raise RealGpuError(f"{kind}: unknown field {_shown(name)}, allowed are {', '.join(names)}")
    for name in names:
        if name not in found:
            raise RealGpuError(f"{kind}: {name}: found nothing, the field is required")
    hints = _hints(kind)
    return cast("Message", message(**{name: _from_json(value, hints[name]) for name, value in found.items()}))


def packed(thing: object) -> str:
    """Return an object as text, for a field of `Begin`."""
    return base64.b64encode(pickle.dumps(thing)).decode("ascii")


def unpacked(text: str, kind: type[Thing], where: str) -> Thing:
    """Return the object that `packed` made into text. Unpickling runs code: the socket's other end is ours.

    Raises
    ------
    RealGpuError
        If it is no such text, or another sort of object.
    """
    try:
        thing = pickle.loads(base64.b64decode(text, validate=True))
    except Exception as error:  # unpickling damaged bytes raises almost anything
        raise RealGpuError(f"{where}: cannot be unpacked ({type(error).__name__}: {error})") from None
    if not isinstance(thing, kind):
        raise RealGpuError(f"{where}: found {type(thing).__name__}, allowed is {kind.__name__}")
    return thing


def kind_of(message: type[_Message]) -> str:
    """Return what a message is called in JSON."""
    return message.__name__.lower()


@cache
def _hints(kind: str) -> dict[str, Any]:
    return get_type_hints(_KINDS[kind], include_extras=True)


def _fits(value: object, hint: Any) -> bool:
    """Return whether a value is of the type that its field declares."""
    origin = get_origin(hint)
    if origin is Annotated:
        declared, start = get_args(hint)
        return _fits(value, declared) and cast("float", value) >= start.least
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if hint is int:
        return type(value) is int and value in _INTEGERS
    if hint is float:
        return (type(value) is float and math.isfinite(value)) or _fits(value, int)
    return isinstance(value, hint)


def _from_json(value: object, hint: Any) -> object:
    """Return the tuple that JSON made a list."""
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    return value


def _named(hint: Any) -> str:
    """Return a type in words."""
    origin = get_origin(hint)
    if origin is Annotated:
        declared, start = get_args(hint)
        return f"{_named(declared)} from {start.least}"
    if origin in (Union, UnionType, Literal):
        return " or ".join(
            _named(one) if isinstance(one, type) or get_origin(one) else repr(one) for one in get_args(hint)
        )
    if origin is tuple:
        return f"a tuple, each {_named(get_args(hint)[0])}"
    if origin is dict:
        return "a mapping by text"
    words = {int: "an integer of 64 bits", float: "a finite number", str: "text", type(None): "null"}
    return words[hint]


def _shown(found: object) -> str:
    """Return what was found, short enough for a line."""
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} stands there twice")
        found[name] = value
    return found


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number
