from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from policies import PolicyError, find_system, system_names
from policies.horizontal import LazyScaling
from policies.placement import ComplementaryPlacement
from policies.slots import BatchRule, FunctionView
from policies.systems import SLOTS, System
from policies.vertical.rckm import Rckm
from policies.vertical.rckm_reference import RckmReference


def test_the_names_of_the_systems() -> None:
    """Sharing of a GPU, then clusters, then Dilu and its ablations, then the bound; each knows its name."""
    assert system_names() == (
        *("exclusive", "mps-l", "mps-r", "time-slicing", "tgs", "antman", "kubeshare", "fast-gs", "orion"),
        *("reef", "knative", "kubernetes", "openwhisk", "hybrid-histogram", "faascache", "infless+"),
        *("infless+-l", "infless+-r", "fast-gs+", "has-gpu", "fgd", "torpor"),
        *("dilu", "dilu-reference", "dilu-rc", "dilu-wa", "dilu-vs", "oracle"),
    )
    assert tuple(find_system(name).name for name in system_names()) == system_names()


@pytest.mark.parametrize("name", system_names())
def test_a_system_says_what_it_models(name: str) -> None:
    """And where it comes from; nothing is modelled in full silence."""
    system = find_system(name)
    assert system.title
    assert system.source
    assert system.modelled


def test_what_shares_a_gpu_differs_in_nothing_else() -> None:
    """Rivals in sharing take Dilu's routing, scaling and start-up, so that sharing makes the difference."""
    dilu = find_system("dilu")
    for name in ("mps-l", "mps-r", "time-slicing", "tgs", "antman", "kubeshare", "fast-gs", "orion", "reef"):
        system = find_system(name)
        assert (system.horizontal, system.routing, system.start_up) == (
            dilu.horizontal,
            dilu.routing,
            dilu.start_up,
        )
        assert system.vertical != dilu.vertical


def test_each_ablation_takes_one_thing_away() -> None:
    """-RC and -WA differ from Dilu in placement alone, -VS in vertical scaling alone (Fig. 15)."""
    dilu = find_system("dilu")
    for name, slot in (("dilu-rc", "placement"), ("dilu-wa", "placement"), ("dilu-vs", "vertical")):
        system = find_system(name)
        assert [s for s in SLOTS if getattr(system, s) != getattr(dilu, s)] == [slot]
    assert not find_system("dilu-rc").placement.splits_llm


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("dylu", "did you mean 'dilu'?"),
        ("infless-l", "did you mean 'infless+-l'?"),
        ("slurm", "allowed are " + ", ".join(system_names())),
    ],
)
def test_an_unknown_system_is_answered_with_the_nearest(name: str, mend: str) -> None:
    """The message shows what was found and what to write instead."""
    with pytest.raises(PolicyError) as caught:
        find_system(name)
    assert str(caught.value) == f"system: found {name!r}; {mend}"


def test_the_paper_and_its_code_differ_where_they_should() -> None:
    """The reference system takes the artifact's side wherever the paper and the artifact part."""
    reference = find_system("dilu-reference")
    assert reference.placement == ComplementaryPlacement(
        llm_fit="worst", split_order="fullest", split_limit="request", training_fit="first"
    )
    assert reference.horizontal == LazyScaling(strict_in=False)
    assert reference.vertical == RckmReference()
    assert reference.sizing == find_system("dilu").sizing


@pytest.mark.parametrize("name", system_names())
def test_a_description_names_what_fills_every_slot(name: str) -> None:
    """One line a slot, with the class, its constants and its first sentence."""
    lines = find_system(name).describe()
    assert tuple(lines) == SLOTS
    assert all(line and "\n" not in line for line in lines.values())
    assert (lines["keep_alive"] == "none") == (find_system(name).keep_alive is None)


def test_a_description_shows_the_constants() -> None:
    """The line of a slot can be read without the source."""
    line = find_system("dilu").describe()["horizontal"]
    assert line == (
        "LazyScaling(window_s=40, out_count=20, in_count=30, strict_in=True): "
        "Dilu's lazy scaling (paper section 3.5): bursts are first absorbed vertically"
    )


def test_constants_change_by_their_path() -> None:
    """Changed ones change, all others and the original stay; an integer will do for a float."""
    dilu = find_system("dilu")
    changed = dilu.with_config(
        {
            "placement.gamma": 2,
            "placement.affinity": False,
            "horizontal.window_s": 60,
            "vertical.charge": "tick",
        }
    )
    assert changed.placement == ComplementaryPlacement(gamma=2.0, affinity=False)
    assert isinstance(changed.placement, ComplementaryPlacement)
    assert isinstance(changed.placement.gamma, float)
    assert changed.horizontal == LazyScaling(window_s=60)
    assert changed.vertical == Rckm(charge="tick")
    assert changed.sizing is dilu.sizing
    assert dilu == find_system("dilu")
    assert dilu.with_config({}) == dilu


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "plaecment.gamma",
            2.0,
            (
                "plaecment.gamma: found slot 'plaecment', allowed are sizing, placement, horizontal, "
                "keep_alive, vertical, routing, start_up"
            ),
        ),
        (
            "placement.gama",
            2.0,
            "placement.gama: found no constant 'gama' in ComplementaryPlacement; did you mean 'gamma'?",
        ),
        (
            "horizontal.zzz",
            1,
            (
                "horizontal.zzz: found no constant 'zzz' in LazyScaling; "
                "allowed are window_s, out_count, in_count, strict_in"
            ),
        ),
        ("placement.gamma", "2", "placement.gamma: found '2', allowed is 1.5 or another float"),
        ("placement.gamma", True, "placement.gamma: found True, allowed is 1.5 or another float"),
        ("horizontal.window_s", 40.5, "horizontal.window_s: found 40.5, allowed is 40 or another int"),
        ("placement.affinity", 1, "placement.affinity: found 1, allowed is True or another bool"),
        ("placement.llm_fit", "worse", "placement.llm_fit: found 'worse', allowed are best, worst"),
        ("vertical.charge", "tock", "vertical.charge: found 'tock', allowed are cycle, tick"),
        (
            "vertical.cycle_baseline",
            "mean",
            "vertical.cycle_baseline: found 'mean', allowed are uncontended, batch-minimum, minimum",
        ),
        (
            "keep_alive.timeout_s",
            5.0,
            "keep_alive.timeout_s: found no policy in this slot of the system, so none has constants",
        ),
        ("sizing.share_step", 2.0, "sizing.share_step: share_step: found 2.0, allowed are numbers in (0, 1]"),
    ],
)
def test_a_wrong_constant_is_refused_in_one_line(key: str, value: object, message: str) -> None:
    """Key, what was found, and what is allowed or nearest."""
    with pytest.raises(PolicyError) as caught:
        find_system("dilu").with_config({key: value})
    assert str(caught.value) == message


def test_constants_that_are_allowed_together_may_be_changed_together() -> None:
    """Whatever their order; what is wrong together names all of them."""
    infless = find_system("infless+")
    for keys in (("long_s", "short_s"), ("short_s", "long_s")):
        values = {"long_s": 8, "short_s": 4}
        changed = infless.with_config({f"keep_alive.{key}": values[key] for key in keys})
        assert "long_s=8, short_s=4" in changed.describe()["keep_alive"]
    with pytest.raises(PolicyError, match=r"^keep_alive.long_s, keep_alive.short_s: "):
        infless.with_config({"keep_alive.long_s": 4, "keep_alive.short_s": 8})


@dataclass(frozen=True)
class SomebodysBatching:
    """Closes at the word."""

    word: str = "go"
    newest_idle_first: bool = False
    adapts: bool = False

    def batching(self, function: FunctionView) -> BatchRule:
        """Close at once."""
        return BatchRule(1, 0.0)


def test_a_free_text_constant_of_a_policy_of_ones_own_is_not_held_to_choices() -> None:
    """Only constants that name their choices have choices."""
    changes: dict[str, Any] = {"routing": SomebodysBatching()}
    values = {slot: getattr(find_system("dilu"), slot) for slot in SLOTS} | changes
    system = System(name="mine", title="Mine", source="me", **values)
    assert system.with_config({"routing.word": "stop"}).routing == SomebodysBatching("stop")
