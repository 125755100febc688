"""Finds an experiment, applies what the command line changes, and checks everything that needs no trace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from experiments.complaints import complaint, shown
from experiments.deploy import deployed_functions
from experiments.document import Document, read_document
from experiments.errors import ExperimentError, nearest
from experiments.schema import MOST_GPUS, ExperimentSection
from policies import Cluster, Function, PolicyError, System, find_system, system_names
from profiles import Catalog, ProfileError, load_catalog

ALL: Final = "all"
"""Stands for every named system."""

_SHIPPED = files("experiments") / "shipped"


@dataclass(frozen=True, slots=True)
class Experiment:
    """A checked experiment.

    Attributes
    ----------
    name
        A shipped experiment's name, or that of the file without its ending.
    document
        What was written, with the changes of the command line, and where.
    section
        The same, validated.
    folder
        What relative paths in the file start from.
    functions
        The functions that the file declares, as they are deployed.
    systems
        The systems to run by their labels, in order.
    """

    name: str
    document: Document
    section: ExperimentSection
    folder: Path
    catalog: Catalog
    cluster: Cluster
    functions: tuple[Function, ...]
    systems: dict[str, System]

    def path(self, *keys: str) -> Path | None:
        """Return the file that a key names; `None` if the key is not there.

        It is relative to the experiment's file, or to the current folder if the command line gave it.
        """
        return _path(self.document, self.folder, keys)


def shipped_experiments() -> tuple[str, ...]:
    """Names of the experiments that come with the package."""
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in _SHIPPED.iterdir()))


def load_experiment(
    name: str | os.PathLike[str],
    *,
    changes: Sequence[str] = (),
    trace: str | os.PathLike[str] | None = None,
    systems: Sequence[str] = (),
    seed: int | None = None,
) -> Experiment:
    """Load an experiment by name or file.

    Parameters
    ----------
    name
        A shipped experiment (`quickstart`), or a YAML file.
    changes
        `KEY=VALUE` each, as `--set` takes them.
    trace
        Replaces `workload.trace.path`.
    systems
        Replaces the experiment's systems: labels of its own ones, names of systems, or `all`.
    seed
        Replaces the experiment's seed.

    Raises
    ------
    ExperimentError
        In one line with file, line and field, whatever is wrong.
    """
    text, source, folder = _read(os.fspath(name))
    document = read_document(text, source)
    for change in changes:
        document.set(change)
    if trace is not None:
        _use_trace(document, os.fspath(trace))
    if systems:
        _use_systems(document, systems)
    if seed is not None:
        document.replace(("seed",), seed, f"--seed {seed}")
    try:
        section = ExperimentSection.model_validate(document.values)
    except ValidationError as error:
        raise complaint(error, document, ExperimentSection) from None
    _check_instances_alone(document, section)
    catalog = _catalog(document, folder)
    cluster = _cluster(document, section, catalog)
    return Experiment(
        name=Path(source).stem,
        document=document,
        section=section,
        folder=folder,
        catalog=catalog,
        cluster=cluster,
        functions=deployed_functions(document, section, catalog, cluster),
        systems=_systems(document, section),
    )


def _read(name: str) -> tuple[str, str, Path]:
    """Return an experiment's text, its name in messages, and its folder."""
    if name in shipped_experiments():
        return (_SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml", Path.cwd()
    path = Path(name)
    if not name or (not path.suffix and not path.exists()):
        raise ExperimentError(
            f"experiment {name!r}: unknown; {nearest(name, shipped_experiments())}, or a YAML file"
        )
    try:
        return path.read_text(encoding="utf-8"), name, path.parent
    except UnicodeDecodeError:
        raise ExperimentError(f"{name}: found bytes that are not UTF-8 text") from None
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ExperimentError(
            f"{name}: {reason}; allowed is a YAML file or one of {', '.join(shipped_experiments())}"
        ) from None


def _use_trace(document: Document, trace: str) -> None:
    workload = document.values.get("workload")
    if not isinstance(workload, dict) or not isinstance(workload.get("trace"), dict):
        raise document.error(
            ("workload",), f"has no trace that --trace {trace} could replace; azure-functions has"
        )
    document.replace(("workload", "trace", "path"), trace, f"--trace {trace}")


def _use_systems(document: Document, chosen: Sequence[str]) -> None:
    declared = document.values.get("systems")
    entries = declared if isinstance(declared, list) else []
    own = {entry.get("label") or entry.get("system"): entry for entry in entries if isinstance(entry, dict)}
    names = [name for one in chosen for name in (system_names() if one == ALL else (one,))]
    document.replace(
        ("systems",), [own.get(name, name) for name in dict.fromkeys(names)], f"--system {' '.join(chosen)}"
    )


def _check_instances_alone(document: Document, section: ExperimentSection) -> None:
    """Refuse what placing instances would not look at: it serves nothing, and ends with its last event."""
    if section.workload.instances is None:
        return
    for key, found in (("functions", len(section.functions)), ("duration_s", section.duration_s)):
        if found:
            message = f"found {found:g}, allowed is nothing: workload.instances places instances alone"
            raise document.error((key,), message)


def _catalog(document: Document, folder: Path) -> Catalog:
    try:
        return load_catalog(_path(document, folder, ("profiles",)))
    except ProfileError as error:
        raise document.error(("profiles",), str(error)) from None


def _cluster(document: Document, section: ExperimentSection, catalog: Catalog) -> Cluster:
    asked, profiled = section.cluster.gpu, catalog.gpu.name
    if asked is not None and asked.lower() != profiled.lower():
        message = f"found {shown(asked)}, allowed is {profiled!r}, whose profiles these are"
        raise document.error(("cluster", "gpu"), message)
    gpus = section.cluster.nodes * section.cluster.gpus_per_node
    if gpus > MOST_GPUS:
        raise document.error(("cluster",), f"found {gpus} GPUs, allowed are up to {MOST_GPUS}")
    return Cluster(section.cluster.nodes, section.cluster.gpus_per_node, catalog.gpu)


def _systems(document: Document, section: ExperimentSection) -> dict[str, System]:
    systems: dict[str, System] = {}
    for index, entry in enumerate(section.systems):
        here = ("systems", index)
        try:
            system = find_system(entry.system)
        except PolicyError as error:
            raise document.error(here, str(error)) from None
        try:
            system = system.with_config(entry.config)
        except PolicyError as error:
            raise document.error((*here, "config"), str(error)) from None
        if entry.title in systems:
            raise document.error(here, f"found {entry.title!r} twice; give one of them a label")
        systems[entry.title] = system
    return systems


def _path(document: Document, folder: Path, keys: tuple[str, ...]) -> Path | None:
    value = document.values
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None  # type: ignore[assignment]
    if not isinstance(value, str):
        return None
    from_command_line = document.place(keys).startswith("--")
    return Path(value) if from_command_line else folder / value
