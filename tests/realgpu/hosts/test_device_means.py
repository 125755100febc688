"""What each way of sharing means on a device, and what is left of it without MPS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.sharing import (
    LAUNCH_TOKENS,
    MPS_CAPS,
    UNMANAGED,
    PrioritySharing,
    Sharing,
    SpaceSharing,
    TimeSharing,
)
from realgpu.hosts.means import Means, means_of
from realgpu.hosts.mechanism import mechanism

FRACTION = PrioritySharing(beside="fraction", fraction=0.3)


@pytest.mark.parametrize(
    ("sharing", "mps", "percentage", "held", "prioritised"),
    [
        (MPS_CAPS, True, "quota", "nobody", False),
        (LAUNCH_TOKENS, True, "limit", "all", False),
        (SpaceSharing(partitioned=True, gated=True), True, "limit", "all", False),
        (UNMANAGED, True, None, "nobody", False),
        (TimeSharing(caps="all"), False, None, "all", False),
        (TimeSharing(caps="training"), False, None, "training", False),
        (TimeSharing(width="limit", caps="all"), True, "limit", "all", False),
        (PrioritySharing(), True, None, "nobody", True),
        (FRACTION, True, None, "nobody", True),
    ],
)
def test_ways_of_sharing(
    sharing: Sharing, mps: bool, percentage: str | None, held: str, prioritised: bool
) -> None:
    """Percentages for what does not change, gates for what does, the driver's slices for turns."""
    means = means_of(sharing)
    assert (means.mps, means.percentage, means.held, means.prioritised) == (
        mps,
        percentage,
        held,
        prioritised,
    )


@pytest.mark.parametrize(
    ("sharing", "held", "note"),
    [
        (MPS_CAPS, "all", "rates of launches, not parts of the SMs"),
        (LAUNCH_TOKENS, "all", None),
        (UNMANAGED, "nobody", None),
        (PrioritySharing(), "nobody", "no priorities without MPS"),
        (TimeSharing(width="limit"), "training", None),
    ],
)
def test_without_mps_caps_become_rates(sharing: Sharing, held: str, note: str | None) -> None:
    """Nothing of MPS is left, and what that takes away is said."""
    before = means_of(sharing)
    after = before.without_mps()
    assert (after.mps, after.percentage, after.prioritised, after.held) == (False, None, False, held)
    new = [line for line in after.notes if line not in before.notes]
    assert len(new) == (note is not None)
    assert note is None or note in new[0]
    assert after.without_mps() == after


def test_what_a_device_does_not_do_is_said() -> None:
    """Turns by request, partitions that take turns, priorities that preempt."""
    assert "not by requests" in means_of(TimeSharing(weights="request")).notes[0]
    assert "take no turns" in means_of(TimeSharing(width="limit")).notes[0]
    assert "nothing is preempted" in means_of(PrioritySharing()).notes[0]
    assert means_of(LAUNCH_TOKENS).notes == ()


@given(st.sampled_from(["all", "training", "nobody"]), st.booleans())
def test_training_is_held_wherever_servers_are(held: str, mps: bool) -> None:
    """Nobody holds a server and lets training go."""
    means = Means(mps, held=held)  # type: ignore[arg-type]
    assert means.holds(training=True) == (held != "nobody")
    assert means.holds(training=False) == (held == "all")


@given(st.lists(st.booleans(), max_size=5), st.booleans())
def test_a_run_is_called_mps_only_if_every_worker_says_so(clients: list[bool], held: bool) -> None:
    """One that is no client is enough."""
    label = mechanism(clients, held=held, gated=True)
    assert label.startswith("mps") == (bool(clients) and all(clients))
    assert label.endswith("+gate") == held


@pytest.mark.parametrize(
    ("clients", "held", "gated", "label"),
    [
        ([True, True], True, True, "mps+gate"),
        ([True], False, True, "mps"),
        ([True], False, False, "mps, ungated"),
        ([False, True], True, True, "partly mps+gate"),
        ([False], True, True, "time slicing+gate"),
        ([False], False, True, "time slicing"),
        ([], False, False, "time slicing, ungated"),
    ],
)
def test_labels(clients: list[bool], held: bool, gated: bool, label: str) -> None:
    """The labels that docs/real-world.md lists."""
    assert mechanism(clients, held=held, gated=gated) == label
