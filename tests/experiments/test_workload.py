from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from experiments import ExperimentError, load_experiment, resolve

HEAD = """\
cluster: {nodes: 2, gpus_per_node: 4}
systems: [dilu]
"""

INVOCATIONS = """\
HashOwner,HashApp,HashFunction,Trigger,1,2
o,a,slow,http,1,0
o,a,fast,http,3,60
"""
DURATIONS = """\
HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum
o,a,slow,9000,1,1,1
o,a,fast,20,1,1,1
"""

MAPPED = """\
workload:
  trace:
    path: traces
    min_instances: 0
    slo_factor: 3
    map: {models: {llama2-7b: 1, resnet152: 1}}
"""

SYNTHESIZED = """\
functions: [{name: a, model: vgg19}]
workload: {synthesize: {a: {kind: even, rate_rps: 1}}}
duration_s: 1
"""


def write(folder: Path, body: str) -> Path:
    """Write an experiment, and a small trace beside it."""
    (folder / "traces").mkdir()
    (folder / "traces" / "mini_invocations.csv").write_text(INVOCATIONS)
    (folder / "traces" / "mini_durations.csv").write_text(DURATIONS)
    (folder / "rates.txt").write_text("2\n0\n4\n")
    path = folder / "lab.yaml"
    path.write_text(HEAD + body)
    return path


def test_synthesized_arrivals_follow_the_seed(tmp_path: Path) -> None:
    """The same seed gives the same arrivals in [0, duration), another seed others."""
    path = write(
        tmp_path,
        "functions: [{name: a, model: resnet152}, {name: b, model: vgg19}]\n"
        "workload: {synthesize: {a: {kind: poisson, rate_rps: 50}}}\nduration_s: 10\n",
    )
    first, again, other = (resolve(load_experiment(path, seed=seed)).deployment for seed in (1, 1, 2))
    assert np.array_equal(first.arrivals[0], again.arrivals[0])
    assert not np.array_equal(first.arrivals[0], other.arrivals[0])
    assert len(first.arrivals[0]) > 100
    assert first.arrivals[0].max() < first.duration_s == 10
    assert len(first.arrivals[1]) == 0


def test_a_mapped_trace_deploys_every_function(tmp_path: Path) -> None:
    """Each function of a trace becomes a function of its model: the shortest runs get the fastest model."""
    experiment = load_experiment(write(tmp_path, MAPPED))
    workload = resolve(experiment)
    slow, fast = workload.deployment.functions
    assert (slow.name, slow.kind, slow.model.name) == ("slow", "llm", "llama2-7b")
    assert (fast.name, fast.kind, fast.model.name) == ("fast", "inference", "resnet152")
    assert fast.slo_s == pytest.approx(3 * experiment.catalog.model("resnet152").slo_s)
    assert fast.min_instances == 0
    assert [len(arrivals) for arrivals in workload.deployment.arrivals] == [1, 63]
    assert workload.deployment.duration_s == 120.0
    assert workload.provenance["mapping"]["rule"] == "by-duration"


def test_duration_cuts_a_trace(tmp_path: Path) -> None:
    """Arrivals at or after `duration_s` are left out."""
    deployment = resolve(load_experiment(write(tmp_path, MAPPED + "duration_s: 60\n"))).deployment
    assert [len(arrivals) for arrivals in deployment.arrivals] == [1, 3]
    assert deployment.duration_s == 60.0


def test_trainings_stand_beside_a_mapped_trace(tmp_path: Path) -> None:
    """Declared trainings are deployed with the trace's functions; a declared served function is refused."""
    path = write(tmp_path, MAPPED + "functions: [{name: job, model: bert-base, training: true}]\n")
    assert [f.name for f in resolve(load_experiment(path)).deployment.functions] == ["slow", "fast", "job"]
    served = load_experiment(path, changes=["functions=[{name: x, model: vgg19}]"])
    with pytest.raises(ExperimentError, match=r"functions\[0\]: found 'x'; with workload\.trace\.map"):
        resolve(served)


def test_without_a_map_functions_match_by_name(tmp_path: Path) -> None:
    """Declared functions take the trace's arrivals by name; others of the trace are ignored, and counted."""
    body = "workload: {trace: {path: traces}}\nfunctions: [{name: fast, model: vgg19}]\n"
    path = write(tmp_path, body)
    workload = resolve(load_experiment(path))
    assert [len(arrivals) for arrivals in workload.deployment.arrivals] == [63]
    assert workload.provenance["functions_ignored"] == 1
    with pytest.raises(ExperimentError, match=r"functions\[0\]\.name: found 'fsat'.*did you mean 'fast'"):
        resolve(load_experiment(path, changes=["functions[0].name=fsat"]))


def test_a_rate_series_feeds_one_function(tmp_path: Path) -> None:
    """A file of numbers is a rate series: its values, scaled, are the function's requests a second."""
    body = (
        "workload: {trace: {path: rates.txt, options: {scale: 10, arrivals: even}}}\n"
        "functions: [{name: vision, model: vgg19}]\n"
    )
    deployment = resolve(load_experiment(write(tmp_path, body))).deployment
    counts = np.histogram(deployment.arrivals[0], bins=[0, 1, 2, 3])[0]
    assert counts.tolist() == [20, 0, 40]
    assert deployment.duration_s == 3.0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (MAPPED.replace("traces", "nowhere"), r"nowhere: "),
        (
            MAPPED.replace("    path: traces\n", ""),
            r"workload\.trace\.path: found nothing; name one, or give --trace",
        ),
        (
            MAPPED.replace("resnet152", "resnet"),
            r"lab\.yaml:8: workload\.trace\.map\.models\.resnet: found 'resnet'",
        ),
        (
            MAPPED.replace("path: traces", "path: traces\n    options: {scale: 2}"),
            r"lab\.yaml:6: workload\.trace\.options\.scale: .*azure-functions-2019",
        ),
        (
            MAPPED.replace("path: traces", "path: traces\n    options: {sample: x}"),
            r"traces: sample: found 'x', which names 0 of mini_invocations\.csv",
        ),
        (
            SYNTHESIZED.replace("{a:", "{b:"),
            r"lab\.yaml:4: workload\.synthesize\.b: no such served function; allowed are a",
        ),
        (
            SYNTHESIZED.replace("even", "gamma"),
            r"lab\.yaml:4: workload\.synthesize\.a\.cv: is missing",
        ),
        (
            SYNTHESIZED.replace("duration_s: 1\n", ""),
            r"duration_s: found nothing, workload\.synthesize needs it",
        ),
        ("workload: {trace: {path: traces}}\n", r"functions: found none"),
        (
            MAPPED + "duration_s: 200\n",
            r"lab\.yaml:9: duration_s: found 200, allowed is up to 120, what the trace covers",
        ),
        (
            SYNTHESIZED.replace("rate_rps: 1", "rate_rps: 2.0e9"),
            r"lab\.yaml:4: workload\.synthesize: found 2e\+09 requests",
        ),
        (
            SYNTHESIZED.replace("even", "periodic").replace("rate_rps: 1", "rate_rps: 1, period_s: 1.0e-7"),
            r"lab\.yaml:4: workload\.synthesize\.a: period_s: found 1e-07, allowed is from 1e-05",
        ),
        (
            SYNTHESIZED.replace("rate_rps: 1", "rate_rps: 0").replace(
                "duration_s: 1", "duration_s: 1.0e+300"
            ),
            r"lab\.yaml:4: workload\.synthesize\.a: duration_s: found 1e\+300, allowed is above 0 and up to",
        ),
    ],
)
def test_workloads_that_do_not_fit_are_one_line(tmp_path: Path, body: str, message: str) -> None:
    """A trace that cannot be read, or does not fit functions or format, is said in one line."""
    with pytest.raises(ExperimentError, match=message) as caught:
        resolve(load_experiment(write(tmp_path, body)))
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_trace(tmp_path: Path) -> None:
    """A pipe, which might never end, is refused as a trace."""
    os.mkfifo(tmp_path / "pipe")
    traced = load_experiment(write(tmp_path, MAPPED), trace=tmp_path / "pipe")
    with pytest.raises(ExperimentError, match="pipe: is not a regular file"):
        resolve(traced)


def test_a_real_sample_is_mapped() -> None:
    """All functions of a real sample of the Azure trace are deployed, and no request is lost."""
    folder = os.environ.get("DILU_TRACE_DIR")
    if not folder:
        pytest.skip("DILU_TRACE_DIR names no folder with traces")
    trace = Path(folder) / "azure_functions_2019"
    experiment = load_experiment(
        "azure-functions", trace=trace, changes=["workload.trace.options.sample=sample10", "duration_s=null"]
    )
    deployment = resolve(experiment).deployment
    assert len(deployment.functions) == 10
    assert deployment.duration_s == 86_400.0
    assert sum(len(arrivals) for arrivals in deployment.arrivals) > 1_000
