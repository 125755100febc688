"""What the readers of formats can be told: options by name, checked before a file is read."""

from __future__ import annotations

import datetime
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from traces.errors import TraceError, shown

GIVEN: Final = ("path", "seed", "progress")
"""Parameters of readers that are no options."""

_ALLOWED: Final = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}
_FAULTS: Final = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises, of which only the first is meant: a 13th month is a ValueError."""


@dataclass(frozen=True, slots=True)
class Option:
    """What one option of a reader may be: an `int`, `float`, `str` or `bool`, or one of some words."""

    name: str
    kind: type
    choices: tuple[str, ...]
    default: object

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        return ", ".join(self.choices) or _ALLOWED[self.kind]

    def checked(self, value: object) -> object:
        """Return the value as the reader takes it; `TraceError` if it may not be."""
        if value is None and self.default is None:
            return None
        taken = _as_float(value) if self.kind is float and type(value) is int else value
        fits = type(taken) is self.kind and (not self.choices or taken in self.choices)
        if not fits or (isinstance(taken, float) and not math.isfinite(taken)):
            is_unquoted = self.allowed == "text" and isinstance(value, int | float | datetime.date)
            mend = "; put it in quotes" if is_unquoted else ""
            raise TraceError(f"found {shown(value)}, allowed is {self.allowed}{mend}", field=self.name)
        return taken


def options_of(read: Callable[..., object]) -> Mapping[str, Option]:
    """Return what a reader can be told, by name: its parameters with their types and defaults."""
    hints = typing.get_type_hints(read)
    parameters = inspect.signature(read).parameters.values()
    return {p.name: _option(p, hints[p.name]) for p in parameters if p.name not in GIVEN}


def parsed_options(texts: Sequence[str]) -> dict[str, object]:
    """Read options as a command line gives them, `KEY=VALUE` each, values as in YAML.

    Raises
    ------
    TraceError
        If a text has no key or no value, a value is no YAML, or a key stands twice.
    """
    options: dict[str, object] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name.strip() or not value.strip():
            raise TraceError(f"found {shown(text)}, allowed is KEY=VALUE", field="option")
        if name in options:
            raise TraceError("stands twice", field=name)
        try:
            options[name] = yaml.load(value, Loader=_Value)
        except _FAULTS:
            raise TraceError(f"found {shown(value)}, which is no YAML", field=name) from None
    return options


class _Value(yaml.SafeLoader):
    """YAML 1.1, in which 1e3 is a number too, as it is in YAML 1.2."""


_Value.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _option(parameter: inspect.Parameter, hint: Any) -> Option:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    return Option(parameter.name, str if choices else hint, choices, parameter.default)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:  # of more than 308 digits
        return math.inf
