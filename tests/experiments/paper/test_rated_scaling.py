from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.paper.studies.rated_scaling import (
    STATED_RPS,
    RatedEagerScaling,
    RatedLazyScaling,
    RatedResidualScaling,
)
from policies.horizontal import EagerScaling, LazyScaling, ResidualRateScaling
from policies.still_views import StillFunction
from policies.testing import check_policy

PAIRS = (
    (RatedLazyScaling, LazyScaling),
    (RatedEagerScaling, EagerScaling),
    (RatedResidualScaling, ResidualRateScaling),
)

functions = st.builds(
    StillFunction,
    counts=st.lists(st.integers(0, 300), max_size=60).map(tuple),
    live=st.integers(0, 5),
    waiting=st.integers(0, 3),
)


@pytest.mark.parametrize(("rated", "plain"), PAIRS)
def test_the_stated_throughput_counts(rated: type, plain: type) -> None:
    """Each decides as the policy it stands for would of a function that serves what is stated."""

    @given(function=functions, throughput_rps=st.floats(1.0, 300.0))
    def alike(function: StillFunction, throughput_rps: float) -> None:
        serves = dataclasses.replace(function, throughput_rps=throughput_rps)
        assert rated(throughput_rps=throughput_rps).scale(function) == plain().scale(serves)

    alike()


@pytest.mark.parametrize(("rated", "plain"), PAIRS)
def test_without_one_it_is_that_of_the_scripts(rated: type, plain: type) -> None:
    """A model that the artifact deploys has its throughput, any other what its profile says."""
    counts = (70,) * 40
    known = StillFunction(counts, model="roberta-large", throughput_rps=117.0)
    stated = dataclasses.replace(known, throughput_rps=STATED_RPS["roberta-large"])
    assert rated().scale(known) == plain().scale(stated) != plain().scale(known)
    other = StillFunction(counts, model="vgg19", throughput_rps=117.0)
    assert rated().scale(other) == plain().scale(other)


@pytest.mark.parametrize("rated", [rated for rated, _ in PAIRS])
def test_they_are_policies(rated: type) -> None:
    """The conformance suite finds nothing."""
    check_policy(rated())
    check_policy(rated(throughput_rps=48.0))
