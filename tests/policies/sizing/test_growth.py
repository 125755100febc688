from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.functions import Function, PolicyError, Size
from policies.sizing import (
    DiluSizing,
    ExclusiveSizing,
    SizingError,
    StaticSizing,
    TrainingSizing,
    bisection,
    hgss,
)
from profiles import LatencySurface, StepCurve, load_catalog

CATALOG = load_catalog()


def served(name: str) -> Function:
    """Return a serving function with the model's defaults."""
    model = CATALOG.model(name)
    return Function(name, model.kind, model, model.memory_bytes, model.slo_s, model.output_tokens)


def trained(name: str) -> Function:
    """Return a training function with the model's defaults."""
    model = CATALOG.model(name)
    assert model.training is not None
    return Function(name, "training", model, model.training.memory_bytes, workers=model.training.workers)


@pytest.mark.parametrize(
    ("name", "qos_s", "batch", "request_share", "trials"),
    [
        ("resnet152", 0.040, 16, 0.3, 9),
        ("roberta-large", 0.060, 4, 0.2, 6),
        ("roberta-large", 0.050, 4, 0.3, 7),
        ("gpt2-large", 0.060, 4, 0.3, 7),
        ("llama2-7b", 0.042, 8, 0.5, 10),
        ("llama2-7b", 0.050, 8, 0.4, 9),
        ("bert-base", 0.050, 4, 0.1, 5),
    ],
)
def test_growth_search_finds_the_published_operating_points(
    name: str, qos_s: float, batch: int, request_share: float, trials: int
) -> None:
    """On the published measurements the search ends at the batches that Dilu's servers use."""
    model = CATALOG.model(name)
    size = hgss(model.measure, qos_s, max_batch=model.max_batch, output_tokens=model.output_tokens)
    assert size == Size(batch, request_share, min(1.0, 2 * request_share), trials)


@pytest.mark.parametrize(
    ("name", "paper_trials"), [("resnet152", 8), ("roberta-large", 6), ("gpt2-large", 6), ("llama2-7b", 9)]
)
def test_growth_search_takes_the_paper_s_number_of_trials(name: str, paper_trials: int) -> None:
    """Each search is within one trial of Table 2."""
    size = DiluSizing().size(served(name), CATALOG.model(name).measure)
    assert abs(size.trials - paper_trials) <= 1


@pytest.mark.parametrize(
    ("name", "request_share", "limit"),
    [
        ("bert-base", 0.3, 0.9),
        ("roberta-large", 0.5, 0.9),
        ("resnet152", 0.3, 0.6),
        ("llama2-7b", 0.5, 0.9),
    ],
)
def test_bisection_gives_the_deployed_training_quotas(name: str, request_share: float, limit: float) -> None:
    """The shipped step curves reproduce the quotas of Dilu's deployment scripts."""
    size = DiluSizing().size(trained(name), CATALOG.model(name).measurement("training"))
    assert (size.batch, size.request, size.limit) == (1, request_share, limit)


@given(st.floats(0.0, 1.0), st.floats(0.01, 1.0), st.floats(1.0, 8.0), st.floats(0.1, 1.0))
def test_bisection_finds_the_smallest_share_that_reaches_the_fraction(
    floor_s: float, work_s: float, g: float, fraction: float
) -> None:
    """The share found reaches the throughput, one step less does not, and few shares are tried for it."""
    curve = StepCurve(floor_s, work_s, g)
    share, trials = bisection(curve.seconds, fraction=fraction)

    def reaches(share: float) -> bool:
        return curve.seconds(1.0) >= (fraction - 0.02) * curve.seconds(share)

    assert reaches(share)
    assert share <= 0.05 or not reaches(round(share - 0.05, 6))
    assert trials <= 1 + 5


def test_training_counts_a_share_once() -> None:
    """Request and limit share the measurements that both need."""
    measured: list[float] = []

    def measure(batch: int, share: float) -> float:
        measured.append(share)
        return StepCurve(0.1, 0.1, 2.0).seconds(share)

    size = TrainingSizing().size_training(measure)
    assert size.trials == len(measured) == len(set(measured))


def test_a_limit_is_never_below_the_request() -> None:
    """Noise that makes a small share look fastest cannot turn the two around."""
    noisy = {1.0: 1.0, 0.5: 0.9}
    size = TrainingSizing().size_training(lambda batch, share: noisy.get(share, 2.0))
    assert size.request <= size.limit


@given(
    st.floats(1e-3, 0.1),
    st.floats(0.0, 0.01),
    st.floats(1e-5, 0.01),
    st.floats(0.0, 0.01),
    st.floats(1.0, 10.0),
    st.floats(0.001, 0.5),
)
def test_what_growth_search_returns_meets_the_target(
    l0_s: float, f1_s: float, w1_s: float, w0_s: float, g: float, qos_s: float
) -> None:
    """Either the size executes in time, or no share serves a single request in time and the error says so."""
    latency = LatencySurface(l0_s, f1_s, w1_s, w0_s, g)
    try:
        size = hgss(latency.seconds, qos_s)
    except SizingError:
        assert latency.seconds(1, 1.0) > qos_s
    else:
        assert latency.seconds(size.batch, size.request) <= qos_s
        assert size.limit == min(1.0, round(2 * size.request, 6))
        assert size.trials <= 10 + 2 * 5


def test_growth_search_stops_where_efficacy_drops() -> None:
    """A batch that meets the target with one more step, but far less efficiently, is not taken."""
    seconds = {(1, 0.1): 0.01, (2, 0.1): 0.2, (2, 0.2): 0.09}  # 10 req/s a point, then 1.1
    size = hgss(lambda batch, share: seconds[batch, share], 0.1)
    assert size == Size(1, 0.1, 0.2, 3)
    tolerant = hgss(lambda batch, share: seconds.get((batch, share), 9.0), 0.1, te_drop=10.0)
    assert (tolerant.batch, tolerant.request) == (2, 0.2)


def test_growth_search_stays_within_the_largest_batch() -> None:
    """A target that anything meets stops at the largest batch that was profiled."""
    assert hgss(lambda batch, share: 0.001, 1.0, max_batch=8).batch == 8


def test_an_unreachable_slo_names_function_target_and_best() -> None:
    """Whoever asked for too little time learns how little there could have been."""
    hurried = replace(served("roberta-large"), slo_s=0.01)
    with pytest.raises(
        SizingError, match=r"roberta-large: slo_s: .* 0\.005 s, the fastest of 10 trials took 0\.02"
    ):
        DiluSizing().size(hurried, hurried.model.measure)


def test_serving_without_an_slo_is_refused() -> None:
    """There is nothing to size a serving function by without a target."""
    with pytest.raises(SizingError, match="bert-base: slo_s: found none"):
        DiluSizing().size(replace(served("bert-base"), slo_s=None), CATALOG.model("bert-base").measure)


@pytest.mark.parametrize(("quota", "share"), [("request", 0.3), ("limit", 0.6)])
def test_static_sizing_uses_one_share_of_dilu_s(quota: str, share: float) -> None:
    """A static quota is request and limit at once; what profiling found necessary is kept."""
    size = StaticSizing(quota=quota).size(served("resnet152"), CATALOG.model("resnet152").measure)  # type: ignore[arg-type]
    assert size == Size(16, share, share, 9, need=0.3)


def test_exclusive_sizing_takes_the_whole_gpu() -> None:
    """The batch is Dilu's, the share is 1, in serving and in training."""
    assert ExclusiveSizing().size(served("resnet152"), CATALOG.model("resnet152").measure) == Size(
        16, 1.0, 1.0, 9, need=0.3
    )
    training = ExclusiveSizing().size(
        trained("bert-base"), CATALOG.model("bert-base").measurement("training")
    )
    assert (training.request, training.limit, training.needed) == (1.0, 1.0, 0.3)


@pytest.mark.parametrize(
    "changes",
    [
        {"share_step": 0.0},
        {"slo_fraction": 1.5},
        {"te_drop": -0.1},
        {"limit_factor": 0.5},
        {"request_fraction": 0.0},
        {"limit_fraction": 0.5},
        {"tolerance": 0.9},
        {"resolution": 2.0},
    ],
)
def test_impossible_constants_are_refused(changes: dict[str, float]) -> None:
    """The message names the constant."""
    with pytest.raises(PolicyError, match=next(iter(changes))):
        DiluSizing(**changes)


def test_an_impossible_quota_is_refused() -> None:
    """A static quota is one of Dilu's two."""
    with pytest.raises(PolicyError, match="quota: found 'half', allowed are request, limit"):
        StaticSizing(quota="half")  # type: ignore[arg-type]
