"""What a device costs comes out as a catalog: known surfaces, seen through workers that have noise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slower_worker import SLOWER
from virtual_device import FEW, QUICK, base, hosting, quick

from profiles import LatencySurface, load_catalog, read_measurements
from realgpu import household
from realgpu.calibration import Goal, Settings, calibrate
from realgpu.errors import RealGpuError

BATCHES, SHARES = (1, 2, 4, 8), (0.1, 0.25, 0.5, 1.0)


def errors(found: LatencySurface, true: LatencySurface) -> np.ndarray:
    """Relative errors of a surface over the grid, of a device that is slower than the profile."""
    pairs = [(found.seconds(b, s), SLOWER * true.seconds(b, s)) for b in BATCHES for s in SHARES]
    return np.array([abs(one / other - 1.0) for one, other in pairs])


def test_surfaces_and_curves_are_recovered_through_noise(tmp_path: Path) -> None:
    """With 2 % noise, surface and step are the device's within 2 % over the range, not the base's."""
    model = quick("bert-base")
    settings = Settings(
        BATCHES, SHARES, goal=Goal(), patience=replace(QUICK, spread=0.01, most=30), pairs=False
    )
    report = calibrate(
        "virtual",
        ["bert-base"],
        out=tmp_path / "catalog",
        base=base(model),
        open_hosting=hosting(noise=0.02),
        settings=settings,
        seed=7,
    )
    found = load_catalog(report.catalog).model("bert-base")
    assert errors(found.latency, model.latency).mean() < 0.01
    assert errors(found.latency, model.latency).max() < 0.02 * 1.5
    assert found.training is not None
    assert model.training is not None
    for share in (0.1, 0.3, 0.6, 1.0):
        assert found.training.step_s(share) == pytest.approx(SLOWER * model.training.step_s(share), rel=0.02)
    serve, train = report.fits
    assert (serve.job, serve.grid, serve.share_by) == ("serve", 16, "virtual")
    assert 9 <= serve.points <= 16
    assert serve.held_out_points >= 2
    assert serve.held_out_mean_error is not None
    assert serve.held_out_mean_error < 0.03
    assert (train.points, train.held_out_points) == (6, 1)
    assert found.provenance["latency"].kind == "fitted"
    assert "virtual workers" in found.provenance["latency"].source
    assert found.provenance["slo_s"] == model.provenance["slo_s"]
    assert report.failures == ()
    assert report.skipped == {}


def test_a_calibration_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is there is not measured again, and a budget of 0 makes a catalog of what is there."""
    out, models = tmp_path / "catalog", ["bert-base:serve"]
    options = {"out": out, "base": base(), "open_hosting": hosting(), "settings": FEW}
    first = calibrate("virtual", models, **options)
    rows = read_measurements(out / "measurements.csv")
    assert first.new_points == len(rows) > 6
    again = calibrate("virtual", models, **options)
    assert (again.new_points, read_measurements(out / "measurements.csv")) == (0, rows)

    kept = rows[:-1]
    text = (out / "measurements.csv").read_text().splitlines(keepends=True)
    (out / "measurements.csv").write_text("".join(text[:-1]) + text[-1][:20])  # cut off in a row
    more = calibrate("virtual", models, **options)
    assert more.new_points == 1
    assert read_measurements(out / "measurements.csv")[:-1] == kept

    none = calibrate("virtual", [*models, "roberta-large"], **(options | {"budget_s": 0.0}))
    assert none.new_points == 0
    assert list(load_catalog(none.catalog).models) == ["bert-base"]
    assert any("roberta-large" in what for what in none.skipped)


def test_a_budget_is_kept(tmp_path: Path) -> None:
    """Nothing is begun that cannot be ended; what was left out is said."""
    slow = quick("roberta-large", latency=LatencySurface(0.05, 0.02, 0.05, 0.01, 3.0))
    report = calibrate(
        "virtual",
        ["bert-base:serve", "roberta-large:serve"],
        out=tmp_path / "catalog",
        base=base(quick("bert-base"), slow),
        open_hosting=hosting(),
        settings=FEW,
        budget_s=4.0,
    )
    assert report.seconds < 5.5  # a busy machine lets the last step and the catalog take longer
    assert "bert-base" in load_catalog(report.catalog).models
    assert [what for what in report.skipped if what.startswith("roberta-large")]


def test_neighbours_are_measured_and_waves_solved_for(tmp_path: Path) -> None:
    """By the law that the workers follow, the wave that comes out is the one that went in."""
    training = quick("roberta-large").training
    assert training is not None
    victim = quick("bert-base", launches=40, wave_s=2e-5)
    neighbour = quick("roberta-large", training=replace(training, wave_s=5e-5))
    report = calibrate(
        "virtual",
        ["bert-base:serve", "roberta-large:train"],
        out=tmp_path / "catalog",
        base=base(victim, neighbour),
        open_hosting=hosting(),
        settings=replace(FEW, pairs=True),
    )
    found = load_catalog(report.catalog)
    beside = [one for one in found.interference if one.neighbour.startswith("roberta-large:train")]
    assert len(beside) == 1
    assert beside[0].wave_s == pytest.approx(5e-5, rel=0.1)
    assert beside[0].slowdown > 1.0
    trained = found.model("roberta-large").training
    assert trained is not None
    assert trained.wave_s == beside[0].wave_s
    assert found.model("roberta-large").provenance["latency"].kind == "derived"
    labels = {one.neighbour for one in found.measurements if one.neighbour is not None}
    assert len(labels) == 3


@pytest.mark.parametrize("kind", ["oom", pytest.param("hang", marks=pytest.mark.slow)])
def test_who_fails_is_written_down_and_the_campaign_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A batch that cannot be served is left out with its reason; a shortage bounds the batches."""
    monkeypatch.setattr(household, "TERMINATE_WITHIN_S", 0.1)
    report = calibrate(
        "virtual",
        ["bert-base:serve"],
        out=tmp_path / "catalog",
        base=base(),
        open_hosting=hosting(misbehave=f"{kind}:8", reply_within_s=0.3, reply_within_expected=0.0),
        settings=replace(FEW, batches=(1, 2, 4, 8)),
    )
    assert {failure.kind for failure in report.failures} == {{"oom": "oom", "hang": "hung"}[kind]}
    assert {failure.batch for failure in report.failures} == {8}
    found = load_catalog(report.catalog).model("bert-base")
    assert (found.max_batch, found.latency.batches) == (4, (1, 4))
    lines = (report.catalog / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == [failure.kind for failure in report.failures]
    if kind == "oom":
        assert len(lines) == 1
        assert "out of memory" in lines[0]


@pytest.mark.parametrize(
    ("models", "values", "fault"),
    [
        ([], {}, "models: found none"),
        (["bert-bas"], {}, "nearest is 'bert-base'"),
        (["bert-base:serv"], {}, r"models: bert-base:serv: found job 'serv', allowed are serve, train"),
        (["bert-base"], {"budget_s": -1.0}, "budget_s: found -1.0"),
        (["bert-base"], {"share_by": "mps"}, "share_by: found 'mps', allowed only for the backend cuda"),
        (["bert-base"], {"budget_s": 0.0}, "no catalog can be made of what was measured"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, models: list[str], values: dict[str, object], fault: str
) -> None:
    """In one line that says what is wrong and what is allowed."""
    with pytest.raises(RealGpuError, match=fault) as refused:
        calibrate("virtual", models, out=tmp_path / "catalog", base=base(), **values)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_measurements_of_another_device_are_refused(tmp_path: Path) -> None:
    """One directory is one device."""
    (tmp_path / "calibration.json").write_text('{"backend": "cuda", "name": "a GPU"}\n')
    with pytest.raises(RealGpuError, match=r"backend: found measurements of 'cuda', allowed is 'virtual'"):
        calibrate("virtual", ["bert-base"], out=tmp_path, base=base())
