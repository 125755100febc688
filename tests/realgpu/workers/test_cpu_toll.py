from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_parent import Till, model, sit

from realgpu.board import Board
from realgpu.gate.layout import DEFAULT_DEADLINE_NS
from realgpu.workers.backends.board_gate import BoardGate
from realgpu.workers.backends.toll import LEAST_COST, QUANTUM_NS, Tariff, Toll
from realgpu.workers.seats import Seats

SECOND_NS = 1_000_000_000


def burn(cpu_s: float) -> None:
    """Use so much CPU time."""
    until_ns = time.process_time_ns() + round(cpu_s * 1e9)
    while time.process_time_ns() < until_ns:
        pass


@given(st.dictionaries(st.integers(0, 1000), st.integers(0, 10**9), min_size=1, max_size=5))
def test_a_size_that_was_seen_costs_what_it_took(seen: dict[int, int]) -> None:
    """In the fastest lesson of its name, whatever slower ones say; what was never seen is free."""
    tariff = Tariff()
    for size, cpu_ns in seen.items():
        assert tariff.learn(size, {("a", size): cpu_ns + 5})
        assert tariff.learn(size, {("a", size): cpu_ns})
        assert not tariff.learn(size, {("a", size): cpu_ns + 1})
    for size, cpu_ns in seen.items():
        assert tariff.cost("a", size) == cpu_ns
        assert tariff.cost("b", size) == 0


@given(
    st.dictionaries(st.integers(0, 1000), st.integers(0, 10**9), min_size=2, max_size=5), st.integers(0, 2000)
)
def test_between_sizes_cost_is_on_a_line(seen: dict[int, int], size: int) -> None:
    """It lies between the costs of the two sizes next to it; outside it is never below 0."""
    tariff = Tariff()
    for one, cpu_ns in seen.items():
        tariff.learn(one, {("a", one): cpu_ns})
    cost = tariff.cost("a", size)
    assert cost >= 0
    below, above = [one for one in seen if one <= size], [one for one in seen if one >= size]
    if below and above:
        low, high = max(below), min(above)
        part = (size - low) / (high - low) if high > low else 0.0
        assert cost == pytest.approx(seen[low] + part * (seen[high] - seen[low]), abs=1)


@pytest.mark.parametrize(("seen", "size", "cost"), [(4, 8, 200), (4, 2, 50), (0, 8, 100)])
def test_from_one_size_cost_is_proportional(seen: int, size: int, cost: int) -> None:
    """With a single size there is no line but the one through nothing."""
    tariff = Tariff()
    tariff.learn("lesson", {("a", seen): 100})
    assert tariff.cost("a", size) == cost


def test_a_lesson_counts_as_a_whole() -> None:
    """Of a faster lesson all pieces count, the slower ones too: no batch ran faster than that one."""
    tariff = Tariff()
    assert tariff.learn("lesson", {("a", 1): 10, ("b", 1): 50})
    assert tariff.learn("lesson", {("a", 1): 30, ("b", 1): 20})
    assert (tariff.cost("a", 1), tariff.cost("b", 1)) == (30, 20)


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
        toll.learnt("lesson")
    toll.settle()
    toll.put_up(till)
    assert till.charged == []
    burn(0.05)
    toll.done("a")
    assert sum(till.charged) == pytest.approx(4e6, rel=0.2)
    toll.done("b")
    assert sum(till.charged) == pytest.approx(6e6, rel=0.2)


def taught(cost_ns: int) -> tuple[Toll, Till]:
    """A toll that knows one piece of work, and the till it pays into."""
    toll, till = Toll(), Till()
    toll.begin()
    burn(cost_ns / 1e9)
    toll.done("piece")
    toll.learnt("lesson")
    toll.put_up(till)
    return toll, till


def test_small_debts_are_paid_together() -> None:
    """What is below the quantum waits for more, or for the end, which waits until all is earned."""
    toll, till = taught(round(QUANTUM_NS * 0.6))
    toll.done("piece")
    assert till.charged == []
    toll.done("piece")
    assert till.charged[0] == QUANTUM_NS
    toll.done("piece")
    toll.settle()
    toll.settle()
    assert till.charged.count(LEAST_COST) == 1
    assert till.charged[-1] == LEAST_COST
    assert sum(till.charged) == pytest.approx(1.8 * QUANTUM_NS, rel=0.2)


def test_large_debts_are_paid_in_parts() -> None:
    """None is so large that a small quota could not earn it before the gate's deadline."""
    toll, till = taught(5 * QUANTUM_NS)
    toll.done("piece")
    assert max(till.charged) == QUANTUM_NS
    assert sum(till.charged) >= 5 * QUANTUM_NS
    assert QUANTUM_NS / 0.01 < DEFAULT_DEADLINE_NS


def test_a_long_piece_of_work_is_held_to_a_small_quota(board: Board) -> None:
    """A hundredth of a second of work takes a second on a hundredth of a core, not a deadline of 200 ms."""
    sit(board, 0, model("bert-base"), quota=0.02)
    toll, _ = taught(10 * QUANTUM_NS)
    toll.put_up(BoardGate(Seats(board, [0]), SECOND_NS))
    begun = time.monotonic()
    toll.done("piece")
    toll.settle()
    assert time.monotonic() - begun > 0.45


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
