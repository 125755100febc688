from __future__ import annotations

import experiments


def test_the_public_face() -> None:
    """The names that others import are pinned."""
    assert set(experiments.__all__) == {
        "Experiment",
        "ExperimentError",
        "Interrupted",
        "RunDirectory",
        "RunState",
        "Workload",
        "load_experiment",
        "resolve",
        "run_experiment",
        "run_state",
        "shipped_experiments",
    }
