from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import MODEL, function, training

from policies import PolicyError
from policies.functions import Function
from policies.start_up import PolledStartUp, SwapStartUp
from policies.testing import check_policy
from profiles import load_catalog


def of_size(gigabytes: float, kind: str = "inference") -> Function:
    """Return a function of a model with so many decimal gigabytes of weights."""
    return function(kind=kind, model=replace(MODEL, weights_bytes=int(gigabytes * 1e9)))


@pytest.mark.parametrize(
    ("gigabytes", "swap_s", "state_s"),
    [(13.0, 1.6, 1.4), (20.1, 2.1, 1.5), (24.5, 2.5, 1.9)],
    ids=["Llama3-8B", "Qwen-14B", "Llama2-13B"],
)
def test_torpor_s_table_of_large_models(gigabytes: float, swap_s: float, state_s: float) -> None:
    """One bandwidth gives the published swap-in times to 20 %, and all of the start-up as well."""
    assert SwapStartUp(llm_state_s=0.0).seconds(of_size(gigabytes, "llm")) == pytest.approx(swap_s, rel=0.2)
    assert SwapStartUp().seconds(of_size(gigabytes, "llm")) == pytest.approx(swap_s + state_s, rel=0.2)


def test_resnet152_swaps_in_as_torpor_measured() -> None:
    """.03 s for the weights and .26 s for the runtime state (Torpor, ATC 2025)."""
    resnet = load_catalog().model("resnet152")
    served = Function("resnet", "inference", resnet, resnet.memory_bytes, resnet.slo_s)
    assert SwapStartUp(state_s=0.0).seconds(served) == pytest.approx(0.03, rel=0.2)
    assert SwapStartUp().seconds(served) == pytest.approx(0.03 + 0.26, rel=0.1)


def test_the_swap_is_of_the_weights_and_no_container() -> None:
    """1 GB at 2 GB/s and half a second; the model's 2.25 s of cold start do not matter."""
    assert SwapStartUp(2e9, 0.5).seconds(of_size(1.0)) == pytest.approx(1.0)


def test_training_starts_cold() -> None:
    """Torpor does not train: the profile's parts as they are."""
    assert SwapStartUp().seconds(training()) == PolledStartUp(0.0, 0.0).seconds(training()) == 2.25


@pytest.mark.parametrize(
    ("field", "value"),
    [("bandwidth_bytes_per_s", 0.0), ("state_s", -1.0), ("llm_state_s", float("nan"))],
)
def test_impossible_swaps_are_refused(field: str, value: float) -> None:
    """A bandwidth above 0, and times from 0."""
    with pytest.raises(PolicyError, match=f"{field}: found {value}, allowed are finite"):
        SwapStartUp(**{field: value})


def test_swapping_conforms() -> None:
    """It keeps the slot's contract for every model of the catalog."""
    assert check_policy(SwapStartUp()) == ("start_up",)
