from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from experiments import Experiment, ExperimentError, load_experiment, own_policies, run_experiment
from experiments.own_policies import find, known_names, slots_of
from experiments.schema import RUN_FILE
from policies import PolicyError, System, find_system
from policies.horizontal import LazyScaling
from policies.placement import InflessPlacement
from policies.testing import MEMBERS, check_policy
from recording import load

PAGE = (Path(__file__).parents[2] / "docs" / "own-policy.md").read_text()
TEMPLATE = (files("dilu") / "template" / "my_policy.py").read_text()

LAB = """\
cluster: {nodes: 1, gpus_per_node: 4}
functions:
  - {name: vision, model: resnet152}
workload: {synthesize: {vision: {kind: bursty, rate_rps: 60}}}
systems: [exclusive, "mine:MINE"]
duration_s: 30
"""

MINE = """\
import dataclasses
from dataclasses import dataclass

import numpy as np

from policies import Scaling, Shard, System, find_system


@dataclass(frozen=True)
class Fixed:
    \"\"\"Always the same number.\"\"\"

    instances: int = 2

    def scale(self, function):
        return Scaling(max(self.instances, function.min_instances))


@dataclass(frozen=True)
class Tightest:
    \"\"\"Least free memory first.\"\"\"

    most: float = 1.0
    splits_llm: bool = False

    def place(self, request, cluster):
        free = cluster.memory_capacity - cluster.memory
        order = np.argsort(free, kind="stable")
        chosen = order[free[order] >= request.memory_bytes][: request.gpus]
        if len(chosen) < request.gpus:
            return None
        part = 1.0 / request.gpus
        shards = (request.request, request.limit, request.memory_bytes, part)
        return tuple(Shard(int(gpu), *shards) for gpu in chosen)


@dataclass(frozen=True)
class Both(Fixed, Tightest):
    \"\"\"Two slots at once.\"\"\"


MINE = Fixed(3)
_whole = dataclasses.replace(find_system("exclusive"), name="whole", placement=Tightest())
SYSTEM = _whole


def makes() -> System:
    return _whole


def unannotated():
    return Tightest()
"""


def lab(folder: Path, *changes: str, mine: str = MINE, text: str = LAB, **options: object) -> Experiment:
    """Write the experiment and the module above, and load the experiment."""
    (folder / "mine.py").write_text(mine)
    (folder / "lab.yaml").write_text(text)
    return load_experiment(folder / "lab.yaml", changes=changes, **options)  # type: ignore[arg-type]


def refused(folder: Path, *changes: str, mine: str = MINE) -> str:
    """Return the one line by which the experiment above is refused."""
    with pytest.raises(ExperimentError) as caught:
        lab(folder, *changes, mine=mine)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -------------------------------------------------------------------------------- what a reference leads to


def test_slots_of_a_policy_are_those_it_decides_for() -> None:
    """One slot, several, or none, by the methods alone."""
    assert slots_of(LazyScaling()) == ("horizontal",)
    assert slots_of(find_system("dilu").vertical) == ("vertical",)
    assert slots_of(object()) == ()


@pytest.mark.parametrize(
    ("reference", "label", "changed"),
    [
        ("mine:MINE", "MINE", {"horizontal"}),
        ("mine:Fixed", "Fixed", {"horizontal"}),
        ("mine.py:Tightest", "Tightest", {"placement"}),
        ("mine:Both", "Both", {"horizontal", "placement"}),
        ("mine:unannotated", "unannotated", {"placement"}),
    ],
)
def test_a_policy_is_dilu_with_it_in_its_slots(
    tmp_path: Path, reference: str, label: str, changed: set[str]
) -> None:
    """A class, an instance and what a function makes replace the slots they fill; all others stay Dilu's."""
    systems = lab(tmp_path, f'systems=["{reference}"]').systems
    assert list(systems) == [label]
    dilu = find_system("dilu")
    assert {slot for slot in MEMBERS if getattr(systems[label], slot) != getattr(dilu, slot)} == changed
    assert systems[label].name == label


@pytest.mark.parametrize("reference", ["mine:SYSTEM", "mine.py:SYSTEM", "mine:makes"])
def test_a_whole_system_is_taken_as_it_is(tmp_path: Path, reference: str) -> None:
    """A `System`, or a function that returns one, is run under the name it was asked for by."""
    experiment = lab(tmp_path, f'systems=["{reference}"]')
    (label,) = experiment.systems
    assert label == reference.rpartition(":")[2]
    assert isinstance(experiment.systems[label], System)
    assert experiment.systems[label].name == "whole"
    assert type(experiment.systems[label].placement).__name__ == "Tightest"
    assert experiment.systems[label].horizontal == find_system("exclusive").horizontal


def test_slot_by_slot(tmp_path: Path) -> None:
    """`policies` fills single slots, by one's own policy or as a named system does; `config` comes after."""
    text = LAB.replace(
        '"mine:MINE"',
        '{system: dilu, label: own, policies: {placement: "mine:Both", routing: infless+-l}, '
        "config: {placement.most: 2, routing.divisor: 5}}",
    )
    own = lab(tmp_path, text=text).systems["own"]
    assert own.describe()["placement"].startswith("Both(most=2.0, splits_llm=False, instances=2)")
    assert own.horizontal == find_system("dilu").horizontal
    assert own.routing == find_system("infless+-l").with_config({"routing.divisor": 5.0}).routing


def test_our_own_policies_can_be_named_by_class(tmp_path: Path) -> None:
    """`policies.placement:InflessPlacement` is a reference like any other, and no policy of one's own."""
    experiment = lab(tmp_path, 'systems=["policies.placement:InflessPlacement"]')
    assert experiment.systems["InflessPlacement"].placement == InflessPlacement()
    assert experiment.origins == {"InflessPlacement": {}}


@pytest.mark.parametrize(
    ("keep", "label"),
    [
        ("MINE SYSTEM makes Fixed", "several"),
        ("SYSTEM Fixed Tightest", "SYSTEM"),
        ("makes Fixed", "makes"),
        ("MINE Fixed Tightest Both", "MINE"),
        ("Tightest", "Tightest"),
        ("Fixed Tightest", "several"),
        ("", "none"),
    ],
)
def test_a_file_alone_stands_for_the_only_system_in_it_or_else_the_only_policy(
    tmp_path: Path, keep: str, label: str
) -> None:
    """Systems come before instances, instances before classes; several, or none, is a line that says so."""
    dropped = {"MINE", "SYSTEM", "makes", "Fixed", "Tightest", "Both", "unannotated"} - set(keep.split())
    mine = MINE + "".join(f"_{name} = {name}; del {name}\n" for name in sorted(dropped))
    if label == "several":
        names = [name for name in ("Fixed", "Tightest", "MINE", "SYSTEM", "makes") if name in keep.split()]
        told = [name for name in names if name in ("SYSTEM", "makes")] or names
        assert f"mine.py: found {', '.join(told)}; name one" in refused(
            tmp_path, "systems=[mine.py]", mine=mine
        )
    elif label == "none":
        message = refused(tmp_path, "systems=[mine.py]", mine=mine)
        assert "mine.py: found none, allowed is a policies.System, a function" in message
    else:
        assert list(lab(tmp_path, "systems=[mine.py]", mine=mine).systems) == [label]


# --------------------------------------------------------------------------------------- where it is found


def package(folder: Path, name: str, target: int) -> None:
    """Write a package whose module has a policy that a module beside it parametrises."""
    inside = folder / name
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text("")
    (inside / "constants.py").write_text(f"INSTANCES = {target}\n")
    (inside / "scaling.py").write_text(
        "from dataclasses import dataclass\nfrom policies import Scaling\nfrom .constants import INSTANCES\n"
        "@dataclass(frozen=True)\nclass Fixed:\n    instances: int = INSTANCES\n"
        "    def scale(self, function):\n        return Scaling(self.instances)\n"
    )


def instances_of(experiment: Experiment) -> int:
    """Return the constant of the last system."""
    found = list(experiment.systems.values())[-1].horizontal.instances  # type: ignore[attr-defined]
    assert isinstance(found, int)
    return found


def test_beside_the_experiment_then_here_then_on_pythons_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest package wins, even if another one was imported before; the path is left alone."""
    beside, here, path = (tmp_path / name for name in ("beside", "here", "path"))
    for folder in (beside, here, path):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = sys.path[:]
    found = []
    for folder, target in ((path, 7), (here, 8), (beside, 9)):
        package(folder, "my_package", target)
        found.append(instances_of(lab(beside, 'systems=["my_package.scaling:Fixed"]', text=LAB)))
    found.append(instances_of(lab(beside, text=LAB.replace("mine:MINE", "my_package.scaling:Fixed"))))
    assert found == [7, 8, 8, 9]  # --set is from the command line, where the current folder comes first
    assert sys.path == before
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_command_line_starts_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two files of one name each is found from where it was written; a declared entry keeps its own."""
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE.replace("Fixed(3)", "Fixed(4)"))
    assert instances_of(lab(away)) == 3
    assert instances_of(lab(away, systems=["mine.py:MINE"])) == 4
    assert instances_of(lab(away, systems=["exclusive", "MINE"])) == 3
    assert instances_of(lab(away, systems=["away/mine.py:MINE"])) == 3


def test_an_edited_file_is_imported_anew(tmp_path: Path) -> None:
    """In one process a reference gives what the file says now; what is unchanged stays the same."""
    first = lab(tmp_path)
    again = lab(tmp_path)
    assert first.systems == again.systems
    assert pickle.loads(pickle.dumps(first.systems)) == first.systems
    assert instances_of(lab(tmp_path, mine=MINE.replace("Fixed(3)", "Fixed(5)"))) == 5


def test_an_imported_helper_is_imported_anew(tmp_path: Path) -> None:
    """So it is with a module that only the policy's module imports."""
    mine = MINE.replace("Fixed(3)", "Fixed(HELPED)").replace(
        "import numpy", "from helper import HELPED\nimport numpy"
    )
    for number in (1, 2):
        (tmp_path / "helper.py").write_text(f"HELPED = {number}\n")
        assert instances_of(lab(tmp_path, mine=mine)) == number


def test_what_others_had_imported_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one's own files change, a package that was there before stays what all have, with new parts."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    package(tmp_path / "site", "installed_package", 6)
    importlib.import_module("installed_package")
    references = 'systems=["mine:MINE", "installed_package.scaling:Fixed"]'
    assert instances_of(lab(tmp_path, references)) == 6
    part = sys.modules["installed_package.scaling"]
    lab(tmp_path, references, mine=MINE + "# edited\n")
    assert sys.modules["installed_package.scaling"] is part
    for name in [name for name in sys.modules if name.startswith("installed_package")]:
        monkeypatch.delitem(sys.modules, name)


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("mine:MNE", "mine:MNE: found no 'MNE' in mine; did you mean 'MINE'?"),
        ("mine:zzzzz", "mine:zzzzz: found no 'zzzzz' in mine; allowed are SYSTEM, makes"),
        ("mine:np", "mine:np: found a module, allowed is a policies.System"),
        ("nowhere:X", "nowhere:X: found no module 'nowhere' beside the experiment"),
        ("nowhere.py:X", "nowhere.py:X: no such file beside the experiment or from the current folder"),
        ("mine.sub:X", "mine.sub:X: "),
        ("mine:", "mine:: allowed are module:NAME and file.py:NAME"),
        (":MINE", ":MINE: allowed are module:NAME and file.py:NAME"),
        ("a-b:C", "a-b:C: found 'a-b', allowed is a name that Python can import"),
        ("mine", "system: found 'mine'; did you mean 'mine.py'?"),
        ("x" * 300, "allowed are exclusive"),
        ("x" * 300 + ".py", "no such file"),
    ],
)
def test_a_reference_that_leads_nowhere_is_one_line(tmp_path: Path, reference: str, message: str) -> None:
    """Which reference, and what is there instead."""
    line = refused(tmp_path, f'systems=["{reference}"]')
    assert message in line


POLICY = "from dataclasses import dataclass, replace\nfrom policies import Scaling, System, find_system\n"
OWN = "@dataclass(frozen=True)\nclass Own:\n    rule: object\n    def scale(self, function): ...\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("MINE = 3", "mine:MINE: found a int, allowed is a policies.System, a function without arguments"),
        ("class MINE: pass", "mine:MINE: found a MINE, allowed is"),
        ("def MINE(): return 3", "mine:MINE: found a int, allowed is"),
        ("def MINE(x): return x", "mine:MINE: TypeError: MINE() missing 1 required positional argument: 'x'"),
        ("def MINE():\n    return 1 / 0", "mine.py:4: ZeroDivisionError: division by zero"),
        (
            "@dataclass(frozen=True)\nclass MINE:\n    def place(self, request, cluster): ...",
            "mine:MINE: MINE has no splits_llm, the placement slot needs it",
        ),
        (
            "@dataclass(frozen=True)\nclass MINE:\n    def decide(self, gpu): ...\n    tick_s = None",
            "MINE has no first_quota and no window_s and no sharing and no cycle_baseline, the vertical slot",
        ),
        (
            "class MINE:\n    def scale(self, function): ...",
            "MINE is no frozen dataclass, whose fields are the constants of the policy",
        ),
        (
            "@dataclass\nclass MINE:\n    def scale(self, function): ...",
            "MINE is no frozen dataclass, whose fields are the constants of the policy",
        ),
        (
            "@dataclass(frozen=True)\nclass MINE:\n    load: float\n    def scale(self, function): ...",
            "MINE.__init__() missing 1 required positional argument: 'load'",
        ),
        (
            f"{OWN}MINE = Own([])",
            "Own: found a constant that cannot be hashed",
        ),
        (
            f"{OWN}MINE = Own(object())",
            "Own.rule: found <object object at 0x",
        ),
        (
            "MINE = replace(find_system('dilu'), placement=None)",
            "mine:MINE: placement: found NoneType, allowed is a policy that has place, splits_llm",
        ),
        (
            "MINE = replace(find_system('dilu'), placement=find_system('dilu').routing)",
            "mine:MINE: placement: found AdaptiveBatching, allowed is a policy that has place, splits_llm",
        ),
        ("MINE = nothing", "mine.py:3: NameError: name 'nothing' is not defined"),
        ("MINE = ", "mine.py:3: SyntaxError: invalid syntax"),
        ("import nothing_such", "mine.py:3: ModuleNotFoundError: No module named 'nothing_such'"),
        ("import sys; sys.exit(3)", "mine.py:3: SystemExit: 3"),
        ("MINE = System(name='x')", "mine.py:3: TypeError: "),
        ("MINE = find_system('dilo')", "mine.py:3: PolicyError: system: found 'dilo'; did you mean 'dilu'?"),
        ("def deep():\n    raise ValueError('a\\n b')\nMINE = deep()", "mine.py:4: ValueError: a b"),
        ("from dataclasses import nothing", "mine.py:3: ImportError: cannot import name 'nothing'"),
    ],
)
def test_a_module_at_fault_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    """What the contract lacks, or what its module raises and in which line; after the experiment's line."""
    monkeypatch.chdir(tmp_path)
    line = refused(tmp_path, mine=f"{POLICY}{body}\n")
    assert line.startswith(f"{tmp_path / 'lab.yaml'}:5: systems[1]: mine:MINE: ")
    assert message in line


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{system: dilu, policies: {placment: "mine:Tightest"}}', "unknown slot; did you mean 'placement'?"),
        (
            '{system: dilu, policies: {placement: "mine:Fixed"}}',
            "systems[0].policies.placement: mine:Fixed: Fixed has no place, it fills horizontal",
        ),
        ("{system: dilu, policies: {placement: exclusiv}}", "policies.placement: system: found 'exclusiv'"),
        ("{system: dilu, policies: {placement: 3}}", "policies.placement: found 3, allowed is text"),
        ("{system: dilu, policies: 3}", "systems[0].policies: found 3, allowed is a mapping"),
        ('{system: "mine:MINE", config: {horizontal.instance: 2}}', "did you mean 'instances'?"),
        ('{system: "mine:_hidden"}', "found '_hidden', which can name no results; give it a label"),
    ],
)
def test_a_wrong_entry_is_one_line(tmp_path: Path, entry: str, message: str) -> None:
    """Slot, constant and label are checked as for a system that ships."""
    assert message in refused(tmp_path, f"systems=[{entry}]", mine=f"{MINE}\n_hidden = MINE\n")


def test_two_of_one_name_need_labels(tmp_path: Path) -> None:
    """Results of two policies of the same name would land in one folder."""
    (tmp_path / "other.py").write_text(MINE)
    line = refused(tmp_path, 'systems=["mine:MINE", "other:MINE"]')
    assert "systems[1]: found 'MINE' twice; give one of them a label" in line


def test_a_file_that_python_would_not_find_by_its_name_is_refused(tmp_path: Path) -> None:
    """`json.py` of one's own would give Python's json; that is said instead."""
    (tmp_path / "json.py").write_text(MINE)
    for reference in ("json:MINE", "json.py:MINE"):
        line = refused(tmp_path, f'systems=["{reference}"]')
        assert re.search(r"json\.py: found another module 'json' \(.*json/__init__\.py\); give it", line)


# ---------------------------------------------------------------------- what an installed package offers


@pytest.fixture
def offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path with a distribution; write its entry points to see them."""
    site = tmp_path / "site"
    info = site / "rival_dist-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival-dist\nVersion: 1.0\n")
    (site / "rival_module.py").write_text(MINE)
    monkeypatch.syspath_prepend(site)
    own_policies._offered.cache_clear()
    yield info / "entry_points.txt"
    own_policies._offered.cache_clear()
    sys.modules.pop("rival_module", None)


def test_an_installed_package_offers_systems_by_name(offers: Path, tmp_path: Path) -> None:
    """They come after ours, are imported when used, run by name, and are suggested for near misses."""
    offers.write_text("[dilu.systems]\nzrival = rival_module:SYSTEM\nrival = rival_module:Fixed\n")
    assert known_names()[-2:] == ("rival", "zrival")
    assert find("dilu", []).system == find_system("dilu")
    assert "rival_module" not in sys.modules
    experiment = lab(tmp_path, "systems=[zrival, rival]")
    assert list(experiment.systems) == ["zrival", "rival"]
    assert experiment.origins["rival"]["horizontal"]["policy"] == "rival_module:Fixed"
    assert {"dilu", "rival"} <= set(lab(tmp_path, systems=["all"]).systems)
    with pytest.raises(PolicyError, match=r"found 'riwal'; did you mean 'rival'\?"):
        find("riwal", [])


def test_a_broken_offer_hurts_nobody_else(offers: Path) -> None:
    """What cannot be imported is named with its package when it is used; everything else works."""
    offers.write_text("[dilu.systems]\nrival = nowhere_module:X\nodd = !!\n")
    assert find("dilu", []).label == "dilu"
    with pytest.raises(PolicyError, match=r"^rival of rival-dist \(nowhere_module:X\): found no module"):
        find("rival", [])
    with pytest.raises(PolicyError, match=r"^odd of rival-dist \(!!\): "):
        find("odd", [])


def test_an_offer_by_a_name_of_ours_is_refused(offers: Path) -> None:
    """Nobody can stand in for a system that ships: the package is named, and other names are not affected."""
    offers.write_text("[dilu.systems]\ndilu = rival_module:SYSTEM\n")
    for refuse in (known_names, lambda: find("dilu", [])):
        with pytest.raises(PolicyError, match=r"found 'dilu' in rival-dist too"):
            refuse()
    assert find("exclusive", []).label == "exclusive"


# ---------------------------------------------------------------------------------------------- end to end


def test_the_manifest_says_where_a_policy_came_from(tmp_path: Path) -> None:
    """Class and file's SHA-256 of each slot that one's own policy fills; nothing for systems that ship."""
    run = run_experiment(lab(tmp_path, "duration_s=2"), out=tmp_path / "run")
    assert load(run.path / "exclusive").manifest.further["own_policies"] == {}
    manifest = load(run.path / "MINE").manifest
    digest = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert manifest.further["own_policies"] == {"horizontal": {"policy": "mine:Fixed", "sha256": digest}}
    assert manifest.further["slots"]["horizontal"] == "Fixed(instances=3): Always the same number"
    assert manifest.further["experiment"]["systems"] == ["exclusive", "mine:MINE"]


def test_equal_runs_with_a_policy_of_ones_own_are_equal_bytes(tmp_path: Path) -> None:
    """Two processes, hash seeds and folders: the same bytes, but for when and how long they ran."""
    contents = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        lab(folder)
        command = [sys.executable, "-m", "dilu", "replay", "lab.yaml", "--out", "run"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)
        run = folder / "run"
        files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != RUN_FILE]
        contents.append({str(path.relative_to(run)): _content(path) for path in files})
    assert contents[0] == contents[1]
    assert "MINE/summary.json" in contents[0]


def _content(path: Path) -> bytes:
    if path.name != "summary.json":
        return path.read_bytes()
    return json.dumps({**json.loads(path.read_text()), "wall_s": None}).encode()


def blocks(language: str) -> list[str]:
    """Return the page's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_page_leads_from_idea_to_result(tmp_path: Path) -> None:
    """Its policy is the template, short, keeps the contract, and changes the result of its experiment."""
    code, still = blocks("python")
    assert code == TEMPLATE
    assert len([line for line in code.splitlines() if line.strip()]) < 30
    (tmp_path / "my_policy.py").write_text(code)
    (tmp_path / "page.yaml").write_text(blocks("yaml")[0])
    experiment = load_experiment(tmp_path / "page.yaml")
    policy = experiment.systems["Headroom"].horizontal
    assert check_policy(policy) == ("horizontal",)
    exec(still, {"Headroom": type(policy)})
    run = run_experiment(experiment, out=tmp_path / "run")
    by_label = {summary["system"]: summary for summary in run.summaries}
    assert list(by_label) == ["dilu", "Headroom", "half", "infless-head", "dilu-packed"]
    assert by_label["dilu"]["launches"] < by_label["Headroom"]["launches"] < by_label["half"]["launches"]
    assert experiment.systems["infless-head"].placement == find_system("infless+-l").placement


def test_the_page_names_every_slot_and_its_method() -> None:
    """The table of slots is that of the conformance suite."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert dict(rows) == {slot: members[0] for slot, members in MEMBERS.items()}


def test_the_template_runs_as_it_is(tmp_path: Path) -> None:
    """`python my_policy.py` holds it against the contract."""
    (tmp_path / "my_policy.py").write_text(TEMPLATE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "my_policy.py"]
    said = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=environment, text=True)
    assert (said.stdout, said.stderr) == ("keeps the contract of: horizontal\n", "")
