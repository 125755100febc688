"""Writing a catalog: the files that `profiles.catalog` reads, built as a whole beside and then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from profiles.capacity import Amounts, Capacity
from profiles.catalog import FILES, Catalog, read_catalog
from profiles.draft import HOST_FIELDS, CatalogDraft
from profiles.errors import ProfileError
from profiles.measurements import write_interference, write_measurements, write_start_ups
from profiles.model import ModelProfile
from profiles.provenance import Provenance
from profiles.reading import HELD_OUT_COLUMN, POINT_COLUMNS
from profiles.schema import FORMAT
from profiles.surface import Covariance, HeldOut, Point
from profiles.training import TrainingProfile

Tree = dict[str, Any]


def write_catalog(directory: str | Path, draft: CatalogDraft, *, overwrite: bool = False) -> Path:
    """Write a catalog, so that its directory is there as a whole or not at all, and return the directory.

    Parameters
    ----------
    directory
        Where to; folders above it are made.
    draft
        What to write.
    overwrite
        Replace what is there, if that is a catalog or the measurements for one. Its models and points go;
        files of other kinds stay.

    Raises
    ------
    ProfileError
        If the directory has something in it and is not to be replaced, or has measurements and the draft has
        none, or the draft has a value that no catalog may have.
    """
    directory = Path(directory).absolute()
    target = directory.resolve()  # a symbolic link stays, and what it points to is replaced
    catalog = draft.catalog()
    _check_target(target, catalog, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = _new_folder_beside(target)
    try:
        _write_files(beside, catalog, draft)
        try:
            read_catalog(beside)
        except ProfileError as error:
            raise ProfileError(str(error).replace(str(beside), str(directory))) from None
        _keep_foreign_files(target, beside)
        _take_place(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return directory


def write_points(path: Path, points: Sequence[Point]) -> None:
    """Write raw measurements as `profiles.reading.read_points` reads them."""
    marked = any(point.held_out for point in points)
    lines = [",".join([*POINT_COLUMNS, HELD_OUT_COLUMN] if marked else POINT_COLUMNS)]
    for point in points:
        line = f"{int(point.batch)},{float(point.share)!r},{float(point.seconds)!r}"
        lines.append(f"{line},{str(bool(point.held_out)).lower()}" if marked else line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check_target(directory: Path, catalog: Catalog, overwrite: bool) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ProfileError(f"{directory}: found a file, allowed is a new or an empty directory")
    names = {path.name for path in directory.iterdir()}
    if not names:
        return
    if not overwrite:
        raise ProfileError(
            f"{directory}: found {len(names)} files, allowed is a new or an empty directory, "
            "or to ask for overwriting"
        )
    if not names & {FILES.gpu, FILES.measurements}:
        raise ProfileError(
            f"{directory}: found neither {FILES.gpu} nor {FILES.measurements}, only a catalog is overwritten"
        )
    for field in ("measurements", "start_ups", "interference"):
        file = getattr(FILES, field)
        if file in names and not getattr(catalog, field):
            raise ProfileError(
                f"{directory / file}: found measurements that the draft has not, nothing is lost"
            )


def _new_folder_beside(directory: Path) -> Path:
    for number in count():
        beside = directory.with_name(f".{directory.name}.{os.getpid()}-{number}")
        try:
            beside.mkdir()
        except FileExistsError:
            continue
        return beside
    raise AssertionError


def _keep_foreign_files(directory: Path, beside: Path) -> None:
    """Copy what is not of a catalog's kinds, such as figures and logs, from the old directory to the new."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.suffix in (".yaml", ".csv") or path.name == FILES.device:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, beside / path.name, symlinks=True)
        else:
            shutil.copy2(path, beside / path.name, follow_symlinks=False)


def _take_place(beside: Path, target: Path) -> None:
    """Rename a folder to a directory; what is there goes, and comes back if that fails."""
    if not target.is_dir() or not any(target.iterdir()):
        beside.rename(target)
        return
    old = beside.with_name(f"{beside.name}.old")
    target.rename(old)
    try:
        beside.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old)


def _write_files(folder: Path, catalog: Catalog, draft: CatalogDraft) -> None:
    _write_yaml(folder / FILES.gpu, _gpu_tree(catalog, draft))
    for model in catalog.models.values():
        _write_yaml(folder / f"{model.name}.yaml", _model_tree(model))
        if model.latency.points:
            write_points(folder / f"{model.name}.csv", model.latency.points)
        if model.training is not None and model.training.step.points:
            write_points(folder / f"{model.name}.training.csv", model.training.step.points)
    if catalog.device is not None:
        text = json.dumps(catalog.device, indent=2, ensure_ascii=False)
        (folder / FILES.device).write_text(text + "\n", encoding="utf-8")
    if catalog.measurements:
        write_measurements(folder / FILES.measurements, catalog.measurements)
    if catalog.start_ups:
        write_start_ups(folder / FILES.start_ups, catalog.start_ups)
    if catalog.interference:
        write_interference(folder / FILES.interference, catalog.interference)


def _gpu_tree(catalog: Catalog, draft: CatalogDraft) -> Tree:
    origins = catalog.gpu_provenance
    return {
        "format": FORMAT,
        "name": catalog.gpu.name,
        "memory_bytes": _sourced(int(catalog.gpu.memory_bytes), origins["memory_bytes"]),
        "sms": _sourced(int(catalog.gpu.sms), origins["sms"]),
        "startup": {
            name: _sourced(float(getattr(draft.host, name)), origins[f"startup.{name}"])
            for name in HOST_FIELDS
        },
    }


def _model_tree(model: ModelProfile) -> Tree:
    origins = model.provenance
    tree: Tree = {"name": model.name, "kind": model.kind, "latency": _latency_tree(model)}
    tree["slo_s"] = _sourced(float(model.slo_s), origins["slo_s"])
    if model.kind == "llm":
        tree["output_tokens"] = _sourced(int(model.output_tokens), origins["output_tokens"])
    for name in ("max_batch", "memory_bytes", "weights_bytes", "launches"):
        tree[name] = _sourced(int(getattr(model, name)), origins[name])
    tree["wave_s"] = _sourced(float(model.wave_s), origins["wave_s"])
    tree["warm_up_s"] = _sourced(float(model.startup.warm_up_s), origins["warm_up_s"])
    if model.capacity is not None:
        tree["capacity"] = _capacity_tree(model, "capacity", model.capacity)
    if model.prefill is not None:
        tree["prefill"] = {
            **_origin(origins["prefill"]),
            "tokens": int(model.prefill.tokens),
            "seconds": _by_batch(model.prefill.seconds),
        }
    if model.training is not None:
        tree["training"] = _training_tree(model, model.training)
    return tree


def _latency_tree(model: ModelProfile) -> Tree:
    latency, origins = model.latency, model.provenance
    tree = _origin(origins["latency"])
    tree |= {name: float(getattr(latency, name)) for name in ("l0_s", "f1_s", "w1_s", "w0_s", "g")}
    tree["mean_error"] = _perhaps(latency.fit_mean_error)
    tree["max_error"] = _perhaps(latency.fit_max_error)
    tree["batches"] = _InLine(int(batch) for batch in latency.batches)
    tree["shares"] = _InLine(float(share) for share in latency.shares)
    tree |= _held_out_tree(latency.held_out) | _covariance_tree(latency.covariance)
    if latency.points:
        tree["points"] = {"file": f"{model.name}.csv", **_origin(origins["latency.points"])}
    return tree


def _training_tree(model: ModelProfile, training: TrainingProfile) -> Tree:
    step, origins = training.step, model.provenance
    tree: Tree = {}
    for name in ("batch", "workers", "memory_bytes", "launches"):
        tree[name] = _sourced(int(getattr(training, name)), origins[f"training.{name}"])
    tree["wave_s"] = _sourced(float(training.wave_s), origins["training.wave_s"])
    for name in ("floor_s", "work_s", "g"):
        tree[name] = _sourced(float(getattr(step, name)), origins[f"training.{name}"])
    if step.fit_mean_error is not None:
        tree["mean_error"] = float(step.fit_mean_error)
    if step.fit_max_error is not None:
        tree["max_error"] = float(step.fit_max_error)
    if step.shares is not None:
        tree["shares"] = _InLine(float(share) for share in step.shares)
    tree |= _held_out_tree(step.held_out) | _covariance_tree(step.covariance)
    if step.points:
        tree["points"] = {"file": f"{model.name}.training.csv", **_origin(origins["training.points"])}
    if training.capacity is not None:
        tree["capacity"] = _capacity_tree(model, "training.capacity", training.capacity)
    return tree


def _capacity_tree(model: ModelProfile, path: str, capacity: Capacity) -> Tree:
    cost: Tree = _origin(model.provenance[f"{path}.batch_cost"])
    if capacity.line is not None:
        cost["line"] = _InLine(float(number) for number in capacity.line)
    else:
        cost["points"] = _by_batch(capacity.measured)
    return {
        "cost_model": capacity.cost_model,
        "cost_per_s": _sourced(float(capacity.cost_per_s), model.provenance[f"{path}.cost_per_s"]),
        "batch_cost": cost,
    }


def _held_out_tree(held_out: HeldOut | None) -> Tree:
    if held_out is None:
        return {}
    return {
        "held_out_points": int(held_out.points),
        "held_out_mean_error": float(held_out.mean_error),
        "held_out_max_error": float(held_out.max_error),
    }


def _covariance_tree(covariance: Covariance | None) -> Tree:
    if covariance is None:
        return {}
    return {"covariance": [_InLine(float(cell) for cell in row) for row in covariance]}


def _by_batch(amounts: Amounts) -> dict[int, float]:
    return {int(batch): float(amount) for batch, amount in amounts}


def _perhaps(error: float | None) -> float | None:
    return float(error) if error is not None else None


def _sourced(value: float, origin: Provenance) -> Tree:
    return {"value": value, **_origin(origin)}


def _origin(origin: Provenance) -> Tree:
    return {"kind": origin.kind, "source": _Prose(origin.source)}


class _InLine(list[float]):
    """A list that is written on one line."""


class _Prose(str):
    """A text that is written as a folded block."""

    __slots__ = ()


class _Writer(yaml.SafeDumper):
    """The style of the shipped files."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Writer.add_representer(
    _InLine, lambda writer, row: writer.represent_sequence("tag:yaml.org,2002:seq", row, True)
)


def _text(writer: yaml.SafeDumper, text: str) -> yaml.Node:
    """Write a text so that it reads back: what YAML would fold or break in its own way is quoted."""
    plain = text == " ".join(text.split()) and text.isprintable()
    style = (">" if isinstance(text, _Prose) else None) if plain else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Writer.add_representer(str, _text)
_Writer.add_representer(_Prose, _text)


def _write_yaml(path: Path, tree: Tree) -> None:
    text = yaml.dump(tree, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(text, encoding="utf-8")
