"""YAML as plain data that remembers where each value stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from experiments.errors import ExperimentError, nearest

Path = tuple[str | int, ...]
"""Keys and list indices from the top of a document to a value: ("functions", 2, "request")."""

MOST_VALUES: Final = 100_000
"""An experiment has far fewer; aliases of aliases could make a small file have billions."""

_PATH = re.compile(r"[^.\[\]]+(\.[^.\[\]]+|\[[^\[\]]+\])*")
_PART = re.compile(r"\[([^\[\]]+)\]|([^.\[\]]+)")


@dataclass(slots=True)
class Document:
    """The values of an experiment, and for each path where it was written.

    `places` maps a path to text such as `lab.yaml:12` or `--set cluster.nodes=8`.
    """

    name: str
    values: dict[str, Any]
    places: dict[Path, str] = field(default_factory=dict)

    def error(self, path: Path, message: str) -> ExperimentError:
        """Make the one-line error about a value."""
        where = self.place(path)
        what = dotted(path)
        return ExperimentError(f"{where}: {what}: {message}" if what else f"{where}: {message}")

    def place(self, path: Path) -> str:
        """Return where a path was written: its own place, or that of the nearest value around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.name

    def set(self, assignment: str) -> None:
        """Change one value: `cluster.nodes=8`, `functions[0].slo_s=0.2`, `systems=[dilu, exclusive]`.

        The right side is YAML. The last key need not be there yet: the schema decides whether it may be.

        Raises
        ------
        ExperimentError
            If the assignment has no `=`, its right side is not YAML, or its path leads nowhere.
        """
        place = f"--set {assignment}"
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ExperimentError(f"{place}: allowed is KEY=VALUE, such as cluster.nodes=8")
        self.replace(_parse_path(key, place), _read(text, place).values["value"], place)

    def replace(self, path: Path, value: Any, place: str) -> None:
        """Put a value that comes from `place` at a path."""
        here: Any = self.values
        for depth, part in enumerate(path[:-1]):
            here = here[_key(here, part, path[:depth], place)]
        last = path[-1] if isinstance(here, dict) else _key(here, path[-1], path[:-1], place)
        here[last] = value
        self.places = {own: where for own, where in self.places.items() if own[: len(path)] != path}
        self.places[path] = place


def read_document(text: str, name: str) -> Document:
    """Parse the YAML of an experiment: safe tags only, no key twice.

    Raises
    ------
    ExperimentError
        With file and line, if it is not YAML or not a mapping.
    """
    document = _read(text, name)
    values = document.values["value"]
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ExperimentError(
            f"{name}: found {found}, allowed is a mapping of keys such as cluster, functions"
        )
    return Document(
        name, values, {path[1:]: place for path, place in document.places.items() if len(path) > 1}
    )


def dotted(path: Path) -> str:
    """Write a path as people do: functions[2].request."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _parse_path(text: str, place: str) -> Path:
    """Read a path as people write it; names with dots stand in brackets: synthesize[a.b].rate_rps."""
    if not _PATH.fullmatch(text):
        raise ExperimentError(f"{place}: found {text!r}, allowed is a path such as functions[0].slo_s")
    parts = [bracketed or plain for bracketed, plain in _PART.findall(text)]
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _key(here: Any, part: str | int, above: Path, place: str) -> str | int:
    """Return the key or index by which `here` holds a part of a path."""
    where = dotted(above) or "the experiment"
    if isinstance(here, list):
        if not isinstance(part, int) or part >= len(here):
            allowed = f"allowed are [0] to [{len(here) - 1}]" if here else "it is empty"
            raise ExperimentError(f"{place}: {where} has no entry {part!r}; {allowed}")
        return part
    if not isinstance(here, dict):
        raise ExperimentError(f"{place}: {where} is {here!r}, which has no parts")
    if str(part) not in here:
        raise ExperimentError(f"{place}: {where} has no key {str(part)!r}; {nearest(str(part), here)}")
    return str(part)


def _read(text: str, name: str) -> Document:
    """Read YAML; the document's value stands under the key `value`."""
    document = Document(name, {})
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        place = name if name.startswith("--set") else f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        raise ExperimentError(f"{place}: found character #x{error.character:04x}, allowed is text") from None
    try:
        node = loader.get_single_node()
        document.values["value"] = None if node is None else _Walk(loader, document).value(node, ("value",))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = name if mark is None else _place(name, mark)
        problem = " ".join(str(error.problem or error.context).split())
        raise ExperimentError(f"{place}: not YAML: {problem}") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ExperimentError(f"{name}: nested too deeply, or an alias of itself") from None
    finally:
        loader.dispose()
    return document


def _place(name: str, mark: yaml.Mark) -> str:
    return name if name.startswith("--set") else f"{name}:{mark.line + 1}"


class _Walk:
    """Turns YAML nodes into plain values and notes the line of each."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._values = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._values += 1
        self._document.places.setdefault(path, _place(self._document.name, node.start_mark))
        if self._values > MOST_VALUES:
            raise self._document.error((), f"more than {MOST_VALUES} values, or an alias of itself")
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        if "\0" in node.value:  # which no name of a file may hold
            raise self._error(node, path, "found character #x0000, allowed is text")
        try:
            return self._loader.construct_object(node)
        except (ValueError, LookupError):  # such as a 13th month
            raise self._error(node, path, f"found no {node.tag.rpartition(':')[2]}") from None

    def _error(self, node: yaml.Node, path: Path, message: str) -> ExperimentError:
        parts = (_place(self._document.name, node.start_mark), dotted(path[1:]), message)
        return ExperimentError(": ".join(part for part in parts if part))

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = _place(self._document.name, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ExperimentError(f"{place}: found a key that is no name")
            key = key_node.value
            if key in lines:
                raise ExperimentError(
                    f"{place}: {dotted((*path[1:], key))}: found twice, first on line {lines[key]}"
                )
            lines[key] = key_node.start_mark.line + 1
            self._document.places[(*path, key)] = place
            yield key, self.value(value_node, (*path, key))
