"""One run of a study, and the key under which its results are kept: a digest of all that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from experiments.load import Experiment, load_experiment

KEY_DIGITS: Final = 24
"""Hexadecimal digits of a key: 96 bits, so that no two of a billion cells meet by chance."""

_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("analysis", "experiments", "policies", "profiles", "recording", "sim", "traces")
_LIBRARIES: Final = ("numpy", "pyarrow", "scipy", "simpy")
_FILE_KEYS: Final = frozenset({"file", "node_list", "path", "pods", "profiles"})
_NO_INPUT: Final = frozenset({"experiment", "functions", "systems"})


@dataclass(frozen=True, slots=True)
class Cell:
    """An experiment, as its file and some changes have it, under one system and with one seed.

    Attributes
    ----------
    experiment
        Name of a shipped experiment, or a file.
    system
        Label, name or reference, as `dilu replay --system` takes it.
    changes
        `KEY=VALUE` each, as `--set` takes them.
    """

    experiment: str
    system: str
    seed: int
    changes: tuple[str, ...] = ()

    def load(self) -> Experiment:
        """Load the experiment of the cell.

        Raises
        ------
        ExperimentError
            As `load_experiment`.
        """
        return load_experiment(self.experiment, changes=self.changes, systems=[self.system], seed=self.seed)

    def __str__(self) -> str:
        changed = "".join(f" {change}" for change in self.changes)
        return f"{self.experiment}{changed}: {self.system}, seed {self.seed}"


def cell_key(cell: Cell) -> str:
    """Return the key of a cell: equal keys mean equal results.

    It covers the experiment, the system with the policies of one's own, input files by size and time of
    change, our code with the profiles it ships, and the libraries that compute.

    Raises
    ------
    ExperimentError
        If the experiment cannot be loaded.
    """
    experiment = cell.load()
    content = {
        "experiment": experiment.document.values,
        "systems": {label: system.describe() for label, system in experiment.systems.items()},
        "own policies": experiment.origins,
        "files": sorted(_identity(path) for path in _files(experiment)),
        "code": code_digest(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


@cache
def code_digest() -> str:
    """Return a digest of everything of ours that a simulated run depends on."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in {".csv", ".json", ".py", ".yaml"} and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(experiment: Experiment) -> Iterator[Path]:
    """Return the files and folders that the experiment names and that are there."""
    for keys in _file_keys(experiment.document.values, ()):
        path = experiment.path(*keys)
        if path is not None and path.exists():
            yield path


def _file_keys(values: Any, above: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Return where the values stand that may name files."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            here = (*above, key)
            if isinstance(value, str) and (key in _FILE_KEYS or here == ("workload", "instances")):
                yield here
            elif above or key not in _NO_INPUT:
                yield from _file_keys(value, here)
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _file_keys(value, (*above, index))


def _identity(path: Path) -> tuple[str, int, int]:
    """Return what changes with a file, of a folder the newest and the sum of its files."""
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    states = [file.stat() for file in files]
    newest_ns = max((state.st_mtime_ns for state in states), default=0)
    return str(path.resolve()), sum(state.st_size for state in states), newest_ns
