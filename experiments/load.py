"""Finds an experiment, applies what the command line changes, and checks everything that needs no trace."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from experiments.complaints import complaint, shown
from experiments.deploy import deployed_functions
from experiments.document import Document, read_document
from experiments.errors import ExperimentError, nearest
from experiments.own_policies import Found, find, find_policy, known_names, label_of, origins
from experiments.schema import LABEL, MOST_GPUS, ExperimentSection, SystemSection
from policies import Cluster, Function, PolicyError, System
from policies.systems import SLOTS
from profiles import Catalog, InterferenceModel, ProfileError, find_interference, load_catalog

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
    cluster
        The cluster; `None` where a file lists its nodes, which is read with the instances to place.
    functions
        The functions that the file declares, as they are deployed.
    systems
        The systems to run by their labels, in order.
    interference
        Interference beyond the law of contention, if the experiment names a model.
    origins
        Where the policies of one's own came from: by label and slot, their class and their file's SHA-256.
    """

    name: str
    document: Document
    section: ExperimentSection
    folder: Path
    catalog: Catalog
    cluster: Cluster | None
    functions: tuple[Function, ...]
    systems: dict[str, System]
    interference: InterferenceModel | None
    origins: Mapping[str, Mapping[str, Mapping[str, str | None]]]

    def path(self, *keys: str | int) -> Path | None:
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
        Replaces `workload.trace.path`, or `workload.instances.openb.path`.
    systems
        Replaces the experiment's systems: labels of its own ones, names of systems, references, or `all`.
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
    found = _systems(document, section, folder)
    return Experiment(
        name=Path(source).stem,
        document=document,
        section=section,
        folder=folder,
        catalog=catalog,
        cluster=cluster,
        functions=() if cluster is None else deployed_functions(document, section, catalog, cluster),
        systems=found,
        interference=_interference(document, section),
        origins={label: origins(system) for label, system in found.items()},
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
    for keys in (("workload", "trace"), ("workload", "instances", "openb")):
        here: object = document.values
        for key in keys:
            here = here.get(key) if isinstance(here, dict) else None
        if isinstance(here, dict):
            document.replace((*keys, "path"), trace, f"--trace {trace}")
            return
    message = f"has no trace that --trace {trace} could replace; azure-functions and openb have"
    raise document.error(("workload",), message)


def _use_systems(document: Document, chosen: Sequence[str]) -> None:
    """Replace the systems; those that the file declares keep their constants, and their place in messages."""
    declared = document.values.get("systems")
    entries = declared if isinstance(declared, list) else []
    own = {
        label: index for index, entry in enumerate(entries) if (label := _declared_label(entry)) is not None
    }
    places = {label: document.place(("systems", index)) for label, index in own.items()}
    try:
        names = [name for one in chosen for name in (known_names() if one == ALL else (one,))]
    except PolicyError as error:
        raise ExperimentError(f"--system {ALL}: {error}") from None
    names = list(dict.fromkeys(names))
    values = [entries[own[name]] if name in own else name for name in names]
    document.replace(("systems",), values, f"--system {' '.join(chosen)}")
    for index, name in enumerate(names):
        if name in own:
            document.places[("systems", index)] = places[name]


def _declared_label(entry: object) -> str | None:
    """Return what an entry of `systems` is called, if it is an entry at all."""
    if isinstance(entry, dict):
        entry = entry.get("label") or entry.get("system")
    return label_of(entry) if isinstance(entry, str) else None


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


def _cluster(document: Document, section: ExperimentSection, catalog: Catalog) -> Cluster | None:
    nodes, gpus_per_node = section.cluster.nodes, section.cluster.gpus_per_node
    if section.cluster.node_list is not None:
        _check_node_list(document, section)
        return None
    for key, value in (("nodes", nodes), ("gpus_per_node", gpus_per_node)):
        if value is None:
            raise document.error(("cluster", key), "found nothing, this key is required, or node_list")
    assert nodes is not None
    assert gpus_per_node is not None
    asked, profiled = section.cluster.gpu, catalog.gpu.name
    if asked is not None and asked.lower() != profiled.lower():
        message = f"found {shown(asked)}, allowed is {profiled!r}, whose profiles these are"
        raise document.error(("cluster", "gpu"), message)
    gpus = nodes * gpus_per_node
    if gpus > MOST_GPUS:
        raise document.error(("cluster",), f"found {gpus} GPUs, allowed are up to {MOST_GPUS}")
    return Cluster(nodes, gpus_per_node, catalog.gpu)


def _check_node_list(document: Document, section: ExperimentSection) -> None:
    """Refuse a list of nodes beside another form of cluster, and for requests."""
    for key in ("nodes", "gpus_per_node", "gpu"):
        found = getattr(section.cluster, key)
        if found is not None:
            message = f"found {shown(found)} beside node_list, allowed is one or the other"
            raise document.error(("cluster", key), message)
    if section.workload.instances is None:
        message = (
            f"found {shown(section.cluster.node_list)}, allowed only with workload.instances: requests are "
            "served by profiles of one type of GPU"
        )
        raise document.error(("cluster", "node_list"), message)


def _interference(document: Document, section: ExperimentSection) -> InterferenceModel | None:
    if section.interference is None:
        return None
    try:
        return find_interference(section.interference)
    except ProfileError as error:
        message = str(error).removeprefix("interference: ")
        raise document.error(("interference",), message) from None


def _systems(document: Document, section: ExperimentSection, folder: Path) -> dict[str, System]:
    systems: dict[str, System] = {}
    for index, entry in enumerate(section.systems):
        here = ("systems", index)
        found = _found(document, here, entry, folder)
        label = entry.label or found.label
        if not re.match(LABEL, label):
            raise document.error(here, f"found {shown(label)}, which can name no results; give it a label")
        if label in systems:
            raise document.error(here, f"found {label!r} twice; give one of them a label")
        systems[label] = found.system
    return systems


def _found(document: Document, here: tuple[str, int], entry: SystemSection, folder: Path) -> Found:
    """Return the system of an entry, with the policies and constants that the entry changes."""
    from_command_line = document.place(here).startswith("--")
    folders = [Path.cwd(), folder] if from_command_line else [folder, Path.cwd()]
    try:
        found = find(entry.system, folders)
    except PolicyError as error:
        raise document.error(here, str(error)) from None
    system = found.system
    for slot, reference in entry.policies.items():
        if slot not in SLOTS:
            raise document.error((*here, "policies", slot), f"unknown slot; {nearest(slot, SLOTS)}")
        try:
            policy = find_policy(reference, slot, folders)
        except PolicyError as error:
            raise document.error((*here, "policies", slot), str(error)) from None
        title = f"{system.title}, {slot} of {reference}"
        system = dataclasses.replace(system, title=title, **{slot: policy})
    try:
        return dataclasses.replace(found, system=system.with_config(entry.config))
    except PolicyError as error:
        raise document.error((*here, "config"), str(error)) from None


def _path(document: Document, folder: Path, keys: tuple[str | int, ...]) -> Path | None:
    value: Any = document.values
    for key in keys:
        if isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        return None
    from_command_line = document.place(keys).startswith("--")
    return Path(value) if from_command_line else folder / value
