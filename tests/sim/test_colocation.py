"""Inference beside training on one GPU, in bursts: the order of systems that the paper reports (Fig. 10)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated import NO_ARRIVALS, Ran, run, serves, trains

from policies import Size, System, find_system
from policies.placement import ComplementaryPlacement
from profiles import load_catalog

ROBERTA, BERT = load_catalog().model("roberta-large"), load_catalog().model("bert-base")
# The sizes of the testbed (sigserverless/Dilu @1134655, scheduling/scripts_deploy).
INFERENCE = serves(ROBERTA, Size(4, 0.3, 0.6), slo_s=0.12)
TRAINING = trains(BERT, Size(1, 0.3, 0.9))
DURATION_S = 300.0


def bursts(rate_rps: float, cv: float, seed: int) -> NDArray[np.float64]:
    """Per-second counts ~ Gamma(mean / cv^2, cv^2), evenly spaced: the workload generator of the artifact."""
    counts = np.random.default_rng(seed).gamma(rate_rps / cv**2, cv**2, int(DURATION_S)).astype(int)
    return np.concatenate([second + (np.arange(n) + 0.5) / n for second, n in enumerate(counts) if n])


def static_mps(quota: str) -> System:
    """MPS-l or MPS-r: caps at the limit or the request, both functions on one GPU (paper section 5.1)."""
    return dataclasses.replace(
        find_system(f"infless+-{quota}"),
        placement=ComplementaryPlacement(omega=2.0, gamma=2.0),
        horizontal=find_system("dilu").horizontal,
        keep_alive=None,
    )


def p95_ms(ran: Ran) -> float:
    """95th percentile of the inference latency."""
    _, ends = ran.starts_and_ends()
    return float(np.percentile(1e3 * (ends - ran.deployment.arrivals[0][: len(ends)]), 95))


def together(system: System, arrivals: NDArray[np.float64], *, gpus: int = 1) -> Ran:
    """Both functions under a system."""
    functions = [INFERENCE, TRAINING]
    return run(functions, [arrivals, NO_ARRIVALS], duration_s=DURATION_S, system=system, gpus_per_node=gpus)


@pytest.mark.parametrize("cv", [4.0, 6.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p95_under_bursts_orders_as_in_the_paper(cv: float, seed: int) -> None:
    """Exclusive < Dilu < MPS-r < MPS-l: vertical scaling gives bursts what a static request cannot."""
    arrivals = bursts(64.0, cv, seed)
    exclusive = p95_ms(together(find_system("exclusive"), arrivals, gpus=2))
    dilu = p95_ms(together(find_system("dilu"), arrivals))
    mps_r = p95_ms(together(static_mps("r"), arrivals))
    mps_l = p95_ms(together(static_mps("l"), arrivals))
    assert exclusive < dilu < mps_r < mps_l


def test_training_recovers_from_bursts() -> None:
    """Training throttled in bursts keeps a good part of a GPU; by the paper's rule alone hardly any."""
    arrivals = bursts(64.0, 4.0, seed=1)
    alone = together(find_system("exclusive"), arrivals, gpus=2).training["steps"][0]
    dilu = together(find_system("dilu"), arrivals).training["steps"][0]
    idle = find_system("dilu").with_config({"vertical.recover": "idle"})
    by_the_paper = together(idle, arrivals).training["steps"][0]
    assert dilu > 0.4 * alone
    assert by_the_paper < 0.2 * alone
