"""Vertical policies by priority: servers first, training on what they leave, decided kernel by kernel.

Kernels take microseconds and a simulated batch milliseconds, so that these are models of the steady state:
how much training gets beside a busy server, and how much that delays the server. What one kernel does to
another, and with it the far tail of latencies, is out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.functions import PolicyError
from policies.vertical.static import LimitForLife
from profiles.sharing import PrioritySharing


@dataclass(frozen=True, slots=True)
class ReefPreemption(LimitForLife):
    """REEF's preemption (OSDI 2022): best-effort kernels are killed within microseconds.

    Modelled: a batch that begins beside training waits until the kernels of that are gone; then it runs
    as if alone, and training pads the SMs that it leaves (dynamic kernel padding). Not modelled: the work
    of killed kernels, which has to be done again; kernels that are not idempotent and cannot be killed; that
    only kernels short enough are padded with.

    Attributes
    ----------
    preempt_s
        30 us, assumed, from 10 to 50; the code's README says only that it takes microseconds.
    """

    preempt_s: float = 30e-6

    def __post_init__(self) -> None:
        if not 0.0 <= self.preempt_s < float("inf"):
            raise PolicyError(f"preempt_s: found {self.preempt_s}, allowed are finite seconds from 0")

    @property
    def sharing(self) -> PrioritySharing:
        """Training gets the SMs that are left, at once."""
        return PrioritySharing(beside="left", preempt_s=self.preempt_s)


@dataclass(frozen=True, slots=True)
class OrionInterleaving(LimitForLife):
    """Orion's interleaving (EuroSys 2024): training's kernels run beside those that need another resource.

    A best-effort kernel is launched when the server is idle, or when its class (compute or memory) differs
    from that of the server's present kernel, as long as the best-effort kernels that are out take less than
    a threshold.

    Modelled: beside a busy server, training runs for a fixed fraction of the time; what is out when a batch
    comes delays it by the threshold. Not modelled: the classes of the very kernels of each pair of models;
    the search for a threshold of SMs, which serves a training job of high priority; profiling.

    Attributes
    ----------
    fraction
        Part of the time in which classes differ: 0.35, assumed. So much of the kernel time of training
        ResNet-50 is not bound by compute (the artifact's kernel profiles), beside a server that is.
    intrusion
        DUR_THRESHOLD, 2.5 % of the server's latency (the artifact's launch scripts).
    """

    fraction: float = 0.35
    intrusion: float = 0.025

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction <= 1.0:
            raise PolicyError(f"fraction: found {self.fraction}, allowed is from 0 to 1")
        if not 0.0 <= self.intrusion < float("inf"):
            raise PolicyError(f"intrusion: found {self.intrusion}, allowed is finite, from 0")

    @property
    def sharing(self) -> PrioritySharing:
        """Training gets a fraction of the time beside servers, whom it delays a little."""
        return PrioritySharing(beside="fraction", fraction=self.fraction, intrusion=self.intrusion)


@dataclass(frozen=True, slots=True)
class PerfectSharing(LimitForLife):
    """The bound, nobody's system: servers run as if alone, training takes at once all that they leave.

    No policy with these quotas finishes a batch sooner, and none gives training more without delaying one.
    Modelled: a manager that knows each moment's demand and takes no time to act. Not modelled: anything that
    would cost something.
    """

    @property
    def sharing(self) -> PrioritySharing:
        """Training gets the SMs that are left, and nobody waits for it."""
        return PrioritySharing(beside="left")
