from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import ModelProfile, ProfileError, load_catalog
from realgpu.errors import RealGpuError
from realgpu.workers import (
    Begin,
    Done,
    Failed,
    Finished,
    Message,
    Ready,
    Run,
    Stop,
    Stopped,
    decode,
    encode,
    packed,
)
from realgpu.workers.protocol import LONGEST_LINE, unpacked

INDEX = st.integers(0, 2**63 - 1)
COUNT = st.integers(1, 2**63 - 1)
TIME = st.integers(-(2**63), 2**63 - 1)
STEPS = st.floats(0, 1e300)
TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | INDEX | STEPS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MAPPING = st.dictionaries(TEXT, JSON, max_size=4)

MESSAGES = st.one_of(
    st.builds(
        Begin,
        board=TEXT,
        seats=st.lists(INDEX, min_size=1, max_size=4).map(tuple),
        backend=st.sampled_from(["virtual", "cpu", "cuda"]),
        job=st.sampled_from(["serve", "train"]),
        model=TEXT,
        profile=TEXT,
        batch=COUNT,
        sharing=TEXT,
        interference=st.none() | TEXT,
        iterations=st.none() | COUNT,
        seed=INDEX,
        models=st.lists(TEXT, max_size=3).map(tuple),
        options=MAPPING,
    ),
    st.builds(Run, first=INDEX, count=COUNT, iterations=COUNT),
    st.builds(Stop),
    st.builds(Ready, at_ns=TIME, loaded=MAPPING),
    st.builds(Done, first=INDEX, count=COUNT, start_ns=TIME, end_ns=TIME),
    st.builds(Finished, steps=STEPS, at_ns=TIME),
    st.builds(Failed, reason=TEXT, at_ns=TIME),
    st.builds(Stopped, steps=STEPS, at_ns=TIME),
)

BEGIN: dict[str, Any] = {
    "board": "/b",
    "seats": (0,),
    "backend": "virtual",
    "job": "serve",
    "model": "m",
    "profile": "",
    "batch": 1,
    "sharing": "",
    "interference": None,
    "iterations": None,
    "seed": 0,
    "models": (),
    "options": {},
}


@given(MESSAGES)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    """A message is one line of ASCII, and decodes to an equal message."""
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode(line) == message


@given(MESSAGES, st.data())
def test_a_field_more_or_less_is_refused(message: Message, data: st.DataObject) -> None:
    """Without any one of its fields, or with one that nobody knows, a message is none."""
    told = json.loads(encode(message))
    with pytest.raises(RealGpuError, match="'extra'"):
        decode(json.dumps({**told, "extra": 1}).encode())
    name = data.draw(st.sampled_from([*[declared.name for declared in fields(message)], "kind"]))
    del told[name]
    with pytest.raises(RealGpuError, match=name):
        decode(json.dumps(told).encode())


@given(MESSAGES, st.data())
def test_damage_is_refused_or_is_another_message(message: Message, data: st.DataObject) -> None:
    """However bytes are changed or cut off, the outcome is a valid message or the one error, in one line."""
    line = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(line[: data.draw(st.integers(0, len(line)))])
    fault = ""
    try:
        found = decode(cut)
    except RealGpuError as error:
        fault = str(error)
    else:
        assert decode(encode(found)) == found
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b'["run"]', "allowed is an object"),
        (b'{"kind":"walk"}', "kind: found 'walk'"),
        (b'{"kind":["run"]}', "kind: found"),
        (b'{"kind":"stop","kind":"stop"}', "twice"),
        (b'{"kind":"run","first":0,"count":0,"iterations":1}', "run: count: found 0"),
        (b'{"kind":"run","first":-1,"count":1,"iterations":1}', "run: first: found -1"),
        (b'{"kind":"run","first":true,"count":1,"iterations":1}', "run: first: found True"),
        (b'{"kind":"run","first":1.0,"count":1,"iterations":1}', "run: first: found 1.0"),
        (b'{"kind":"run","first":9223372036854775808,"count":1,"iterations":1}', "run: first"),
        (b'{"kind":"finished","steps":NaN,"at_ns":0}', "not JSON"),
        (b'{"kind":"finished","steps":1e999,"at_ns":0}', "not JSON"),
        (b'{"kind":"finished","steps":-1.0,"at_ns":0}', "finished: steps: found -1.0"),
        (b'{"kind":"finished","steps":' + b"1" * 400 + b',"at_ns":0}', "finished: steps"),
        (b'{"kind":"ready","at_ns":0,"loaded":[]}', "ready: loaded"),
        (b'{"kind":"failed","reason":null,"at_ns":0}', "failed: reason: found None"),
        (b" " * LONGEST_LINE + b" ", "bytes"),
    ],
)
def test_what_is_no_message_is_named(line: bytes, fault: str) -> None:
    """Each way to be wrong has an error that says which."""
    with pytest.raises(RealGpuError, match=fault):
        decode(line)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("backend", "gpu", "'virtual' or 'cpu' or 'cuda'"),
        ("job", "rest", "'serve' or 'train'"),
        ("seats", (), "one GPU at least"),
        ("seats", [0], "a tuple"),
        ("seats", (0, -1), "from 0"),
        ("iterations", 0, "from 1 or null"),
        ("options", {1: 2}, "by text"),
        ("batch", None, "from 1"),
        ("models", (1,), "text"),
    ],
)
def test_what_no_begin_may_say_is_refused_when_it_is_made(field: str, value: Any, allowed: str) -> None:
    """Both ends are held to the contract, not only the one that reads."""
    with pytest.raises(RealGpuError, match=f"begin: {field}: found .*{allowed}"):
        Begin(**{**BEGIN, field: value})


@pytest.mark.parametrize("value", [float("inf"), object(), {1, 2}])
def test_what_json_has_no_word_for_is_not_sent(value: Any) -> None:
    """Options hold anything that JSON can say, and nothing else."""
    with pytest.raises(RealGpuError, match="begin: cannot be written"):
        encode(Begin(**{**BEGIN, "options": {"x": value}}))


def test_a_line_may_be_a_mebibyte() -> None:
    """The longest line passes both ways, one byte more neither."""
    overhead = len(encode(Failed("", 0)))
    longest = Failed("x" * (LONGEST_LINE - overhead), 0)
    assert len(encode(longest)) == LONGEST_LINE
    assert decode(encode(longest)) == longest
    with pytest.raises(RealGpuError, match="found 1048577 bytes"):
        encode(Failed("x" * (LONGEST_LINE - overhead + 1), 0))


def test_profiles_travel_packed() -> None:
    """Every shipped profile comes out as it went in, and fits a message many times."""
    for profile in load_catalog().models.values():
        text = packed(profile)
        assert unpacked(text, ModelProfile, "here") == profile
        assert len(text) < LONGEST_LINE / 10


@pytest.mark.parametrize("text", ["", "?", "AAAA", packed(1), packed(ProfileError("x"))])
def test_what_is_no_packed_profile_is_refused(text: str) -> None:
    """Damaged text and other objects have one error, which says where they stood."""
    with pytest.raises(RealGpuError, match=r"^here: "):
        unpacked(text, ModelProfile, "here")
