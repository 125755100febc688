"""Records, findings, the log and the table."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realgpu.checks import CheckRecord, Ledger, Log, Settings, table
from realgpu.checks import log as log_module
from realgpu.checks.mps_checks import numbers_of, ranges
from realgpu.checks.record import Findings, in_one_line, plain

THINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(THINGS)
def test_whatever_is_found_can_be_written(thing: object) -> None:
    """As strict JSON, and once written it reads the same."""
    written = json.dumps(plain(thing), allow_nan=False)
    assert plain(json.loads(written)) == json.loads(written)


@given(st.sets(st.integers(0, 300)))
def test_numbers_as_ranges_are_the_same_numbers(numbers: set[int]) -> None:
    """Ranges lose nothing."""
    assert numbers_of(ranges(sorted(numbers))) == numbers


def test_ranges_read_as_one_would_write_them() -> None:
    """Runs by their ends, single ones alone."""
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert ranges([]) == ""


def test_a_finding_is_written_at_once() -> None:
    """Before the check ends, whatever becomes of it."""
    reader, writer = os.pipe()
    findings = Findings(writer)
    findings.note("power", float("inf"))
    assert json.loads(os.read(reader, 100)) == {"found": {"power": None}}
    findings.conclude(False, "no")
    assert json.loads(os.read(reader, 100)) == {"passed": False, "reason": "no"}
    os.close(reader)
    os.close(writer)


def test_the_ledger_is_whole_after_each_record(tmp_path: Path) -> None:
    """A record that says that a check was not made gives way to one that says what came of it."""
    ledger = Ledger(tmp_path / "checks.json")
    for record in (
        CheckRecord("a", None, 0.0, {}, "skipped"),
        CheckRecord("b", True, 1.23456),
        CheckRecord("a", False, 2.0, {}, "no"),
        CheckRecord("b", False, 1.0),
    ):
        ledger.add(record)
        assert json.loads(ledger.path.read_text())[-1]["name"] == record.name
    kept = [(one["name"], one["passed"]) for one in json.loads(ledger.path.read_text())]
    assert kept == [("b", True), ("a", False), ("b", False)]
    assert [path.name for path in tmp_path.iterdir()] == ["checks.json"]


def test_a_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by one process's output nor by all of it."""
    monkeypatch.setattr(log_module, "MOST_BYTES", 1000)
    said: list[str] = []
    log = Log(tmp_path / "log.txt", said.append)
    output = tmp_path / "out"
    output.write_bytes(b"first\n" + b"x" * 5000 + b"\n\xff\xfelast\n")
    assert log.keep(output).endswith("last")
    for _ in range(100):
        log.say("a line")
    assert len(said) == 100
    text = log.path.read_text()
    assert len(text) < 1100
    assert text.endswith("[the log ends here]\n")
    assert log.keep(tmp_path / "none") == ""


def test_the_table_has_a_line_for_each_check_and_wraps_reasons() -> None:
    """Words for each end, what was found beside, and the sum."""
    records = [
        CheckRecord("short", True, 1.0, {"headline": "all well"}),
        CheckRecord("a_longer_name", False, 12.34, {}, "a reason " * 20),
        CheckRecord("third", None, 0.0, {}, "skipped: because"),
    ]
    lines = table(records).splitlines()
    assert lines[2] == "short          passed       1.0  all well"
    assert lines[3].startswith("a_longer_name  FAILED      12.3  a reason a reason")
    assert lines[4].startswith(" " * 33 + "reason a reason")
    assert lines[-1] == "1 passed, 1 failed, 1 not done"
    assert max(map(len, lines)) <= 110
    assert table([]).endswith("0 passed, 0 failed, 0 not done")


def test_settings_travel_as_json() -> None:
    """What a check is told is what was set."""
    settings = Settings(use_torch=False, launch_models=("a", "b"), disk_folder="/x")
    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == settings
    assert Settings.from_json(json.loads(json.dumps(Settings().as_json()))) == Settings()


def test_reasons_are_one_line() -> None:
    """Of a bounded length."""
    assert in_one_line("a\n  b\tc") == "a b c"
    assert len(in_one_line("x" * 1000)) == 400
