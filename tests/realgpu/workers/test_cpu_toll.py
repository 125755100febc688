from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_parent import Till, model, sit

from realgpu.board import Board
from realgpu.gate.layout import DEFAULT_DEADLINE_NS
from realgpu.workers.backends.board_gate import BoardGate
from realgpu.workers.backends.toll import QUANTUM_NS, Tariff, Toll
from realgpu.workers.seats import Seats

SECOND_NS = 1_000_000_000


def burn(cpu_s: float) -> None:
    """Use so much CPU time."""
    until_ns = time.process_time_ns() + round(cpu_s * 1e9)
    while time.process_time_ns() < until_ns:
        pass


@given(
    st.dictionaries(st.integers(0, 1000), st.integers(0, 10**9), min_size=1, max_size=5), st.integers(0, 2000)
)
def test_cost_is_what_was_seen_or_on_a_line(seen: dict[int, int], size: int) -> None:
    """A size that was seen costs what it took; others lie on the line through the extremes, never below 0."""
    tariff = Tariff()
    for one, cpu_ns in seen.items():
        tariff.learn("a", one, cpu_ns + 5)
        tariff.learn("a", one, cpu_ns)
        tariff.learn("a", one, cpu_ns + 1)
    for one, cpu_ns in seen.items():
        assert tariff.cost("a", one) == cpu_ns
    assert tariff.cost("b", size) == 0
    assert tariff.cost("a", size) >= 0
    low, high = min(seen), max(seen)
    if size not in seen and low != high:
        line = seen[low] + (seen[high] - seen[low]) * (size - low) / (high - low)
        assert tariff.cost("a", size) == pytest.approx(max(0.0, line), abs=1)


@pytest.mark.parametrize(("seen", "size", "cost"), [(4, 8, 200), (4, 2, 50), (0, 8, 100)])
def test_from_one_size_cost_is_proportional(seen: int, size: int, cost: int) -> None:
    """With a single size there is no line but the one through nothing."""
    tariff = Tariff()
    tariff.learn("a", seen, 100)
    assert tariff.cost("a", size) == cost


def test_what_was_learnt_is_charged_whatever_it_takes_later() -> None:
    """A piece costs the CPU time that it took alone; waiting and more work later cost nothing."""
    toll, till = Toll(), Till()
    for _ in range(3):
        toll.begin()
        burn(0.004)
        time.sleep(0.005)
        toll.done("a")
        burn(0.002)
        toll.done("b")
    toll.settle()
    toll.put_up(till)
    assert till.charged == []
    burn(0.05)
    toll.done("a")
    toll.done("b")
    assert len(till.charged) == 2
    assert till.charged[0] == pytest.approx(4e6, rel=0.2)
    assert till.charged[1] == pytest.approx(2e6, rel=0.2)


def test_small_debts_are_paid_together() -> None:
    """What is below the quantum waits for more, or for the end."""
    toll, till = Toll(), Till()
    toll.begin()
    burn(QUANTUM_NS * 0.6e-9)
    toll.done("small")
    toll.put_up(till)
    toll.done("small")
    assert till.charged == []
    toll.done("small")
    (paid,) = till.charged
    assert paid >= QUANTUM_NS
    toll.done("small")
    toll.settle()
    toll.settle()
    assert till.charged == [paid, paid // 2]


@pytest.mark.parametrize("quota", [0.5, 0.2])
def test_the_board_gate_earns_the_quota(board: Board, quota: float) -> None:
    """Charged as fast as it lets, it lets through the quota of its capacity; best of three tries."""
    sit(board, 0, model("bert-base"), quota=quota)
    errors = []
    for _ in range(3):
        gate = BoardGate(Seats(board, [0]), SECOND_NS)
        begun = time.monotonic()
        for _ in range(100):
            gate.charge(QUANTUM_NS)
        errors.append(abs(0.1 / (time.monotonic() - begun) / quota - 1))
        gate.close()
    assert min(errors) < 0.08  # a bucket's worth and the last charge, of a hundred


def test_the_board_gate_follows_the_board(board: Board) -> None:
    """An instance on several GPUs goes at the least of its quotas, and a change is seen by who waits."""
    sit(board, 0, model("bert-base"), quota=1.0)
    sit(board, 1, model("bert-base"), gpu=1, quota=0.001)
    gate = BoardGate(Seats(board, [0, 1]), SECOND_NS)
    gate.charge(SECOND_NS // 100)
    begun = time.monotonic()
    gate.charge(1)  # waits for 10 ms of work to be earned at a thousandth: until the deadline
    assert time.monotonic() - begun >= DEFAULT_DEADLINE_NS / 1e9
    board.seats["quota"][1] = 1.0
    gate = BoardGate(Seats(board, [0, 1]), SECOND_NS)
    gate.charge(SECOND_NS // 100)
    took = []
    for _ in range(3):
        begun = time.monotonic()
        gate.charge(SECOND_NS // 100)
        took.append(time.monotonic() - begun)
    assert min(took) < DEFAULT_DEADLINE_NS / 2e9


def test_the_board_gate_saves_no_more_than_a_tick(board: Board) -> None:
    """Who pauses begins with a tick's worth beyond its first cost, not with all that it could have earned."""
    sit(board, 0, model("bert-base"), quota=0.5)
    gate = BoardGate(Seats(board, [0]), SECOND_NS)
    gate.charge(1)
    time.sleep(0.1)
    begun = time.monotonic()
    for _ in range(20):
        gate.charge(QUANTUM_NS)
    assert time.monotonic() - begun > (20 - 2 - 2.5) * 1e-3 / 0.5 * 0.95


def test_without_a_quota_nobody_waits_past_the_deadline(board: Board) -> None:
    """A quota of 0 holds every charge until the deadline, not for ever."""
    sit(board, 0, model("bert-base"), quota=0.0)
    gate = BoardGate(Seats(board, [0]), SECOND_NS)
    for _ in range(2):
        begun = time.monotonic()
        gate.charge(QUANTUM_NS)
        assert time.monotonic() - begun >= DEFAULT_DEADLINE_NS / 1e9
