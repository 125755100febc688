"""Vertical policies in which residents take turns on the GPU; a quota is fixed while its instance lives."""

from __future__ import annotations

from dataclasses import dataclass

from policies.functions import PolicyError
from policies.slots import ResidentView
from policies.vertical.static import LimitForLife
from profiles.sharing import TimeSharing


@dataclass(frozen=True, slots=True)
class GuaranteedTurns(LimitForLife):
    """KubeShare's time tokens (HPDC 2020; NTHU-LSALAB/Gemini): each is granted its request of the time.

    One client at a time holds a GPU's token and with it all SMs. Of those that used less than their limit of
    the last 10 s, the scheduler takes whoever is furthest below its request, or else the least user.

    Modelled: where more is wanted than there is, time is divided by requests; training is held to its limit,
    which a window of 10 s does; a batch beside others takes at least its work and half a turn of theirs. Not
    modelled: that a turn adapts to the client's bursts, from 20 ms up, and ends early when the client returns
    the token; that a server which used up its limit of the window is held as well.

    Attributes
    ----------
    turn_s
        Base quota of the token: 300 ms as KubeShare's scripts start Gemini; its binary's default is 250 ms.
    """

    turn_s: float = 0.3

    def __post_init__(self) -> None:
        _check_turn(self.turn_s)

    @property
    def sharing(self) -> TimeSharing:
        """Turns on the whole GPU, by request."""
        return TimeSharing(width="gpu", weights="request", caps="training", turn_s=self.turn_s)


@dataclass(frozen=True, slots=True)
class PartitionedTurns(LimitForLife):
    """FaST-GShare's space and time sharing (ICPP 2023): an SM partition each, and a quota of time on it.

    A pod's partition is the limit, an MPS percentage. Its time on that is guaranteed to request / limit and
    may grow by `extra`. Pods whose partitions fit on the GPU together run together ("multi-token").

    Modelled: just that, with time divided by requests where partitions do not fit, and training held to its
    quota. Not modelled: the events by which the time used is measured, and what they cost; that a server
    which used up its quota of the window is held as well.

    Attributes
    ----------
    extra
        A pod's limit of time above its request of it: 0.3 (KontonGu/FaST-GShare-Autoscaler).
    turn_s
        The length of a turn is not published: 0, assumed, makes waiting for one no part of the model.
    """

    extra: float = 0.3
    turn_s: float = 0.0

    def __post_init__(self) -> None:
        _check_turn(self.turn_s)
        if not 0.0 <= self.extra <= 1.0:
            raise PolicyError(f"extra: found {self.extra}, allowed is from 0 to 1")

    @property
    def sharing(self) -> TimeSharing:
        """Turns on partitions, by request."""
        return TimeSharing(width="limit", weights="request", caps="training", turn_s=self.turn_s)

    def first_quota(self, resident: ResidentView) -> float:
        """Return the time quota's share of the GPU: the partition times the limit of time on it."""
        return resident.limit * min(1.0, resident.request / resident.limit + self.extra)


@dataclass(frozen=True, slots=True)
class RoundRobin(LimitForLife):
    """Kubernetes time slicing (NVIDIA device plugin): the driver gives each busy process an equal slice.

    Modelled: an equal part of the time for everybody who is busy, whatever was requested, less what switching
    between contexts costs. Training that is alone is held to its limit, which the driver does not do; a
    limit of the whole GPU, as a system that slices time reserves, is no hold. Not modelled: one slice after
    another; caches that are cold after a switch, other than in the loss.

    Attributes
    ----------
    turn_s
        Length of a slice: 2 ms, assumed (the driver's default is not documented in seconds).
    switch_loss
        Part of the GPU lost while several are busy: 3 %, assumed, from 2 to 5 %.
    """

    turn_s: float = 0.002
    switch_loss: float = 0.03

    def __post_init__(self) -> None:
        _check_turn(self.turn_s)
        if not 0.0 <= self.switch_loss < 1.0:
            raise PolicyError(f"switch_loss: found {self.switch_loss}, allowed is from 0 to below 1")

    @property
    def sharing(self) -> TimeSharing:
        """Equal turns on the whole GPU, with a loss."""
        return TimeSharing(
            width="gpu", weights="equal", caps="training", turn_s=self.turn_s, switch_loss=self.switch_loss
        )


@dataclass(frozen=True, slots=True)
class OneAtATime(LimitForLife):
    """Torpor's execution (ATC 2025): a GPU runs one function at a time, and never interrupts it.

    Modelled: functions that are busy together each get an equal part of the time, and a batch beside others
    takes at least its work and half a turn of theirs: the rest of what runs when it comes. Not modelled: the
    order of requests by how many are still needed to reach a percentile; that the rest is one of the very
    batch that runs. Training, which Torpor does not serve, takes turns of the same length.

    Attributes
    ----------
    turn_s
        What a function runs before another may: 50 ms, about the length of a batch, assumed.
    """

    turn_s: float = 0.05

    def __post_init__(self) -> None:
        _check_turn(self.turn_s)

    @property
    def sharing(self) -> TimeSharing:
        """Equal turns on the whole GPU, as long as a batch."""
        return TimeSharing(width="gpu", weights="equal", caps="training", turn_s=self.turn_s)


def _check_turn(turn_s: float) -> None:
    if not 0.0 <= turn_s < float("inf"):
        raise PolicyError(f"turn_s: found {turn_s}, allowed are finite seconds from 0")
