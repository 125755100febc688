"""Start-up from host memory: weights are swapped in, no container starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.functions import Function, PolicyError


@dataclass(frozen=True, slots=True)
class SwapStartUp:
    """Torpor's late binding (ATC 2025): weights lie in host memory and are swapped in over PCIe.

    seconds = weights / bandwidth + runtime state. The host is taken to hold every function's model. Training
    starts cold, with the parts of its profile: Torpor does not train.

    Attributes
    ----------
    bandwidth_bytes_per_s
        9.6e9, an idle PCIe 3.0 x16 link in practice. Torpor's table of swap-in times gives 8.1e9 (Llama3-8B,
        13 GB in 1.6 s), 9.6e9 (Qwen-14B, 20.1 GB in 2.1 s) and 9.8e9 (Llama2-13B, 24.5 GB in 2.5 s), and
        it also fits the small models if their weights alone move (ResNet-152, 0.24 of the 1.6 GB there,
        in .03 s). Beside other swaps BERT-qa took 1.6 times as long (149 to 240 ms): lower it for that.
    state_s, llm_state_s
        Runtime state: .25 s, between BERT-qa's .19 and ResNet-152's .26, and 1.5 s for an LLM, between
        Llama3-8B's 1.4 and Llama2-13B's 1.9 (ibid.).
    """

    bandwidth_bytes_per_s: float = 9.6e9
    state_s: float = 0.25
    llm_state_s: float = 1.5

    def __post_init__(self) -> None:
        bandwidth = self.bandwidth_bytes_per_s
        if not 0.0 < bandwidth < math.inf:
            raise PolicyError(f"bandwidth_bytes_per_s: found {bandwidth}, allowed are finite numbers above 0")
        for name in ("state_s", "llm_state_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed are finite seconds from 0")

    def seconds(self, function: Function) -> float:
        """Add the swap of the weights and the runtime state; a training's cold start."""
        if function.kind == "training":
            return function.model.startup.seconds()
        state_s = self.llm_state_s if function.kind == "llm" else self.state_s
        return function.model.weights_bytes / self.bandwidth_bytes_per_s + state_s
