from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preloaded import compiled

from realgpu.gate.bucket import Bucket
from realgpu.gate.layout import LARGEST_BURST, LARGEST_COST, SLOT_BYTES

NEVER = 2**64 - 1
BOOT_NS = 10**9

buckets = st.builds(
    lambda rate, burst, spent, tokens, last: Bucket(rate, burst, spent, max(0, spent + tokens), last),
    st.one_of(st.integers(0, 10), st.integers(0, 10**6), st.integers(0, 2**63)),
    st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
    st.integers(0, 2**60),
    st.integers(-(2**45), 2**45),
    st.integers(0, 2**55),
)


@pytest.fixture(scope="module")
def probe(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The arithmetic of the C side, on a slot and at a time of our choice."""
    path = compiled(
        compiler, "bucket_probe.c", tmp_path_factory.mktemp("probe") / "probe.so", "-shared", "-fPIC"
    )
    library = ctypes.CDLL(str(path))
    for name in ("granted", "last", "due"):
        getattr(library, f"probe_{name}").restype = ctypes.c_uint64
    library.probe_set.argtypes = [ctypes.c_void_p, *[ctypes.c_uint64] * 5]
    for name in ("refill", "due", "admits"):
        getattr(library, f"probe_{name}").argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    for name in ("granted", "last"):
        getattr(library, f"probe_{name}").argtypes = [ctypes.c_void_p]
    return library


@pytest.fixture(scope="module")
def slot_memory() -> Iterator[int]:
    """Address of a slot on a cache line of its own."""
    memory = ctypes.create_string_buffer(SLOT_BYTES + 64)
    yield -(-ctypes.addressof(memory) // 64) * 64
    del memory


@given(bucket=buckets, later_ns=st.one_of(st.integers(-10, 10**4), st.integers(0, 2**55)))
def test_c_and_python_fill_alike(probe: ctypes.CDLL, slot_memory: int, bucket: Bucket, later_ns: int) -> None:
    """From any bucket, at any later time, both sides grant the same and keep the same time."""
    now_ns = max(0, bucket.last_refill_ns + later_ns)
    probe.probe_set(
        slot_memory, bucket.rate, bucket.burst, bucket.spent, bucket.granted, bucket.last_refill_ns
    )
    probe.probe_refill(slot_memory, now_ns)
    found = (probe.probe_granted(slot_memory), probe.probe_last(slot_memory))
    assert found == bucket.refilled(now_ns)


@given(bucket=buckets, ahead=st.integers(-(2**44), 2**44))
def test_c_and_python_admit_alike(probe: ctypes.CDLL, slot_memory: int, bucket: Bucket, ahead: int) -> None:
    """Both sides admit the same tickets, and name the same time for the others."""
    ticket = max(0, bucket.granted + ahead)
    probe.probe_set(
        slot_memory, bucket.rate, bucket.burst, bucket.spent, bucket.granted, bucket.last_refill_ns
    )
    assert bool(probe.probe_admits(slot_memory, ticket)) == bucket.admits(ticket)
    due = bucket.due_ns(ticket)
    assert probe.probe_due(slot_memory, ticket) == (NEVER if due is None else min(due, NEVER))


@given(
    rate=st.integers(1, 10**9),
    burst=st.integers(0, 10**6),
    steps=st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 10**5)), min_size=1, max_size=60),
)
def test_no_window_passes_more_than_rate_and_burst_and_one_launch(
    rate: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    """What passes in any window is at most rate times its length, one burst, and the last launch."""
    bucket = Bucket(rate, burst, 0, 0, BOOT_NS)
    now_ns, passed = BOOT_NS, []
    for pause_ns, cost in steps:
        now_ns += pause_ns
        ticket = bucket.spent
        granted, last = bucket.refilled(now_ns)
        bucket = Bucket(rate, burst, ticket + cost, granted, last)
        if not bucket.admits(ticket):
            due = bucket.due_ns(ticket)
            assert due is not None
            now_ns = max(now_ns, due)
            granted, last = bucket.refilled(now_ns)
            bucket = Bucket(rate, burst, bucket.spent, granted, last)
        assert bucket.admits(ticket)
        passed.append((now_ns, cost))
    for first in range(len(passed)):
        total = 0
        for when, cost in passed[first:]:
            # A ticket passes with one token, and what came before it was spent by then.
            assert total < rate * (when - passed[first][0]) / 1e9 + burst + passed[first][1] + 2
            total += cost


@given(
    rate=st.integers(1, 10**9),
    pauses=st.lists(st.integers(1, 10**6), min_size=1, max_size=200),
)
def test_no_fraction_of_a_token_is_lost(rate: int, pauses: list[int]) -> None:
    """Many small refills grant what one large one does, up to the token that a nanosecond earns."""
    bucket = Bucket(rate, LARGEST_BURST, 0, 0, BOOT_NS)
    now_ns = BOOT_NS
    for pause_ns in pauses:
        now_ns += pause_ns
        granted, last = bucket.refilled(now_ns)
        bucket = Bucket(rate, LARGEST_BURST, 0, granted, last)
    at_once = rate * (now_ns - BOOT_NS) // 10**9
    lost_at_most = 1 + len(pauses) * rate // 10**9 + rate * len(pauses) / 10**9
    assert at_once - lost_at_most <= bucket.granted <= at_once


def test_one_launch_may_take_the_bucket_into_debt() -> None:
    """A kernel larger than the bucket passes with one token, and the next one waits for all of it."""
    bucket = Bucket(1000, 1, LARGEST_COST, 1, BOOT_NS)
    assert bucket.admits(0)
    assert not bucket.admits(LARGEST_COST)
    assert bucket.due_ns(LARGEST_COST) == BOOT_NS + LARGEST_COST * 10**6


def test_a_blocked_bucket_earns_nothing_for_its_time() -> None:
    """Time that passes at rate 0 is used up, so that it is worth nothing when the rate comes back."""
    assert Bucket(0, 100, 50, 50, BOOT_NS).refilled(2 * BOOT_NS) == (50, 2 * BOOT_NS)
    assert Bucket(0, 100, 50, 50, BOOT_NS).due_ns(50) is None
