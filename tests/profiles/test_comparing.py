import math
from dataclasses import replace

import pytest

from profiles import (
    Capacity,
    Catalog,
    ModelProfile,
    Point,
    StepCurve,
    compare_catalogs,
    load_catalog,
    summarise,
)

SHIPPED = load_catalog()


def with_model(model: ModelProfile) -> Catalog:
    """Return a catalog of one model."""
    return replace(SHIPPED, models={model.name: model})


def test_a_catalog_does_not_differ_from_itself() -> None:
    """Every ratio is 1, at every place of every grid."""
    rows = compare_catalogs(SHIPPED, SHIPPED)
    assert {row.ratio for row in rows} == {1.0}
    summaries = {(s.model, s.quantity): s for s in summarise(rows)}
    assert summaries["resnet152", "batch_s"].places == 60
    assert summaries["llama2-7b", "batch_s"].places == 50
    assert {model for model, _ in summaries} == set(SHIPPED.models)


def test_a_slower_surface_shows_by_how_much_and_where_most() -> None:
    """More work a request shows most where it counts most: at the largest batch and the smallest share."""
    model = SHIPPED.model("resnet152")
    slower = replace(model, latency=replace(model.latency, w1_s=2.0 * model.latency.w1_s))
    rows = [
        row for row in compare_catalogs(with_model(model), with_model(slower)) if row.quantity == "batch_s"
    ]
    for row in rows:
        assert row.batch is not None
        assert row.share is not None
        assert (row.a, row.b) == (
            model.latency.seconds(row.batch, row.share),
            slower.latency.seconds(row.batch, row.share),
        )
        assert row.ratio == row.b / row.a
    (summary,) = summarise(rows)
    assert (summary.batch, summary.share) == (32, 0.1)
    assert summary.worst_ratio == max(row.ratio for row in rows)
    assert summary.median_ratio == pytest.approx(sorted(row.ratio for row in rows)[30], rel=0.01)
    back = next(s for s in summarise(compare_catalogs(with_model(slower), with_model(model))))
    assert back.worst_ratio == pytest.approx(1.0 / summary.worst_ratio)
    assert (back.batch, back.share) == (32, 0.1)


def test_fits_are_compared_where_both_interpolate() -> None:
    """Points of either count, inside the range of both; without points the common range is walked."""
    model = SHIPPED.model("resnet152")
    small = replace(
        model.latency, batches=(2, 8), shares=(0.25, 1.0), points=(Point(3, 0.25, 0.1), Point(8, 1.0, 0.1))
    )
    rows = compare_catalogs(with_model(model), with_model(replace(model, latency=small)))
    places = {(row.batch, row.share) for row in rows if row.quantity == "batch_s"}
    assert places == {(3, 0.25)} | {(b, tenth / 10) for b in (2, 4, 8) for tenth in range(3, 11)}
    bare = SHIPPED.model("vgg19")
    part = replace(bare, latency=replace(bare.latency, batches=(3, 20), shares=(0.55, 0.8)))
    rows = compare_catalogs(with_model(bare), with_model(part))
    places = {(row.batch, row.share) for row in rows if row.quantity == "batch_s"}
    assert places == {(b, s) for b in (3, 4, 8, 16, 20) for s in (0.55, 0.6, 0.7, 0.8)}
    apart = replace(bare, latency=replace(bare.latency, batches=(64, 64)))
    assert not [r for r in compare_catalogs(with_model(bare), with_model(apart)) if r.quantity == "batch_s"]
    assert bare.extrapolation() is None


def test_steps_of_training_are_compared_at_the_shares_of_both() -> None:
    """The step has its own grid; trainings of different batches have no common step."""
    model = SHIPPED.model("bert-base")
    assert model.training is not None
    step = StepCurve(0.5, 0.1, 2.0, shares=(0.2, 0.6), points=(Point(192, 0.2, 1.0), Point(192, 0.6, 0.6)))
    fitted = replace(model, training=replace(model.training, step=step))
    rows = [r for r in compare_catalogs(with_model(model), with_model(fitted)) if r.quantity == "step_s"]
    assert [(row.batch, row.share) for row in rows] == [(192, 0.2), (192, 0.6)]
    rows = [r for r in compare_catalogs(with_model(model), with_model(model)) if r.quantity == "step_s"]
    assert len(rows) == 10
    other = replace(model, training=replace(model.training, batch=64))
    assert not [r for r in compare_catalogs(with_model(model), with_model(other)) if r.quantity == "step_s"]


def test_what_both_know_beside_the_fits_is_compared() -> None:
    """Launches, memory, start-up and capacity have no place; what one has not is left out."""
    model = SHIPPED.model("vgg19")
    other = replace(
        model,
        launches=86,
        wave_s=0.0,
        startup=replace(model.startup, context_s=0.8),
        capacity=Capacity("blocks", 10.0, line=(1.0, 1.0)),
        training=None,
    )
    ratios = {
        row.quantity: row.ratio
        for row in compare_catalogs(with_model(model), with_model(other))
        if row.batch is None
    }
    assert ratios["launches"] == 2.0
    assert ratios["wave_s"] == 0.0
    assert ratios["startup.context_s"] == 2.0
    assert "capacity.cost_per_s" not in ratios
    assert not any(quantity.startswith("training") for quantity in ratios)
    rows = compare_catalogs(
        with_model(other), with_model(replace(other, capacity=Capacity("blocks", 5.0, line=(1.0, 1.0))))
    )
    assert next(row.ratio for row in rows if row.quantity == "capacity.cost_per_s") == 0.5
    back = compare_catalogs(with_model(other), with_model(model))
    assert next(row.ratio for row in back if row.quantity == "wave_s") == math.inf
    assert next(s.worst_ratio for s in summarise(back) if s.quantity == "wave_s") == math.inf


def test_models_of_one_catalog_only_are_left_out() -> None:
    """There is nothing to compare them with."""
    one, other = with_model(SHIPPED.model("vgg19")), with_model(SHIPPED.model("bert-base"))
    assert compare_catalogs(one, other) == []
    assert summarise([]) == []
