"""What neighbours cost each other: two residents at once, of whom each is timed while the other works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from policies import Function, PolicyError
from policies.sizing import DiluSizing
from profiles import Measurement, ModelProfile, ProfileError
from profiles.sharing import SpaceSharing
from realgpu.calibration.campaign import Campaign, Task
from realgpu.calibration.failures import WorkError
from realgpu.calibration.fits import surface_of
from realgpu.calibration.interference import Part, interference
from realgpu.calibration.measuring import DECODE_STEPS
from realgpu.calibration.resident import Resident
from realgpu.calibration.subjects import Subject
from realgpu.workers.protocol import Job

PAIR_WORTH: Final = 1.0
"""As `campaign.SERVE_WORTH`."""

SHARE_WITHOUT_SIZE: Final = 0.5
"""The share of a service that no size was found for: half, so that its neighbour has the other half."""

LARGEST_OPERATING_SHARE: Final = 0.8
"""A neighbour gets the rest, which is to be something. Assumed."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A service and who works beside it."""

    victim: ModelProfile
    neighbour: ModelProfile
    trains: bool

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.victim.name} beside {self.neighbour.name}"


def pairs_of(subjects: Sequence[Subject]) -> list[Pair]:
    """Return each service beside each training, and beside the service that follows it."""
    services = [one.profile for one in subjects if "serve" in one.jobs]
    jobs = [one.profile for one in subjects if "train" in one.jobs]
    pairs = [Pair(service, job, True) for service in services for job in jobs]
    following = zip(services, services[1:] + services[:1], strict=True)
    return pairs + [Pair(service, next_one, False) for service, next_one in following]


def pair_tasks(campaign: Campaign, subjects: Sequence[Subject]) -> list[Task]:
    """Return the pairs to measure."""
    return [Task(pair.title, PAIR_WORTH, partial(_measure, campaign, pair)) for pair in pairs_of(subjects)]


def _measure(campaign: Campaign, pair: Pair, until_s: float) -> None:
    """Measure both alone and together, unless that was done before or there is no time."""
    victim, neighbour = _parts(campaign, pair)
    done = {(one.victim, one.neighbour) for one in campaign.ledger.interference}
    if (victim.label, neighbour.label) in done:
        return
    starts_s = campaign.start_s("serve") + campaign.start_s(neighbour.job)
    measuring_s = sum(
        3.0 * campaign.longest_s(part.profile, part.job, part.batch, part.share)
        for part in (victim, neighbour)
    )
    if not campaign.has_time(pair.title, starts_s + measuring_s):
        return
    campaign.workplace.clear()
    try:
        _measure_together(campaign, victim, neighbour)
    except WorkError as failure:
        campaign.fail(victim.profile, f"serve beside {neighbour.label}", victim.batch, victim.share, failure)
    campaign.workplace.clear()


def _measure_together(campaign: Campaign, victim: Part, neighbour: Part) -> None:
    """Time the victim alone, the neighbour alone, and each while the other works."""
    workplace = campaign.workplace
    serving = workplace.start(victim.profile, "serve", victim.batch, victim.share)
    victim_alone = _time(campaign, serving, victim)
    beside = workplace.start(neighbour.profile, neighbour.job, neighbour.batch, neighbour.share)
    neighbour_alone = _time(campaign, beside, neighbour)

    if neighbour.job == "serve":
        beside.keep_busy(neighbour.batch, _iterations(neighbour), _whole_s(neighbour, neighbour_alone))
    victim_beside = replace(_time(campaign, serving, victim), neighbour=neighbour.label)
    if neighbour.job == "serve":
        workplace.rig.let_rest(beside, _whole_s(neighbour, neighbour_alone))
    serving.keep_busy(victim.batch, _iterations(victim), _whole_s(victim, victim_alone))
    neighbour_beside = replace(_time(campaign, beside, neighbour), neighbour=victim.label)
    workplace.rig.let_rest(serving, _whole_s(victim, victim_beside))

    for one in (victim_beside, neighbour_beside):
        campaign.ledger.add(one)
    sharing = workplace.sharing
    for row in (
        interference(victim, neighbour, victim_alone, victim_beside, sharing),
        interference(neighbour, victim, neighbour_alone, neighbour_beside, sharing),
    ):
        campaign.ledger.add_interference(row)


def _time(campaign: Campaign, resident: Resident, part: Part) -> Measurement:
    """Measure what a resident does."""
    expected_s = campaign.expected_s(part.profile, part.job, part.batch, part.share)
    if part.job == "train":
        return campaign.meter.train(resident, expected_s)
    return campaign.meter.serve(resident, part.batch, expected_s)[-1]


def _whole_s(part: Part, measured: Measurement) -> float:
    """Return the seconds of a whole batch; that of an llm is an answer."""
    return _iterations(part) * measured.median_s


def _iterations(part: Part) -> int:
    return 1 + DECODE_STEPS if part.profile.kind == "llm" else 1


def _parts(campaign: Campaign, pair: Pair) -> tuple[Part, Part]:
    """Return who does what on which shares.

    Where launches are gated the service has the share it is sized for and its neighbour what is left: no
    share is scaled down. Under MPS percentages both have all SMs, since apart from each other they would
    never meet.
    """
    batch, share = _operating_point(campaign, pair.victim)
    training = pair.neighbour.training
    job: Job = "train" if training is not None and pair.trains else "serve"
    neighbour_batch = _operating_point(campaign, pair.neighbour)[0]
    if training is not None and job == "train":
        neighbour_batch = training.batch
    sharing = campaign.workplace.sharing
    if isinstance(sharing, SpaceSharing) and not sharing.gated:
        share = left = 1.0
    else:
        left = round(1.0 - share, 6)
    return Part(pair.victim, "serve", batch, share), Part(pair.neighbour, job, neighbour_batch, left)


def _operating_point(campaign: Campaign, profile: ModelProfile) -> tuple[int, float]:
    """Return the batch and share that a service is sized for, on what was measured of it."""
    points = campaign.ledger.points(profile.name, "serve")
    largest = campaign.largest_batch(profile)
    try:
        measured = replace(profile, latency=surface_of(points), max_batch=largest)
        service = Function(profile.name, profile.kind, measured, profile.memory_bytes, slo_s=profile.slo_s)
        size = DiluSizing().size(service, measured.measurement(profile.kind))
    except (ProfileError, PolicyError):
        return min(4, largest), SHARE_WITHOUT_SIZE
    return size.batch, min(size.request, LARGEST_OPERATING_SHARE)
