from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments import ExperimentError, load_experiment, resolve
from policies import Deployment
from traces import Trace, write_trace

HEAD = "cluster: {nodes: 2, gpus_per_node: 4}\nsystems: [dilu]\n"
TWO = "functions: [{name: a, model: vgg19}, {name: b, model: resnet152}]\n"
LLM = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{second:02d}.0000000,100,{tokens}\n" for second, tokens in enumerate((5, 7, 0, 12))
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rate series, an LLM trace, and a trace of three functions in the project's own form."""
    monkeypatch.setenv("DILU_TRACES", str(tmp_path / "fetched"))
    (tmp_path / "two.txt").write_text("2\n2\n2\n2\n")
    (tmp_path / "one.txt").write_text("1\n1\n")
    (tmp_path / "llm.csv").write_text(LLM)
    arrivals = {"x": [0.5, 1.5, 2.5], "y": [0.25], "z": [3.0, 3.5]}
    write_trace(tmp_path / "own.parquet", Trace.from_functions(arrivals, duration_s=4.0))
    return tmp_path


def deployed(folder: Path, body: str) -> Deployment:
    """Write an experiment and resolve its workload."""
    path = folder / "lab.yaml"
    path.write_text(HEAD + body)
    return resolve(load_experiment(path)).deployment


def test_parts_stand_side_by_side(folder: Path) -> None:
    """Each part is read and transformed by itself, named, and the whole covers the longest of them."""
    deployment = deployed(
        folder,
        TWO
        + """\
workload:
  trace:
    parts:
      - {path: two.txt, function: b, transforms: [window: {start_s: 1, end_s: 3}]}
      - {path: one.txt, function: a, options: {scale: 3, step_s: 2}}
""",
    )
    assert [len(own) for own in deployment.arrivals] == [12, 4]
    assert deployment.duration_s == 4.0


def test_transforms_come_after_reading_and_after_merging(folder: Path) -> None:
    """Steps are done in order; those of the whole see all parts."""
    deployment = deployed(
        folder,
        """\
functions: [{name: z, model: vgg19}]
workload:
  trace: {path: own.parquet, transforms: [{top: 2}, {only: z}, {window: {start_s: 3.25, end_s: 4}}]}
""",
    )
    assert [own.tolist() for own in deployment.arrivals] == [[0.25]]
    merged = deployed(
        folder,
        TWO
        + """\
workload:
  trace:
    parts: [{path: two.txt, function: a}, {path: one.txt, function: b}]
    transforms: [{compress_time: 2}]
""",
    )
    assert merged.duration_s == 2.0
    assert [len(own) for own in merged.arrivals] == [8, 2]


def test_the_only_function_of_a_trace_is_the_only_one_served(folder: Path) -> None:
    """Nobody needs to know what a reader calls the one function of its file."""
    body = "functions: [{name: chat, model: llama2-7b}]\nworkload: {trace: {path: llm.csv}}\n"
    deployment = deployed(folder, body)
    assert deployment.functions[0].name == "chat"
    assert deployment.arrivals[0].tolist() == [0.0, 1.0, 2.0, 3.0]
    tokens = deployment.output_tokens[0]
    assert tokens is not None
    assert tokens.tolist() == [5, 7, 1, 12]


def test_an_llm_is_taken_to_answer_as_its_trace_does(folder: Path) -> None:
    """Without a word of the experiment, the function's output tokens are the mean of the trace's."""
    body = "functions: [{name: chat, model: llama2-7b%s}]\nworkload: {trace: {path: llm.csv}}\n"
    assert deployed(folder, body % "").functions[0].output_tokens == round(np.mean([5, 7, 1, 12]))
    assert deployed(folder, body % ", output_tokens: 40").functions[0].output_tokens == 40


def test_a_trace_is_synthesized_where_no_file_is_named(folder: Path) -> None:
    """`synthesize` takes the place of a path; every function of it is mapped."""
    deployment = deployed(
        folder,
        """\
workload:
  trace:
    synthesize: {functions: 6, hours: 1, max_rate_rps: 1, invoked_only: true}
    map: {rule: by-hash, models: {vgg19: 1, bert-base: 1}}
""",
    )
    assert len(deployment.functions) == 6
    assert all(len(own) for own in deployment.arrivals)
    assert deployment.duration_s == 3600.0


def test_rules_say_which_model_serves_whom(folder: Path) -> None:
    """`by-rule` tries its rules in order."""
    deployment = deployed(
        folder,
        """\
workload:
  trace:
    path: own.parquet
    map: {rule: by-rule, rules: [{model: vgg19, name: "[xy]"}, {model: bert-base, min_rps: 0.1}]}
""",
    )
    assert [f.model.name for f in deployment.functions] == ["vgg19", "vgg19", "bert-base"]


def test_another_trace_may_be_of_another_format(folder: Path) -> None:
    """`--trace` replaces a trace with its format and the options of that; in the file a format is kept to."""
    path = folder / "lab.yaml"
    own = "path: none, format: azure-functions-2019, options: {spread: poisson}"
    path.write_text(f"{HEAD}workload: {{trace: {{{own}, map: {{models: {{vgg19: 1}}, rule: by-hash}}}}}}\n")
    given = load_experiment(path, trace=folder / "own.parquet")
    assert [function.name for function in resolve(given).deployment.functions] == ["x", "y", "z"]
    with pytest.raises(ExperimentError, match=r"own\.parquet: .*HashApp"):
        resolve(load_experiment(path, changes=[f"workload.trace.path={folder / 'own.parquet'}"]))


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ("{path: two.txt, options: {arrival: even}}", r"trace\.options\.arrival: .*did you mean 'arrivals'"),
        (
            "{path: two.txt, options: {scale: fast}}",
            r"trace\.options\.scale: found 'fast', allowed is a finite",
        ),
        ("{path: two.txt, options: {arrivals: odd}}", r"trace\.options\.arrivals: found 'odd', allowed"),
        ("{path: two.txt, format: rates}", r"lab\.yaml:3: workload\.trace\.format: found 'rates'"),
        ("{path: own.parquet, function: a}", r"trace\.function: found 'a' for a trace of 3 functions"),
        ("{path: two.txt, transforms: [{tops: 3}]}", r"trace\.transforms\[0\]: found 'tops'.*did you mean"),
        (
            "{path: two.txt, transforms: [{top: 1}, {window: {start_s: 0, end_s: 9}}]}",
            r"trace\.transforms\[1\]\.window\.end_s: found 9",
        ),
        ("{parts: [{path: two.txt}, {path: two.txt}]}", r"trace\.parts: .*name it by `function`"),
        (
            "{parts: [{path: two.txt}], path: one.txt}",
            r"workload\.trace: found parts and path, allowed is one",
        ),
        ("{parts: [{path: none.txt}]}", r"none\.txt: "),
        ("{path: burstgpt-400}", r"trace\.path: is not fetched; `dilu traces fetch burstgpt-400` gets it"),
        ("{synthesize: {functions: 3, hours: 9e9}}", r"trace\.synthesize\.hours: found"),
        ("{path: lab.yaml}", r"lab\.yaml: found text 'cluster: .*which is of no known format"),
        (
            "{path: own.parquet, map: {rule: by-rule, models: {vgg19: 1}}}",
            r"map: allowed are rules and no models",
        ),
        (
            "{path: own.parquet, map: {rule: by-rule, rules: [{model: vgg19, name: x}]}}",
            r"trace\.map.*'y'",
        ),
        (
            "{path: own.parquet, map: {rule: by-rule, rules: [{model: vgg}]}}",
            r"rules\[0\]\.model: found 'vgg'",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(folder: Path, trace: str, message: str) -> None:
    """File, key and mend are named, wherever in the section the fault lies."""
    with pytest.raises(ExperimentError, match=message) as refusal:
        deployed(folder, f"workload: {{trace: {trace}}}\n" + ("" if "map" in trace else TWO))
    assert "\n" not in str(refusal.value)
