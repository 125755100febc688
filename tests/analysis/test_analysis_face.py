from __future__ import annotations

import analysis


def test_the_public_face() -> None:
    """The names that others import are pinned."""
    assert set(analysis.__all__) == {"METRICS", "Metric", "compare", "summarise", "write_comparison"}
