"""A shared GPU: its residents, who of them is active, and what that means for each.

What residents mean for each other is the law of contention (`profiles.contention`).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from policies import Grant
from policies.cycles import CycleMeter
from profiles import InterferenceModel
from profiles.contention import contention
from profiles.sharing import Sharing, TimeSharing

INF = float("inf")
Agenda = list[tuple[float, int]]
Calm = tuple[tuple[float, float], ...]

MANY_QUOTAS = 256
"""Tuples of quotas whose consequences a GPU remembers; training that is throttled takes ever new ones."""


class Owner(Protocol):
    """Whoever runs on a GPU through residents: a serving instance or a training job."""

    def retime(self, now_s: float, agenda: Agenda) -> None:
        """Keep the progress so far and re-time the rest at the residents' present shares."""


class Resident:
    """One instance's part on one GPU (a `policies.slots.ResidentView`).

    `part` is the fraction of the model that sits here: a pipeline stage is busy for that fraction of an
    iteration.
    """

    __slots__ = (
        "active",
        "alone",
        "batch",
        "bit",
        "calm_high",
        "calm_low",
        "cycles",
        "delay_s",
        "disturbed",
        "gpu",
        "idle",
        "instance",
        "is_llm",
        "last_active_s",
        "limit",
        "meter",
        "model",
        "owner",
        "part",
        "pressure",
        "quota",
        "request",
        "seat",
        "share",
        "slo_sensitive",
        "stretch",
        "wait_s",
        "wanted",
        "wave_s",
    )

    def __init__(
        self,
        owner: Owner,
        gpu: Gpu,
        *,
        instance: int,
        slo_sensitive: bool,
        is_llm: bool,
        request: float,
        limit: float,
        part: float,
        wave_s: float,
        meter: CycleMeter,
        model: str = "",
        batch: int = 1,
        seat: Hashable = None,
        wanted: float | None = None,
    ) -> None:
        self.owner = owner
        self.gpu = gpu
        self.instance = instance
        self.slo_sensitive = slo_sensitive
        self.is_llm = is_llm
        self.request = request
        self.limit = limit
        self.part = part
        self.wave_s = wave_s
        self.meter = meter
        self.model = model
        self.batch = batch
        self.seat = seat
        self.wanted = wanted
        self.bit = 0
        self.active = False
        self.quota = 0.0
        self.share = self.alone = 0.0
        self.stretch = 1.0
        self.delay_s = self.wait_s = 0.0
        """The terms on which it runs now; see `sim.contention.Terms`."""
        self.disturbed = False
        self.idle = True
        self.last_active_s = -INF
        self.cycles = 0
        self.pressure = 1.0
        self.calm_low, self.calm_high = -INF, INF

    def run_alone(self) -> None:
        """Take the terms of somebody who is alone on its quota."""
        self.share = self.alone = self.quota
        self.stretch = 1.0
        self.delay_s = self.wait_s = 0.0
        self.disturbed = False


Row = tuple[Resident, float, float, float, float, float, bool]
"""A resident, the five terms on which it runs, and whether they are others' doing."""

Setting = tuple[float, tuple[Row, ...]]
"""Share in use, and a row for each active resident, for one set of active residents."""


class Gpu:
    """One GPU (a `policies.slots.GpuView`).

    The set of active residents is a bit mask. What it means for each resident is worked out once for each
    mask and tuple of quotas, and kept until residents change: quotas come back to where they were.
    """

    __slots__ = (
        "active_share_s",
        "calm",
        "eager",
        "first_tick_s",
        "grants",
        "idle_check_s",
        "idle_mask",
        "index",
        "interference",
        "look_s",
        "mask",
        "may_lag",
        "memory",
        "plain",
        "quotas",
        "ramps",
        "residents",
        "settings",
        "settings_of",
        "settings_quotas",
        "share_in_use",
        "sharing",
        "since_s",
        "solo",
        "tick_at_s",
        "watched",
    )

    def __init__(self, index: int, sharing: Sharing, interference: InterferenceModel | None = None) -> None:
        self.index = index
        self.sharing = sharing
        self.interference = interference
        self.plain = not isinstance(sharing, TimeSharing)
        """Whoever is active alone runs on its quota."""
        self.residents: list[Resident] = []
        self.memory: object = None
        self.quotas: tuple[float, ...] = ()
        self.calm: Calm = ()
        self.grants: dict[tuple[tuple[float, ...], int, Calm], Grant] = {}
        """Decisions on these residents while all were calm, by quotas, mask of the idle ones and bands."""
        self.ramps: dict[tuple[tuple[float, ...], int, Calm], tuple[tuple[float, ...], ...]] = {}
        """Quotas that follow one another from such a view on, until they settle."""
        self.settings_of: dict[tuple[float, ...], dict[int, Setting]] = {}
        self.settings: dict[int, Setting] = {}
        self.settings_quotas: tuple[float, ...] = ()
        """Those of one tuple of quotas, by mask, and which; looked up when several residents are active."""
        self.mask = 0
        self.share_in_use = 0.0
        self.since_s = 0.0
        self.active_share_s = 0.0
        self.solo: Resident | None = None
        """The only active resident, if there is just one."""
        self.tick_at_s = INF
        self.idle_check_s = INF
        self.idle_mask = 0
        """Bits of the residents that were idle at the latest decision and have not become active since."""
        self.watched = False
        """The vertical policy looks at it: it has one that ticks, and several residents."""
        self.may_lag = False
        """Its ticks may be caught up with, as long as at most one resident is active (see `sim.vertical`)."""
        self.eager = True
        """Its ticks are on the agenda."""
        self.first_tick_s = 0.0
        """The first tick with the present residents."""
        self.look_s = 0.0
        """Where ticks lag: there is none to catch up with before this time."""

    def wake(self, resident: Resident, now_s: float, agenda: Agenda) -> None:
        """Make a resident active."""
        resident.active = True
        self.idle_mask &= ~resident.bit
        if self.mask or not self.plain:
            self.switch(self.mask | resident.bit, now_s, agenda)
            self.eager = True
            self.solo = None
            return
        # Alone: what `contention` says of one resident, without asking it.
        self.mask = resident.bit
        self.since_s = now_s
        resident.share = resident.alone = quota = resident.quota
        if resident.disturbed:
            resident.run_alone()
        self.share_in_use = resident.part * quota
        self.eager = not self.may_lag
        self.solo = resident

    def rest(self, resident: Resident, now_s: float, agenda: Agenda) -> None:
        """Make a resident inactive."""
        resident.active = False
        resident.last_active_s = now_s
        mask = self.mask & ~resident.bit
        if mask:
            self.switch(mask, now_s, agenda)
            self.set_eagerness()
            return
        self.active_share_s += self.share_in_use * (now_s - self.since_s)
        self.since_s = now_s
        self.mask = 0
        self.share_in_use = 0.0
        self.eager = not self.may_lag
        self.solo = None

    def set_eagerness(self) -> None:
        """Find out whether ticks may lag now: whether at most one resident is active."""
        crowded = bool(self.mask & (self.mask - 1))
        self.eager = not self.may_lag or crowded
        self.solo = None
        if self.mask and not crowded and self.plain:
            self.solo = next(r for r in self.residents if r.bit == self.mask)

    def switch(self, mask: int, now_s: float, agenda: Agenda) -> None:
        """Make `mask` the set of active residents and re-time those for whom that changes anything."""
        self.active_share_s += self.share_in_use * (now_s - self.since_s)
        self.since_s = now_s
        self.mask = mask
        if self.settings_quotas is not self.quotas:
            self._find_settings()
        setting = self.settings.get(mask)
        if setting is None:
            active = [r for r in self.residents if r.bit & mask]
            in_use, terms = contention(active, self.sharing, self.interference)
            rows = zip(active, terms, strict=True)
            setting = self.settings[mask] = (in_use, tuple((r, *term, term.disturbed) for r, term in rows))
        self.share_in_use = setting[0]
        for resident, share, alone, stretch, delay_s, wait_s, disturbed in setting[1]:
            if (
                resident.share != share
                or resident.delay_s != delay_s
                or resident.stretch != stretch
                or resident.wait_s != wait_s
            ):
                resident.share, resident.alone, resident.stretch = share, alone, stretch
                resident.delay_s, resident.wait_s, resident.disturbed = delay_s, wait_s, disturbed
                resident.owner.retime(now_s, agenda)
            elif resident.alone != alone:
                resident.alone, resident.disturbed = alone, disturbed

    def _find_settings(self) -> None:
        if len(self.settings_of) > MANY_QUOTAS:
            self.settings_of.clear()
            self.grants.clear()
            self.ramps.clear()
        self.settings = self.settings_of.setdefault(self.quotas, {})
        self.settings_quotas = self.quotas

    def requote(self, quotas: tuple[float, ...], now_s: float, agenda: Agenda) -> None:
        """Give the residents these quotas."""
        self.quotas = quotas
        for resident, quota in zip(self.residents, quotas, strict=True):
            if resident.quota != quota:
                resident.quota = quota
                if resident is self.solo:
                    self._requote_solo(resident, now_s, agenda)
        if self.solo is None and self.mask:
            self.switch(self.mask, now_s, agenda)

    def _requote_solo(self, resident: Resident, now_s: float, agenda: Agenda) -> None:
        """Give the only active resident the share of its new quota."""
        self.active_share_s += self.share_in_use * (now_s - self.since_s)
        self.since_s = now_s
        resident.run_alone()
        self.share_in_use = resident.part * resident.quota
        resident.owner.retime(now_s, agenda)

    def ramp_solo(self, steps: list[tuple[float, float]]) -> None:
        """Account for the share of the only active resident, which changes at each time to the quota."""
        for time_s, quota in steps:
            self.active_share_s += self.share_in_use * (time_s - self.since_s)
            self.since_s = time_s
            self.share_in_use = quota

    def set_residents(self, residents: list[Resident], now_s: float, agenda: Agenda) -> None:
        """Change who sits here."""
        self.residents = residents
        mask = 0
        for position, resident in enumerate(residents):
            resident.bit = 1 << position
            if resident.active:
                mask |= resident.bit
        self.settings_of.clear()
        self.grants.clear()
        self.ramps.clear()
        self.calm = ()
        self.quotas = tuple(resident.quota for resident in residents)
        self.settings_quotas = ()
        self.idle_mask = sum(r.bit for r in residents if r.idle and not r.active)
        self.switch(mask, now_s, agenda)

    def active_share_until(self, now_s: float) -> float:
        """Integral of the share in use from 0 to `now_s`."""
        return self.active_share_s + self.share_in_use * (now_s - self.since_s)
