"""Says pydantic's complaints about an experiment as one line: what was found, what is allowed."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from experiments.document import Document, Path
from experiments.errors import ExperimentError, nearest

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "a mapping of names",
    "model": "a mapping of keys",
}
"""What is allowed, by the first word of pydantic's name of the complaint."""

_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def complaint(error: ValidationError, document: Document, schema: type[BaseModel]) -> ExperimentError:
    """Turn the first complaint into an error that names file, line and field.

    Unknown keys come first: a misspelt key is why its namesake is missing.
    """
    complaints = error.errors(include_url=False)
    first = min(complaints, key=lambda one: one["type"] != "extra_forbidden")
    path: Path = tuple(part for part in first["loc"] if part != "[key]")
    return document.error(path, _message(first, path, schema))


def _message(error: ErrorDetails, path: Path, schema: type[BaseModel]) -> str:
    kind = error["type"]
    if kind == "missing":
        return "found nothing, this key is required"
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(path[-1]), _section(schema, path[:-1]).model_fields)}"
    if kind == "one_of":
        return error["msg"]
    found = shown(error["input"])
    if kind == "no_number":
        return f"found {found}, {error['msg']}"
    if kind in _BOUNDS:
        return f"found {found}, allowed is {_range(error, _field(schema, path))}"
    if kind == "literal_error":
        options = [str(option) for option in get_args(_plain(_field(schema, path)))]
        return f"found {found}; {nearest(str(error['input']), options)}"
    if kind == "too_short":
        return "found none, allowed is at least one"
    if kind == "string_too_short":
        return f"found {found}, allowed is a name"
    if kind == "string_pattern_mismatch":
        return f"found {found}, allowed are letters, digits and _ + . = -"
    expected = _EXPECTED.get(kind.partition("_")[0])
    return f"found {found}, allowed is {expected}" if expected else f"found {found}: {error['msg']}"


def shown(value: Any, longest: int = 60) -> str:
    """Write a value on one line, cut if it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _range(error: ErrorDetails, field: FieldInfo | None) -> str:
    if field is None:
        words = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
        return "a number " + " and ".join(f"{words[key]} {bound:g}" for key, bound in error["ctx"].items())
    low, high = "", ""
    for bound in field.metadata:
        match bound:
            case Gt():
                low = f"above {bound.gt}"
            case Ge():
                low = f"from {bound.ge}"
            case Lt():
                high = f"below {bound.lt}"
            case Le():
                high = f"up to {bound.le}"
    return " and ".join(part for part in (low, high) if part)


def _section(schema: type[BaseModel], path: Path) -> type[BaseModel]:
    """Return the model that a path of keys leads to."""
    here: Any = schema
    for part in path:
        here = _plain(here.model_fields[str(part)]) if _is_section(here) else _entry(here)
    assert _is_section(here)
    section: type[BaseModel] = here
    return section


def _field(schema: type[BaseModel], path: Path) -> FieldInfo | None:
    """Return the field that a path leads to; `None` for an entry of a list or mapping."""
    try:
        return _section(schema, path[:-1]).model_fields.get(str(path[-1]))
    except AssertionError:
        return None


def _plain(field: FieldInfo | None) -> Any:
    """Return a field's type without `| None`."""
    annotation = field.annotation if field else None
    options = [option for option in get_args(annotation) if option is not type(None)]
    return options[0] if type(None) in get_args(annotation) and len(options) == 1 else annotation


def _entry(annotation: Any) -> Any:
    """Return the type of a list's or mapping's values."""
    return get_args(annotation)[-1] if get_origin(annotation) in (list, dict) else annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
