"""The host of a backend: plain for what computes on no device, this machine's GPUs for `cuda`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from policies import Deployment, Launch
from policies.slots import VerticalPolicy
from policies.still_views import StillResident
from profiles.sharing import Sharing, SpaceSharing
from realgpu.hosting import Hosting
from realgpu.hosts.cuda import CudaHost
from realgpu.workers.protocol import BackendName


def _serves(launch: Launch) -> bool:
    return False


def open_host(
    backend: BackendName,
    *,
    sharing: Sharing,
    gpus: int = 1,
    trains: Callable[[Launch], bool] = _serves,
    quota: Callable[[Launch], float] | None = None,
) -> AbstractContextManager[Hosting]:
    """Return what gives a run's `Hosting` when it is entered, and ends what it started when it is left.

    Parameters
    ----------
    sharing
        What quotas mean.
    gpus
        How many the run needs.
    trains
        Whether a launch is of training; by default none is.
    quota
        The quota of a launch, if it never changes; `None`: quotas change, up to the limit.

    Raises
    ------
    RealGpuError
        On entry, if this host cannot run the backend, or not enforce the quotas that `sharing` needs.
    """
    if backend != "cuda":
        return nullcontext(Hosting())
    return CudaHost(sharing=sharing, gpus=gpus, trains=trains, quota=quota)


def open_host_for(
    backend: BackendName, deployment: Deployment, vertical: VerticalPolicy
) -> AbstractContextManager[Hosting]:
    """Return `open_host` for a deployment under a vertical policy.

    A policy that changes caps on SMs while instances live gets what MPS cannot do from the gate.
    """
    sharing = vertical.sharing
    if isinstance(sharing, SpaceSharing) and sharing.partitioned and vertical.tick_s is not None:
        sharing = SpaceSharing(partitioned=True, gated=True)
    return open_host(
        backend,
        sharing=sharing,
        gpus=deployment.cluster.nodes * deployment.cluster.gpus_per_node,
        trains=lambda launch: deployment.functions[launch.function].kind == "training",
        quota=None if vertical.tick_s is not None else partial(_only_quota, deployment, vertical),
    )


def _only_quota(deployment: Deployment, vertical: VerticalPolicy, launch: Launch) -> float:
    """Return what a policy without a tick gives a launch, the most of its GPUs."""
    function = deployment.functions[launch.function]
    residents = [
        StillResident(
            instance=launch.instance,
            slo_sensitive=function.kind != "training",
            is_llm=function.kind == "llm",
            request=shard.request,
            limit=shard.limit,
            seat=shard.seat,
        )
        for shard in launch.shards
    ]
    return max(min(vertical.first_quota(resident), resident.limit) for resident in residents)
