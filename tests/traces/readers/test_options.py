from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from told_formats import columns

from dilu.traces.convert import convert
from traces import TraceError, read_trace
from traces.readers.formats import FORMATS, find_format
from traces.readers.options import Option, options_of, parsed_options

OPTIONS = [(entry.name, option) for entry in FORMATS.values() for option in entry.options.values()]
of_every_option = pytest.mark.parametrize(
    ("name", "option"), OPTIONS, ids=[f"{name} {option.name}" for name, option in OPTIONS]
)
ALLOWED: dict[type, list[Any]] = {
    int: [1, 0, 10**9],
    float: [1.5, 0.0, 2],
    str: ["text", ""],
    bool: [True, False],
}
REFUSED: dict[type, list[Any]] = {
    int: [1.0, "1", True, [1]],
    float: ["1.0", False, math.nan, math.inf, 10**400, {"a": 1}],
    str: [1, True, 1.5, ["a"], b"a"],
    bool: [1, 0.0, "true", []],
}


@of_every_option
def test_every_option_takes_its_kind_alone(name: str, option: Option) -> None:
    """A reader can be told one of four kinds or of some words; all else is refused, and the option named."""
    checked = FORMATS[name].checked
    allowed = list(option.choices) or ALLOWED[option.kind]
    refused = [*REFUSED[option.kind], *(["no such word", ""] if option.choices else [])]
    if option.default is None:
        assert checked({option.name: None}) == {option.name: None}
    else:
        refused.append(None)
    for value in allowed:
        (taken,) = checked({option.name: value}).values()
        assert taken == value
        assert type(taken) is option.kind
    for value in refused:
        with pytest.raises(TraceError) as caught:
            checked({option.name: value})
        assert caught.value.field == option.name
        assert f"found {value!r}"[:50] in str(caught.value)
        assert f"allowed is {option.allowed}" in str(caught.value)


@of_every_option
def test_every_default_is_allowed_and_in_the_help(name: str, option: Option) -> None:
    """What a reader does when it is told nothing is one of the things that it can be told."""
    assert option.checked(option.default) == option.default
    page = " ".join(CliRunner().invoke(convert, ["--help"]).output.split())
    default = "" if option.default is None else f" [{str(option.default).lower()}]"
    assert f"{option.name}={option.allowed}{default}" in page


@pytest.mark.parametrize(
    ("given", "near"),
    [("spred", "did you mean 'spread'"), ("seed", "it has spread, sample"), ("progress", "it has spread")],
)
def test_a_wrong_name_is_told_the_nearest(given: str, near: str) -> None:
    """Or all names, if none is near; what every reader is given anyway is no option."""
    with pytest.raises(TraceError, match=f"^{given}: is no option of format azure-functions-2019; {near}"):
        FORMATS["azure-functions-2019"].checked({given: 1})


def test_options_are_those_of_the_signature() -> None:
    """Kinds, choices and defaults are read from it, with or without None."""

    def read(
        path: Path,
        *,
        count: int = 1,
        share: float | None = None,
        way: Literal["a", "b"] | None = None,
        seed: int = 0,
        progress: object = None,
    ) -> None: ...

    with patch.dict(read.__globals__, Literal=Literal):
        assert options_of(read) == {
            "count": Option("count", int, (), 1),
            "share": Option("share", float, (), None),
            "way": Option("way", str, ("a", "b"), None),
        }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ticks=keep", "keep"),
        ("days=2", 2),
        ("scale=0.5", 0.5),
        ("scale=1e3", 1000.0),
        ("scale=1.e-3", 0.001),
        ("scale=+.5E2", 50.0),
        ("scale=-1", -1),
        ("function=1e3x", "1e3x"),
        ("truncate=true", True),
        ("function=''", ""),
        ("function='007'", "007"),
        ("function=a=b", "a=b"),
        ("sample=null", None),
        ("missing=nan", "nan"),
        ("window={start_s: 0, end_s: 1e2}", {"start_s": 0, "end_s": 100.0}),
        ("function=client: 5", {"client": 5}),
        ("only=[a, b]", ["a", "b"]),
    ],
)
def test_texts_are_read_as_yaml(text: str, value: object) -> None:
    """Values are of the kind that YAML gives them, and numbers with an exponent are numbers."""
    options = parsed_options([text])
    assert options == {text.partition("=")[0]: value}
    assert type(next(iter(options.values()))) is type(value)


def test_a_whole_number_is_written_as_one() -> None:
    """1e3 is a number, and none that counts."""
    with pytest.raises(TraceError, match=r"top: found 1000\.0, allowed is a whole number"):
        find_format("azure-functions-2019").checked(parsed_options(["top=1e3"]))


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["x"], "option: found 'x', allowed is KEY=VALUE"),
        (["x="], "option: found 'x=', allowed is KEY=VALUE"),
        (["x= "], "option: found 'x= ', allowed is KEY=VALUE"),
        (["=1"], "option: found '=1', allowed is KEY=VALUE"),
        ([""], "option: found '', allowed is KEY=VALUE"),
        (["a=[1"], "a: found '[1', which is no YAML"),
        (["a=2023-13-45"], "a: found '2023-13-45', which is no YAML"),
        (["a=*b"], "a: found '*b', which is no YAML"),
        (["a=!!python/object:os.system x"], "which is no YAML"),
        (["a=!!bool x"], "which is no YAML"),
        (["a=!!timestamp x"], "which is no YAML"),
        (["a=" + "[" * 10_000], "which is no YAML"),
        (["a=" + "9" * 5000], "which is no YAML"),
        (["a=1", "b=2", "a=1"], "a: stands twice"),
    ],
)
def test_texts_that_say_nothing_are_refused(texts: list[str], fault: str) -> None:
    """No key, no value, no YAML, or two values for one key."""
    with pytest.raises(TraceError, match=re.escape(fault)):
        parsed_options(texts)


@given(st.text(max_size=20) | st.text("!&*[]{}:,'\"0-9.e|>%@?#\n ab", max_size=20))
def test_any_text_is_a_value_or_one_error(text: str) -> None:
    """Nothing that a person can type is anything else than an option or a refusal."""
    refusal = None
    try:
        assert list(parsed_options([f"key={text}"])) == ["key"]
    except TraceError as error:
        refusal = str(error)
    assert refusal is None or len(refusal.splitlines()) == 1


@pytest.mark.parametrize("text", ["function=007", "function=yes", "function=2023-11-16", "function=1:30"])
def test_text_that_yaml_takes_for_something_else_is_to_be_quoted(text: str) -> None:
    """A name that looks like a number, a truth value or a date is not guessed at."""
    entry = find_format("azure-llm")
    with pytest.raises(TraceError, match=r"function: found .*, allowed is text; put it in quotes"):
        entry.checked(parsed_options([text]))
    name, _, value = text.partition("=")
    assert entry.checked(parsed_options([f"{name}='{value}'"])) == {name: value}


def test_the_seed_is_passed_on(trace_dir: Path) -> None:
    """Readers that draw get it, and readers that draw nothing are not disturbed by it."""
    kimi = trace_dir / "mooncake_fast25" / "conversation_trace.jsonl.gz"
    first, again, other = (read_trace(kimi, seed=seed).arrival_s for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    azure = trace_dir / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
    assert columns(read_trace(azure, seed=1)) == columns(read_trace(azure, seed=2))


def test_options_are_passed_on_and_checked(trace_dir: Path) -> None:
    """The reader gets them; a name or value that it does not take, or refuses itself, is named."""
    bursts = trace_dir / "infless" / "Bursty.txt"
    trace = read_trace(bursts, options={"function": "f", "scale": 2, "per": "minute", "step_s": 600})
    assert trace.functions == ("f",)
    assert trace.duration_s == 1007 * 600
    for options, field, fault in (
        ({"scales": 2}, "scales", "is no option of format rate-series; did you mean 'scale'"),
        ({"q": 2}, "q", "is no option of format rate-series; it has function, scale, per, step_s"),
        ({"seed": 2}, "seed", "is no option of format rate-series"),
        ({"path": "x"}, "path", "is no option of format rate-series"),
        ({"scale": "2"}, "scale", "found '2', allowed is a finite number"),
        ({"step_s": -1.0}, "step_s", "found -1.0, allowed is"),
    ):
        with pytest.raises(TraceError) as caught:
            read_trace(bursts, options=options)
        assert caught.value.field == field
        assert fault in str(caught.value)
    with pytest.raises(TraceError, match="function: is no option of format parquet; it has none"):
        find_format("parquet").checked({"function": "f"})
