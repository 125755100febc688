from __future__ import annotations

from policies.still_views import StillGpu, StillResident
from policies.vertical import StaticQuota
from profiles.sharing import MPS_CAPS


def test_an_instance_keeps_its_limit() -> None:
    """The quota is the limit from the start, is never asked for again, and no cycle is worth a question."""
    policy = StaticQuota()
    busy = StillResident(1, limit=0.6, quota=0.1, pressure=3.0)
    idle = StillResident(2, limit=0.4, idle=True)
    grant = policy.decide(StillGpu((busy, idle)))
    assert policy.tick_s is None
    assert policy.first_quota(busy) == 0.6
    assert grant.quotas == (0.6, 0.4)
    assert grant.settled
    assert all(low <= pressure < high for low, high in grant.calm for pressure in (0.1, 1.0, 1e9))


def test_a_static_quota_is_an_mps_partition() -> None:
    """SMs are capped, launches are not gated."""
    assert StaticQuota().sharing == MPS_CAPS
    assert MPS_CAPS.partitioned
    assert not MPS_CAPS.gated
