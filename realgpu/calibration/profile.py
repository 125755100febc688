"""Makes profiles of measurements: fits where there is something to fit, and the rest from a base catalog.

What was measured replaces what the base has, and says so; what cannot be measured (a latency target, the
length of an answer, the sandbox around a start) keeps the base's value and origin.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from profiles import (
    Capacity,
    Catalog,
    CatalogDraft,
    GpuType,
    HostStartUp,
    Measurement,
    ModelProfile,
    Prefill,
    ProfileError,
    Provenance,
    TrainingProfile,
    draft_of,
)
from profiles.draft import HOST_FIELDS
from profiles.measurements import Job
from realgpu.calibration.fits import step_curve_of, surface_of
from realgpu.calibration.ledger import Ledger

COST_MODEL: Final = "blocks"
"""What the gates of `realgpu.hosts` count (`realgpu.control.GateRates`)."""

FULL_PROMPT_TOKENS: Final = 128
"""Prompts of models at full scale (`realgpu.workers.models.PROMPT_TOKENS`)."""

BY: Final = {
    "mps": "MPS percentage",
    "gate": "launch gate",
    "virtual": "computed time",
    "whole": "the whole device",
    "green": "green context",
}


@dataclass(frozen=True)
class Made:
    """A draft, and what could not be made of the measurements, a sentence each."""

    draft: CatalogDraft
    notes: tuple[str, ...]


def make_draft(ledger: Ledger, base: Catalog) -> Made:
    """Return the catalog of everything that was measured enough.

    Raises
    ------
    ProfileError
        If no model was.
    """
    maker = _Maker(ledger, base)
    models, notes = [], []
    for name in dict.fromkeys(one.model for one in ledger.measurements):
        try:
            models.append(maker.model(base.model(name)))
        except ProfileError as error:
            notes.append(f"{name}: left out: {error}")
    if not models:
        raise ProfileError(
            f"models: found none that was measured enough ({'; '.join(notes) or 'nothing was'})"
        )
    gpu, origins = maker.gpu()
    host, host_origins = maker.host()
    return Made(
        CatalogDraft(
            gpu=gpu,
            host=host,
            provenance=origins | host_origins,
            models=models,
            device=ledger.device,
            measurements=tuple(ledger.measurements),
            start_ups=tuple(ledger.start_ups),
            interference=tuple(ledger.interference),
        ),
        (*maker.notes, *notes),
    )


class _Maker:
    """Makes the parts of a draft."""

    def __init__(self, ledger: Ledger, base: Catalog) -> None:
        self.notes: list[str] = []
        self._ledger = ledger
        self._base = base
        self._device: Mapping[str, Any] = ledger.device
        device, date = self._device.get("name", "this device"), self._device.get("date", "an unknown day")
        self._where = f"measured on {device}, {date}"

    # ---------------------------------------------------------------------------------- the device

    def gpu(self) -> tuple[GpuType, dict[str, Provenance]]:
        """Return the type of GPU."""
        base = self._base.gpu
        name = self._device.get("gpu", base.name)
        sms, memory_bytes = self._device.get("sm_count"), self._device.get("memory_bytes")
        origins = {path: self._base.gpu_provenance[path] for path in ("memory_bytes", "sms")}
        if memory_bytes is not None:
            origins["memory_bytes"] = self._measured("as the host says")
        if sms is not None:
            origins["sms"] = self._measured("as the host says")
        return GpuType(name, memory_bytes or base.memory_bytes, sms or base.sms), origins

    def host(self) -> tuple[HostStartUp, dict[str, Provenance]]:
        """Return the parts of a cold start that depend on the host."""
        host = draft_of(self._base).host
        origins = {f"startup.{name}": self._base.gpu_provenance[f"startup.{name}"] for name in HOST_FIELDS}
        starts = self._ledger.start_ups
        if not starts:
            return host, origins
        seen = self._measured(f"median of {len(starts)} starts")
        bandwidths = [
            one.bandwidth_bytes_per_s for one in starts if one.weights_s > 0.0 and one.weights_bytes
        ]
        host = replace(
            host,
            runtime_s=statistics.median(one.runtime_s for one in starts),
            context_s=statistics.median(one.context_s for one in starts),
            bandwidth_bytes_per_s=statistics.median(bandwidths) if bandwidths else host.bandwidth_bytes_per_s,
        )
        origins["startup.runtime_s"] = seen
        origins["startup.context_s"] = seen
        if bandwidths:
            origins["startup.bandwidth_bytes_per_s"] = self._measured(
                f"median of {len(bandwidths)} starts; random weights made on the device, not read from a disk"
            )
        return host, origins

    # ----------------------------------------------------------------------------------- the models

    def model(self, base: ModelProfile) -> ModelProfile:
        """Return a model's profile.

        Raises
        ------
        ProfileError
            If neither its serving nor its training was measured enough.
        """
        training, made = self._training(base)
        served = self._served(base)
        if served is None:
            if training is None or base.training is None:
                raise ProfileError("found too few points of serving, and none or too few of training")
            served = self._derived(base, base.training, training)
        profile, origins = served
        return replace(profile, training=training, provenance={**base.provenance, **origins, **made})

    def _served(self, base: ModelProfile) -> tuple[ModelProfile, dict[str, Provenance]] | None:
        """Return a profile with what was measured of serving; `None` if that is too little for a fit."""
        rows = self._rows(base.name, "serve")
        try:
            latency = surface_of([row.point for row in rows])
        except ProfileError as error:
            if rows:
                self.notes.append(f"{base.name}: serving is left out: {error}")
            return None
        by = self._by(rows)
        fitted = Provenance("fitted", f"{self._where}, by {by}, {len(rows)} points in {base.name}.csv")
        profile, origins = self._started(base)
        origins["latency"] = fitted
        origins["latency.points"] = self._measured(f"by {by}, medians of {_repeats(rows)} repeats")
        largest = max(row.batch for row in rows)
        if largest < base.max_batch:
            origins["max_batch"] = self._measured("the largest batch that was")
        memory = [row.memory_bytes for row in rows if row.memory_bytes is not None]
        if memory:
            origins["memory_bytes"] = self._measured(f"the most of {len(memory)} points")
        launches = [row.launches for row in rows if row.launches]
        if launches:
            origins["launches"] = self._measured(f"median of {len(launches)} points")
        wave_s, origins["wave_s"] = self._wave(base, "serve")
        capacity, capacity_origins = self._capacity(rows, "capacity")
        prefill, prefill_origins = self._prefill(base)
        profile = replace(
            profile,
            latency=latency,
            max_batch=min(largest, base.max_batch),
            memory_bytes=max(memory, default=base.memory_bytes),
            launches=round(statistics.median(launches)) if launches else base.launches,
            wave_s=wave_s,
            capacity=capacity,
            prefill=prefill,
        )
        return profile, origins | capacity_origins | prefill_origins

    def _training(self, base: ModelProfile) -> tuple[TrainingProfile | None, dict[str, Provenance]]:
        """Return what was measured of training; `None` if that is too little."""
        rows = self._rows(base.name, "train")
        if base.training is None or not rows:
            return None, {}
        try:
            step = step_curve_of([row.point for row in rows])
        except ProfileError as error:
            self.notes.append(f"{base.name}: training is left out: {error}")
            return None, {}
        by = self._by(rows)
        fitted = Provenance(
            "fitted", f"{self._where}, by {by}, {len(rows)} points in {base.name}.training.csv"
        )
        wave_s, wave_origin = self._wave(base, "train")
        capacity, capacity_origins = self._capacity(rows, "training.capacity")
        memory = [row.memory_bytes for row in rows if row.memory_bytes is not None]
        launches = [row.launches for row in rows if row.launches]
        origins = {f"training.{name}": fitted for name in ("floor_s", "work_s", "g")}
        origins["training.points"] = self._measured(f"by {by}, medians of {_repeats(rows)} steps")
        origins["training.wave_s"] = wave_origin
        origins["training.workers"] = Provenance("assumed", "One process on one device: what was measured.")
        if memory:
            origins["training.memory_bytes"] = self._measured(f"{len(memory)} points")
        if launches:
            origins["training.launches"] = self._measured(f"{len(launches)} points")
        training = replace(
            base.training,
            workers=1,
            memory_bytes=max(memory, default=base.training.memory_bytes),
            launches=round(statistics.median(launches)) if launches else base.training.launches,
            wave_s=wave_s,
            step=step,
            capacity=capacity,
        )
        return training, origins | capacity_origins

    def _derived(
        self, base: ModelProfile, before: TrainingProfile, training: TrainingProfile
    ) -> tuple[ModelProfile, dict[str, Provenance]]:
        """Return a profile of a model that was only trained: it serves slower as it trains slower."""
        ratio = training.step_s(1.0) / before.step_s(1.0)
        latency = base.latency
        scaled = replace(
            latency,
            **{name: getattr(latency, name) * ratio for name in ("l0_s", "f1_s", "w1_s", "w0_s")},
            fit_mean_error=None,
            fit_max_error=None,
            points=(),
            covariance=None,
            held_out=None,
        )
        started, start_origins = self._started(base)
        origin = Provenance(
            "derived",
            f"Only training was {self._where}. The base catalog's surface times {ratio:.4g}, by which a "
            "training step on the whole device takes longer than the base has it.",
        )
        return replace(started, latency=scaled, capacity=None, prefill=None), {
            "latency": origin,
            **start_origins,
        }

    # ---------------------------------------------------------------------------------------- parts

    def _rows(self, model: str, job: Job) -> list[Measurement]:
        """Return measurements of one way of sharing, the commonest; what is on the whole device fits all."""
        rows = self._ledger.alone(model, job)
        ways = Counter(row.share_by for row in rows if row.share_by != "whole")
        if not ways:
            return rows
        ((way, _),) = ways.most_common(1)
        kept = [row for row in rows if row.share_by in (way, "whole")]
        if len(kept) < len(rows):
            self.notes.append(f"{model}: {len(rows) - len(kept)} points are left out, not by {BY[way]}")
        return kept

    def _started(self, base: ModelProfile) -> tuple[ModelProfile, dict[str, Provenance]]:
        """Return a profile with what was measured of its start."""
        starts = [one for one in self._ledger.start_ups if one.model == base.name]
        if not starts:
            return base, {}
        seen = self._measured(f"median of {len(starts)} starts")
        origins = {"warm_up_s": seen}
        weights_bytes = round(statistics.median(one.weights_bytes for one in starts))
        if weights_bytes:
            origins["weights_bytes"] = self._measured("parameters times the bytes of one")
        warm_up_s = statistics.median(one.warm_up_s for one in starts)
        host, _ = self.host()
        started = replace(
            base,
            weights_bytes=weights_bytes or base.weights_bytes,
            startup=host.of(weights_bytes or base.weights_bytes, warm_up_s),
        )
        return started, origins

    def _wave(self, base: ModelProfile, job: Job) -> tuple[float, Provenance]:
        """Return the wait behind the waves of what a model does, the median over its victims."""
        label = f"{base.name}:{job}@"
        waves_s = [
            one.wave_s
            for one in self._ledger.interference
            if one.neighbour.startswith(label) and one.wave_s is not None
        ]
        training = base.training
        if waves_s:
            spread = f"{min(waves_s) * 1e6:.1f} to {max(waves_s) * 1e6:.1f} us"
            return statistics.median(waves_s), self._measured(f"median of {len(waves_s)} victims, {spread}")
        if job == "train" and training is not None:
            return training.wave_s, base.provenance["training.wave_s"]
        return base.wave_s, base.provenance["wave_s"]

    def _capacity(
        self, rows: Sequence[Measurement], path: str
    ) -> tuple[Capacity | None, dict[str, Provenance]]:
        """Return what a gate charges, of the rows on the whole device."""
        whole = {row.batch: row for row in rows if row.cost and row.share >= 1.0}
        costs = [(batch, row.cost) for batch, row in sorted(whole.items()) if row.cost]
        if not costs:
            return None, {}
        largest, cost = costs[-1]
        capacity = Capacity(COST_MODEL, cost / whole[largest].median_s, measured=tuple(costs))
        seen = self._measured(f"by the counters of the launch gate, {len(costs)} batches on the whole device")
        return capacity, {f"{path}.cost_per_s": seen, f"{path}.batch_cost": seen}

    def _prefill(self, base: ModelProfile) -> tuple[Prefill | None, dict[str, Provenance]]:
        """Return what prompts cost on the whole device; virtual work has none."""
        rows = [row for row in self._rows(base.name, "prefill") if row.share >= 1.0]
        if not rows or self._device.get("backend") == "virtual":
            return None, {}
        seconds = {row.batch: row.median_s for row in rows}
        tokens = int(self._device.get("prompt_tokens", FULL_PROMPT_TOKENS))
        return Prefill(tokens, tuple(sorted(seconds.items()))), {
            "prefill": self._measured(f"{len(seconds)} batches on the whole device")
        }

    def _by(self, rows: Sequence[Measurement]) -> str:
        ways = dict.fromkeys(row.share_by for row in rows)
        return " and ".join(BY[way] for way in ways)

    def _measured(self, how: str) -> Provenance:
        return Provenance("measured", f"{self._where}: {how}.")


def _repeats(rows: Sequence[Measurement]) -> str:
    counts = [len(row.seconds) for row in rows]
    return f"{min(counts)} to {max(counts)}"
