from __future__ import annotations

import pytest
from hand_made import cluster

from policies import PolicyError, Size


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
    """Three nodes of four are twelve."""
    assert cluster(3, 4).gpus == 12
