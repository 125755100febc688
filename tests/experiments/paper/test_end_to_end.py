from __future__ import annotations

import pytest

from experiments.paper import Chapter, Scope, regenerate
from experiments.paper.studies.end_to_end import SYSTEMS
from experiments.paper.studies.fig15 import FIG15
from experiments.paper.studies.fig16 import FIG16, PUBLISHED

SCOPE = Scope((2,), quick=True)


@pytest.fixture(scope="module")
def chapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chapter, ...]:
    """Both figures, of the same runs."""
    return regenerate([FIG15, FIG16], SCOPE, tmp_path_factory.mktemp("end-to-end"))


def test_dilu_needs_fewest_gpus(chapters: tuple[Chapter, ...]) -> None:
    """Exclusive needs half as many again, and whatever is taken away from Dilu saves none."""
    assert chapters[0].result is not None
    gpus = chapters[0].result.table.set_index("system")["peak_gpus"]
    assert list(gpus.index) == list(SYSTEMS)
    assert gpus["dilu"] == gpus.min()
    assert gpus["exclusive"] > 1.3 * gpus["dilu"]
    assert gpus["infless+-l"] > gpus["infless+-r"] > gpus["dilu"]


def test_vertical_scaling_keeps_the_slo(chapters: tuple[Chapter, ...]) -> None:
    """Without it there are more violations, and training is faster."""
    assert chapters[0].result is not None
    table = chapters[0].result.table.set_index("system")
    assert table.loc["dilu-vs", "svr_percent"] > table.loc["dilu", "svr_percent"]
    assert table.loc["dilu-vs", "training_time"] < table.loc["dilu", "training_time"]
    assert table.loc["exclusive", "training_time"] == 1.0


def test_a_reserved_share_brings_more_than_a_whole_gpu(chapters: tuple[Chapter, ...]) -> None:
    """Dilu's aggregate throughput is above Exclusive's, of each function that it does not split."""
    assert chapters[1].result is not None
    table = chapters[1].result.table
    mean = table[table["function"] == "mean"].set_index(["kind", "rival"])["gain"]
    assert set(mean.index) == set(PUBLISHED)
    assert mean["inference", "exclusive"] > 1.0
    single = table[table["rival"] == "exclusive"].set_index("function")["gain"]
    assert single["bert-base"] == pytest.approx(10.0, rel=0.05)  # the whole GPU over a request of 0.1
    assert single["llama2-7b"] == pytest.approx(0.5, rel=0.05)  # over four stages of 0.5


def test_whatever_differs_says_why(chapters: tuple[Chapter, ...]) -> None:
    """No row leaves a difference without a sentence."""
    for chapter in chapters:
        assert chapter.result is not None
        for row in chapter.result.rows:
            assert (row.verdict == "agrees") == (row.why == "")
