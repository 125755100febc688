from __future__ import annotations

import pandas as pd
import pytest

from experiments.paper import Chapter, Scope, regenerate
from experiments.paper.studies.fig18 import FIG18, METRICS


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Chapter:
    """The short version of the study."""
    (chapter,) = regenerate([FIG18], Scope((2,), quick=True), tmp_path_factory.mktemp("fig18"))
    return chapter


def means(chapter: Chapter, constant: str, metric: str) -> pd.Series[float]:
    """Return a metric by the value of a constant."""
    assert chapter.result is not None
    table = chapter.result.table
    return table[(table["constant"] == constant) & (table["metric"] == metric)].set_index("value")["mean"]


def test_oversubscription_saves_gpus_up_to_a_point(chapter: Chapter) -> None:
    """Returns diminish beyond 1.5."""
    gpus = means(chapter, "gamma", "peak_gpus")
    assert gpus[1.5] < 0.9 * gpus[1.0]
    assert abs(gpus[2.5] - gpus[1.5]) < 0.1 * (gpus[1.0] - gpus[1.5])


def test_too_few_tokens_hurt_both(chapter: Chapter) -> None:
    """A quarter of the calibrated budget slows training and inference."""
    assert (
        means(chapter, "max_tokens", "training_steps_per_s")[0.25]
        < 0.5 * (means(chapter, "max_tokens", "training_steps_per_s")[1.0])
    )
    assert means(chapter, "max_tokens", "p95_ms")[0.25] > 1.5 * means(chapter, "max_tokens", "p95_ms")[1.0]


def test_the_table_is_whole_and_differences_are_explained(chapter: Chapter) -> None:
    """Every constant has both of its metrics, and no row differs without a sentence."""
    assert chapter.result is not None
    found = set(zip(chapter.result.table["constant"], chapter.result.table["metric"], strict=True))
    assert found == {(constant, metric) for constant, metrics in METRICS.items() for metric in metrics}
    for row in chapter.result.rows:
        assert (row.verdict == "agrees") == (row.why == "")
