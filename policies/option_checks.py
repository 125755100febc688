"""The conformance suite for what only some policies do: choices, pre-warming, eviction, weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from policies.demands import decision, demand
from policies.functions import Choice, Function, PolicyError, Size
from policies.slots import Evicts, OffersChoices, Prewarms, WarmWindow, Weighs
from policies.still_views import StillFunction, StillInstance, still_functions
from profiles import load_catalog


def check_options(policy: object) -> None:
    """Hold a policy against each of the optional protocols that it fills."""
    options: tuple[tuple[type, Callable[[Any], None]], ...] = (
        (OffersChoices, _check_choices),
        (Prewarms, _check_prewarming),
        (Evicts, _check_eviction),
        (Weighs, _check_weights),
    )
    for protocol, check in options:
        if isinstance(policy, protocol):
            check(policy)


def _check_choices(policy: Any) -> None:
    pinned = Size(2, 0.3, 0.6)
    for model in load_catalog().models.values():
        serves = Function(model.name, model.kind, model, model.memory_bytes, model.slo_s, model.output_tokens)
        hurried = dataclasses.replace(serves, slo_s=1e-6)
        for function in (serves, hurried, dataclasses.replace(serves, size=pinned)):
            shown = f"{function.kind} function {function.name!r}, pinned to {function.size}"
            choices = _offered(policy, function, shown)
            if choices is None:
                continue
            demand(bool(choices), policy, "choices", "offers none, a PolicyError is due", shown)
            sizes = {(c.size.batch, c.size.request, c.size.limit) for c in choices}
            demand(len(sizes) == len(choices), policy, "choices", "offers one size twice", shown)
            for choice in choices:
                sound = (
                    choice.size.batch <= model.max_batch
                    and 0.0 < choice.service_s < math.inf
                    and 0.0 <= choice.least_rps <= choice.most_rps < math.inf
                    and choice.most_rps > 0.0
                )
                demand(sound, policy, "choices", f"offers {choice}", shown)
            if function.size is not None:
                demand(len(choices) == 1, policy, "choices", "offers a choice of a pinned size", shown)
                reserved, size = policy.reserve(pinned), choices[0].size
                demand(
                    size == reserved, policy, "choices", f"made {size} of {pinned}, which is pinned", shown
                )


def _offered(policy: Any, function: Function, shown: str) -> tuple[Choice, ...] | None:
    """Return the choices, or `None` where they are refused, as they may be unless the size is pinned."""
    measure = function.model.measurement(function.kind)
    refusal = PolicyError if function.size is None else AssertionError
    try:
        choices = decision(policy, "choices", function, measure, shown=shown, refusal=refusal)
    except PolicyError as error:
        named = function.name in str(error)
        demand(named, policy, "choices", f"raised {error!r}, which does not name the function", shown)
        return None
    sound = isinstance(choices, tuple) and all(isinstance(choice, Choice) for choice in choices)
    demand(sound, policy, "choices", f"returned {choices!r}, no tuple of choices", shown)
    return tuple(choices)


def _check_prewarming(policy: Any) -> None:
    for view in still_functions():
        window = decision(policy, "warm_window", view)
        demand(isinstance(window, WarmWindow), policy, "warm_window", f"returned {window!r}, no window", view)
        sound = 0.0 <= window.from_s <= window.until_s and window.from_s < math.inf
        demand(sound, policy, "warm_window", f"said {window}, allowed is 0 <= from_s <= until_s", view)
        if not view.counts:
            continue
        later = dataclasses.replace(view, counts=(*view.counts, 0))
        same = policy.warm_window(later) == window or view.counts[-1] > 0
        demand(same, policy, "warm_window", "changes its mind while nothing arrives", view)


def _check_eviction(policy: Any) -> None:
    for view in still_functions():
        worths = [decision(policy, "keep_priority", view, clock, shown=view) for clock in (0.0, 1.0, 1e6)]
        demand(not any(map(math.isnan, worths)), policy, "keep_priority", f"said {worths}", view)
        demand(worths == sorted(worths), policy, "keep_priority", f"falls as the clock rises: {worths}", view)


_CROWDS: tuple[tuple[StillInstance, ...], ...] = (
    (StillInstance(0),),
    (StillInstance(0), StillInstance(1, batch=1, service_s=0.03), StillInstance(2, batch=8, idle=False)),
    (StillInstance(4, ready=False, idle=False), StillInstance(7)),
    (StillInstance(4, ready=False, idle=False),),
)


@dataclasses.dataclass(frozen=True)
class _Crowded(StillFunction):
    """A function with these very instances."""

    crowd: tuple[StillInstance, ...] = ()

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        return self.crowd


def _check_weights(policy: Any) -> None:
    for crowd in _CROWDS:
        for rate in (0, 1, 20, 60, 500):
            for slo_s in (0.2, math.inf):
                view = _Crowded((rate,) * 3, live=len(crowd), slo_s=slo_s, crowd=crowd)
                weights = decision(policy, "weights", view)
                demand(
                    len(weights) == len(crowd),
                    policy,
                    "weights",
                    f"gave {len(weights)}, one an instance is due",
                    view,
                )
                sound = all(0.0 <= weight < math.inf for weight in weights)
                demand(sound, policy, "weights", f"gave {weights}, allowed are rates from 0", view)
                some = not any(one.ready for one in crowd) or any(
                    weight > 0.0 for weight, one in zip(weights, crowd, strict=True) if one.ready
                )
                demand(some, policy, "weights", f"leaves everybody who is ready idle: {weights}", view)
