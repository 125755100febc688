from __future__ import annotations

import pytest
from hand_made import GIB, cluster

from policies import Cluster, PolicyError, Size
from policies.functions import MixedCluster
from profiles import GpuType


@pytest.mark.parametrize(("request_share", "limit"), [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1), (-0.1, 0.5)])
def test_a_size_keeps_request_and_limit_in_order(request_share: float, limit: float) -> None:
    """0 < request <= limit <= 1, or the message shows both."""
    with pytest.raises(PolicyError, match=f"request, limit: found {request_share}, {limit}, allowed is 0 <"):
        Size(1, request_share, limit)


def test_a_size_has_a_batch() -> None:
    """A batch of none serves nothing."""
    with pytest.raises(PolicyError, match="batch: found 0, allowed are integers from 1"):
        Size(0, 0.3, 0.6)


def test_what_is_needed_is_the_request_unless_more_is_reserved() -> None:
    """Where a whole GPU is reserved for a function that needs .3, `needed` still says .3."""
    assert Size(1, 0.3, 0.6).needed == 0.3
    assert Size(1, 1.0, 1.0, need=0.3).needed == 0.3


def test_a_cluster_counts_its_gpus() -> None:
    """Three nodes of four are twelve, and one kind of node."""
    twelve = cluster(3, 4)
    assert twelve.gpus == 12
    assert twelve.groups == twelve.kinds == (twelve,)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((), "groups: found none, allowed is at least one"),
        ((Cluster(0, 4, GpuType("T4", GIB, 0)),), "groups: found 0 x 4 GPUs of T4, allowed is at least one"),
        ((Cluster(1, 0, GpuType("T4", GIB, 0)),), "groups: found 1 x 0 GPUs of T4, allowed is at least one"),
        (
            (Cluster(1, 1, GpuType("T4", GIB, 0)), Cluster(1, 2, GpuType("T4", 2 * GIB, 0))),
            "groups: found T4 with 1073741824 and with 2147483648 bytes, allowed is one memory a type",
        ),
    ],
)
def test_a_mixed_cluster_has_gpus_of_types_that_are_what_they_are(
    groups: tuple[Cluster, ...], message: str
) -> None:
    """Groups without nodes or GPUs, and one type with two sizes of memory, are refused."""
    with pytest.raises(PolicyError, match=message):
        MixedCluster(groups)
