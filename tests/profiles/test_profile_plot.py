from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from profiles import ModelProfile, Point, Provenance, load_catalog
from profiles.fit import step_curve_from_points, surface_from_points
from profiles.plot import plot_profile


def measured_profile() -> ModelProfile:
    """Return a profile with held-out points, a fitted step, and signs in its origin that TeX would take."""
    model = load_catalog().model("llama2-7b")
    assert model.training is not None
    points = [p._replace(held_out=place % 7 == 3) for place, p in enumerate(model.latency.points)]
    steps = [
        Point(8, share, model.training.step_s(share), share == 0.5) for share in (0.1, 0.3, 0.5, 0.7, 1.0)
    ]
    training = replace(model.training, step=step_curve_from_points(steps))
    origin = Provenance("measured", "here, for $5_000 or $6_000, 100 % & more " * 20)
    return replace(
        model,
        latency=surface_from_points(points),
        training=training,
        provenance=model.provenance | {"latency": origin, "training.points": origin},
    )


SOME = [load_catalog().model("resnet152"), load_catalog().model("vgg19"), measured_profile()]


@pytest.mark.parametrize("model", SOME, ids=lambda model: model.name)
def test_a_profile_is_drawn(tmp_path: Path, model: ModelProfile) -> None:
    """The file is an image with something on it, nothing is left beside, and nothing was asked."""
    fresh = replace(model, latency=replace(model.latency))
    path = plot_profile(fresh, tmp_path / f"{model.name}.png")
    image = imread(path)
    assert image.shape[0] > 500
    assert image.shape[1] > 1000
    assert 0.02 < float(np.mean(image[:, :, :3].min(axis=2) < 0.9)) < 0.5
    assert list(tmp_path.iterdir()) == [path]
    assert fresh.extrapolation() is None
    assert fresh.latency._memo == {}


def test_nothing_on_the_figure_overlaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, heads, axis labels and caption of the fullest figure keep apart and inside."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    plot_profile(measured_profile(), tmp_path / "figure.png")
    (figure,) = figures
    assert len(figure.axes) == 3
    figure.canvas.draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, axes._left_title]  # type: ignore[attr-defined]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    width, height = figure.get_size_inches() * figure.dpi
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
        for other in boxes[:number]:
            assert not box.overlaps(other)


def test_the_name_says_the_kind_of_file(tmp_path: Path) -> None:
    """An SVG is asked for by its suffix, and holds the batches and where the points come from as text."""
    text = plot_profile(SOME[0], tmp_path / "resnet152.svg").read_text(encoding="utf-8")
    assert "batch 32" in text
    assert "github.com/sigserverless/Dilu at 1134655" in text
