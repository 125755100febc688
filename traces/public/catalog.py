"""The list of public traces, read from `traces.yaml` and checked strictly."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from traces.errors import TraceError, shown
from traces.public.entry import PublicFile, PublicTrace

SHIPPED: Final = Path(__file__).with_name("traces.yaml")
"""The list that comes with the package."""

Text = Annotated[str, Field(pattern=r"\S")]
Address = Annotated[str, Field(pattern=r"^https://\S+$")]
Format = Literal[
    "azure-functions-2019",
    "azure-functions-2021",
    "azure-llm",
    "burstgpt",
    "mooncake",
    "servegen",
    "openb",
    "rate-series",
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _File(_Section):
    name: Text
    sha256: Text
    url: Text | None = None


class _Registry(_Section):
    """Many files of one folder: a file beside the list with a name and a SHA-256 a line, and the folder."""

    file: Text
    url: Annotated[str, Field(pattern=r"/$")]


class _Entry(_Section):
    name: Text
    title: Text
    what: Text
    format: Format | None
    origin: Address
    licence: Text
    licence_note: Text | None = None
    citation: Text
    changes: Text | None = None
    size_bytes: Annotated[int, Field(gt=0)] | None = None
    files: list[_File] | None = None
    registry: _Registry | None = None
    by_hand: Text | None = None


class _Document(_Section):
    licences: dict[str, Address]
    traces: list[_Entry]


def public_traces() -> tuple[PublicTrace, ...]:
    """Return the public traces that the package knows, in the order of its list."""
    return _shipped()


def find_public_trace(name: str) -> PublicTrace:
    """Return a public trace by name.

    Raises
    ------
    TraceError
        If there is none of this name; the message names the nearest.
    """
    known = {trace.name: trace for trace in public_traces()}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise TraceError(f"found {shown(name)}, which is no public trace; {mend}", field="name")
    return known[name]


def read_public_traces(path: Path) -> tuple[PublicTrace, ...]:
    """Read a list of public traces; registries stand beside it.

    Raises
    ------
    TraceError
        If a file cannot be read, a key is unknown or missing, a value is not allowed, or a name stands twice.
    """
    document = _document(path)
    traces: dict[str, PublicTrace] = {}
    for entry in document.traces:
        if entry.name in traces:
            raise TraceError(f"found {shown(entry.name)} twice", path=path, field="name")
        if entry.licence not in document.licences:
            raise TraceError(
                f"found {shown(entry.licence)}, allowed are {', '.join(document.licences)}",
                path=path,
                field=f"{entry.name}: licence",
            )
        try:
            traces[entry.name] = _trace(entry, document.licences[entry.licence], path.parent)
        except TraceError as error:
            if error.path is not None:
                raise
            raise TraceError(str(error.args[0]), path=path, field=f"{entry.name}: {error.field}") from None
    return tuple(traces.values())


@cache
def _shipped() -> tuple[PublicTrace, ...]:
    return read_public_traces(SHIPPED)


def _document(path: Path) -> _Document:
    text = _text(path)
    try:
        return _Document.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise TraceError(f"is no YAML: {' '.join(str(error).split())}", path=path) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ": ".join(str(key) for key in first["loc"])
        raise TraceError(f"found {shown(first['input'])}, {first['msg']}", path=path, field=where) from None


def _trace(entry: _Entry, licence_url: str, folder: Path) -> PublicTrace:
    files = tuple(PublicFile(file.name, file.sha256, file.url) for file in entry.files or ())
    if entry.registry is not None:
        files += _registered(entry.registry, folder)
    return PublicTrace(
        name=entry.name,
        title=entry.title,
        what=entry.what,
        format=entry.format,
        origin=entry.origin,
        licence=entry.licence,
        licence_url=licence_url,
        licence_note=entry.licence_note,
        citation=entry.citation,
        changes=entry.changes,
        files=files,
        size_bytes=entry.size_bytes,
        by_hand=entry.by_hand,
    )


def _registered(registry: _Registry, folder: Path) -> tuple[PublicFile, ...]:
    path = folder / registry.file
    files: list[PublicFile] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        match line.split():
            case [name, sha256]:
                try:
                    files.append(PublicFile(name, sha256, registry.url + name))
                except TraceError as error:
                    raise TraceError(str(error.args[0]), path=path, line=number, field=error.field) from None
            case _:
                raise TraceError(f"found {shown(line)}, allowed is NAME SHA256", path=path, line=number)
    return tuple(files)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"cannot be read: {error}", path=path) from None
