"""Reading a catalog's files: a complaint is one line with the file, the field, and what is allowed."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from profiles.errors import ProfileError
from profiles.schema import FORMAT
from profiles.surface import Point

POINT_COLUMNS = ["batch", "share", "seconds"]
HELD_OUT_COLUMN = "held_out"
HELD_OUT = {"false": False, "true": True}

Section = TypeVar("Section", bound=BaseModel)


def read_points(path: Path) -> tuple[Point, ...]:
    """Read raw measurements from a CSV file with the columns batch, share, seconds, and perhaps held_out.

    Raises
    ------
    ProfileError
        If the file is missing or a line is not a batch from 1, a share in (0, 1] and seconds above 0.
    """
    lines = [line.split(",") for line in read_text(path).splitlines()]
    if not lines or lines[0] not in (POINT_COLUMNS, [*POINT_COLUMNS, HELD_OUT_COLUMN]):
        found = ",".join(lines[0]) if lines else "an empty file"
        allowed = ",".join(POINT_COLUMNS)
        raise ProfileError(
            f"{path}: line 1: found {found}, allowed is {allowed} and perhaps {HELD_OUT_COLUMN}"
        )
    marked = len(lines[0]) > len(POINT_COLUMNS)
    return tuple(
        _point(f"{path}: line {number}", cells, marked) for number, cells in enumerate(lines[1:], start=2)
    )


def _point(where: str, cells: list[str], marked: bool) -> Point:
    words = "three numbers, and true or false" if marked else "three numbers"
    try:
        batch, share, seconds, *mark = cells
        held_out = HELD_OUT[mark.pop(0)] if marked else False
        point = Point(int(batch), float(share), float(seconds), held_out)
    except (ValueError, KeyError, IndexError):
        raise ProfileError(f"{where}: found {','.join(cells)}, allowed are {words}") from None
    if mark:
        raise ProfileError(f"{where}: found {','.join(cells)}, allowed are {words}")
    if point.batch < 1 or not 0.0 < point.share <= 1.0 or not 0.0 < point.seconds < float("inf"):
        raise ProfileError(
            f"{where}: found {','.join(cells)}, allowed is batch >= 1, 0 < share <= 1, seconds > 0"
        )
    return point


def read_section(path: Path, schema: type[Section]) -> Section:
    """Read a YAML file of a schema.

    Raises
    ------
    ProfileError
        If it is missing, not YAML, of another version, or breaks the schema.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ProfileError(f"{path}: {line}found text that is not YAML") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: found {type(content).__name__}, allowed is a mapping of fields")
    if isinstance(version := content.get("format"), int) and version != FORMAT:
        raise ProfileError(
            f"{path}: format: found {version}, this version reads {FORMAT}: read it with the version "
            "that wrote it, or calibrate again"
        )
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise ProfileError(f"{path}: {_first(error, schema)}") from None


def read_device(path: Path) -> dict[str, Any]:
    """Read the manifest of a device: any JSON object.

    Raises
    ------
    ProfileError
        If it is missing, or not a JSON object.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ProfileError(f"{path}: line {error.lineno}: found text that is not JSON") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: found {type(content).__name__}, allowed is an object")
    return content


def read_text(path: Path) -> str:
    """Return what is in a file. Raises `ProfileError` if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"{path}: found no readable file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: found bytes that are not UTF-8 text") from None


def nearest_name(found: str, allowed: list[str]) -> str:
    """Say which allowed name is nearest, and which there are."""
    nearest = difflib.get_close_matches(found, allowed, n=1, cutoff=0.0)
    return f"nearest is {nearest[0]!r} (allowed are {', '.join(allowed)})"


def _first(error: ValidationError, schema: type[BaseModel]) -> str:
    """Say the first of pydantic's complaints in one line."""
    complaint = error.errors(include_url=False)[0]
    field_path = ".".join(str(part) for part in complaint["loc"])
    if complaint["type"] == "missing":
        return f"{field_path}: found nothing, the field is required"
    if complaint["type"] == "extra_forbidden":
        *parents, key = complaint["loc"]
        return f"{field_path}: unknown field, {nearest_name(str(key), _fields(schema, parents))}"
    return f"{field_path}: found {complaint['input']!r}, {complaint['msg'][0].lower()}{complaint['msg'][1:]}"


def _fields(schema: type[BaseModel], parents: list[int | str]) -> list[str]:
    """Names of the fields that are allowed under a path of the schema."""
    for parent in parents:
        annotation = schema.model_fields[str(parent)].annotation
        members = getattr(annotation, "__args__", None) or (annotation,)
        candidates = [member for member in (annotation, *members) if _is_model(member)]
        schema = candidates[0]
    return list(schema.model_fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
