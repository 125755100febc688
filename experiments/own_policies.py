"""Systems and policies of one's own: found by name or reference, checked, and put into their slots.

A reference is `module:NAME`, `folder/file.py:NAME`, or `folder/file.py` where the file defines only one. Like
an entry point of the group `dilu.systems`, it leads to a `policies.System`, to a function without arguments
that returns one, or to a policy, as a class or an instance. A policy stands for Dilu with it in its slots.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from experiments.own_modules import failing_in_one_line, import_from, sha256_of
from policies import PolicyError, System, find_system, system_names
from policies.systems import SLOTS
from policies.testing import MEMBERS

GROUP: Final = "dilu.systems"
"""The entry points by which an installed package offers systems and policies."""

_ALLOWED: Final = (
    "a policies.System, a function without arguments that returns one, or a policy: it has one of "
    + (", ".join(members[0] for members in MEMBERS.values()))
)


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What a name or a reference leads to.

    Attributes
    ----------
    label
        What it is called in results, unless the experiment says otherwise.
    policy
        The policy itself, which `system` has in its slots; `None` for a whole system.
    """

    label: str
    system: System
    policy: object | None = None


def slots_of(policy: object) -> tuple[str, ...]:
    """Return the slots that a policy fills: those whose decision it makes."""
    return tuple(slot for slot, members in MEMBERS.items() if callable(getattr(policy, members[0], None)))


def label_of(name: str) -> str:
    """Return the label of a name or reference, as far as it shows without being followed."""
    return name.rpartition(":")[2]


def origins(system: System) -> dict[str, dict[str, str | None]]:
    """Return by slot where each policy that is not ours came from: its class, and the SHA-256 of its file."""
    kinds = {slot: type(getattr(system, slot)) for slot in SLOTS if getattr(system, slot) is not None}
    return {
        slot: {"policy": f"{kind.__module__}:{kind.__qualname__}", "sha256": sha256_of(kind.__module__)}
        for slot, kind in kinds.items()
        if kind.__module__.partition(".")[0] != "policies"
    }


def known_names() -> tuple[str, ...]:
    """Return the names of all systems: ours, then those of installed packages.

    Raises
    ------
    PolicyError
        If an installed package offers something by a name of ours.
    """
    offered = _offered()
    for name in system_names():
        _refuse_clash(name, offered)
    return (*system_names(), *offered)


def find(name: str, folders: Sequence[Path]) -> Found:
    """Find a system or a policy; files and modules are looked for in `folders`, then where Python looks.

    Raises
    ------
    PolicyError
        In one line: there is none, its module fails, or it breaks the contract of a slot.
    """
    offered = _offered()
    if name in system_names():
        _refuse_clash(name, offered)
        return Found(name, find_system(name))
    if name in offered:
        return _of_package(name, offered[name])
    if name.endswith(".py") or ":" in name:
        try:
            return _of_reference(name, folders)
        except PolicyError as error:
            raise PolicyError(f"{name}: {error}") from None
    files = [f"{name}.py" for folder in folders if _is_file(folder / f"{name}.py")]
    if near := files or difflib.get_close_matches(name, offered, n=1):
        raise PolicyError(f"system: found {name!r}; did you mean {near[0]!r}?")
    return Found(name, find_system(name))  # which says what names there are


def find_policy(name: str, slot: str, folders: Sequence[Path]) -> Any:
    """Find a policy for one slot: one of one's own, or what a system has there.

    Raises
    ------
    PolicyError
        As `find` does, or if the policy does not fill the slot.
    """
    found = find(name, folders)
    if found.policy is None:
        return getattr(found.system, slot)
    if slot not in (fills := slots_of(found.policy)):
        kind = type(found.policy).__name__
        raise PolicyError(f"{name}: {kind} has no {MEMBERS[slot][0]}, it fills {' and '.join(fills)}")
    return found.policy


# ------------------------------------------------------------------------------- where it is looked for


@functools.cache
def _offered() -> dict[str, tuple[EntryPoint, ...]]:
    """What installed packages offer, by name; nothing of it is imported."""
    offered: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        offered[point.name] = (*offered.get(point.name, ()), point)
    return offered


def _package(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else point.dist.name


def _refuse_clash(name: str, offered: dict[str, tuple[EntryPoint, ...]]) -> None:
    for point in offered.get(name, ()):
        raise PolicyError(
            f"system: found {name!r} in {_package(point)} too, whose entry point has a name of ours"
        )


def _of_package(name: str, points: tuple[EntryPoint, ...]) -> Found:
    if len(points) > 1:
        packages = " and ".join(_package(point) for point in points)
        raise PolicyError(f"system: found {name!r} in {packages}, allowed is one entry point of a name")
    point = points[0]
    module = point.value.partition(":")[0]
    try:
        with failing_in_one_line(module):
            thing = point.load()
        return _found(name, thing, module)
    except PolicyError as error:
        raise PolicyError(f"{name} of {_package(point)} ({point.value}): {error}") from None


def _of_reference(reference: str, folders: Sequence[Path]) -> Found:
    source, colon, name = reference.rpartition(":")
    if not colon:
        source, name = reference, ""
    elif not source or not name:
        raise PolicyError("allowed are module:NAME and file.py:NAME")
    module = _of_file(Path(source), folders) if source.endswith(".py") else import_from(source, folders)
    name = name or _only_name(module)
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, vars(module), n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(_names(module)) or 'none'}"
        raise PolicyError(f"found no {name!r} in {module.__name__}; {mend}")
    return _found(name, getattr(module, name), module.__name__)


def _of_file(path: Path, folders: Sequence[Path]) -> ModuleType:
    for folder in folders:
        if _is_file(folder / path):
            return import_from(path.stem, [(folder / path).parent])
    raise PolicyError("no such file beside the experiment or from the current folder")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long for one
        return False


def _only_name(module: ModuleType) -> str:
    names = _names(module)
    if len(names) != 1:
        found = f"found {', '.join(names)}; name one" if names else f"found none, allowed is {_ALLOWED}"
        raise PolicyError(f"{found}, as in {module.__name__}.py:NAME")
    return names[0]


def _names(module: ModuleType) -> list[str]:
    """Name what a module defines: its systems; or else its policies; or else the classes of such."""
    public = {name: thing for name, thing in vars(module).items() if not name.startswith("_")}
    kinds: tuple[Callable[[Any], bool], ...] = (
        lambda thing: isinstance(thing, System) or _makes_system(thing, module),
        lambda thing: not isinstance(thing, type | ModuleType) and bool(slots_of(thing)),
        lambda thing: (
            isinstance(thing, type) and thing.__module__ == module.__name__ and bool(slots_of(thing))
        ),
    )
    return next((names for kind in kinds if (names := [n for n, thing in public.items() if kind(thing)])), [])


def _makes_system(thing: object, module: ModuleType) -> bool:
    if not isinstance(thing, FunctionType) or thing.__module__ != module.__name__:
        return False
    return thing.__annotations__.get("return") in (System, "System", "policies.System")


# ------------------------------------------------------------------------------ what may be found there


def _found(label: str, thing: Any, module: str) -> Found:
    if callable(thing) and (isinstance(thing, type) or not slots_of(thing)):
        with failing_in_one_line(module):
            thing = thing()
    if isinstance(thing, System):
        for slot in SLOTS:
            _check_filled(thing, slot)
        return Found(label, thing)
    slots = () if isinstance(thing, ModuleType) else slots_of(thing)  # numpy has a size and a place
    if not slots:
        raise PolicyError(f"found a {type(thing).__name__}, allowed is {_ALLOWED}")
    for slot in slots:
        _check(thing, slot)
    changes: dict[str, Any] = dict.fromkeys(slots, thing)
    system = dataclasses.replace(
        find_system("dilu"),
        name=label,
        title=f"Dilu with {type(thing).__name__}",
        source=f"{type(thing).__module__}:{type(thing).__qualname__}",
        modelled="",
        left_out="",
        **changes,
    )
    return Found(label, system, thing)


def _check_filled(system: System, slot: str) -> None:
    """Refuse a system whose slot is empty, unless it may be, or holds something else."""
    policy = getattr(system, slot)
    if policy is None and slot == "keep_alive":
        return
    if slot not in slots_of(policy):
        kind = type(policy).__name__
        raise PolicyError(f"{slot}: found {kind}, allowed is a policy that has {', '.join(MEMBERS[slot])}")
    _check(policy, slot)


def _check(policy: Any, slot: str) -> None:
    """Refuse what the first look shows; `policies.testing.check_policy` looks further."""
    kind = type(policy).__name__
    if missing := [member for member in MEMBERS[slot] if not hasattr(policy, member)]:
        raise PolicyError(f"{kind} has no {' and no '.join(missing)}, the {slot} slot needs it")
    params = getattr(policy, "__dataclass_params__", None)
    if params is None or not params.frozen:
        raise PolicyError(f"{kind} is no frozen dataclass, whose fields are the constants of the policy")
    for field in dataclasses.fields(policy):
        constant = getattr(policy, field.name)
        if " at 0x" in repr(constant):  # results would tell two equal runs apart
            raise PolicyError(
                f"{kind}.{field.name}: found {constant!r}, allowed is what prints alike in every run"
            )
    try:
        hash(policy)
    except TypeError as error:
        raise PolicyError(f"{kind}: found a constant that cannot be hashed ({error})") from None
