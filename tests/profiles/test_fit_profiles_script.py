import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from profiles import Point, Provenance, draft_of, load_catalog, write_catalog
from profiles.catalog import SHIPPED
from profiles.fit import step_curve_from_points, surface_from_points

SCRIPT = Path(__file__).parents[2] / "scripts" / "fit_profiles.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_script_writes_what_the_points_say(tmp_path: Path) -> None:
    """A wrong coefficient is put right, and nothing else in the file changes beyond fitted values."""
    catalog = tmp_path / "catalog"
    shutil.copytree(SHIPPED, catalog)
    shipped = (catalog / "resnet152.yaml").read_text(encoding="utf-8")
    wrong = shipped.replace("\n  w1_s: 0.0005", "\n  w1_s: 0.0009", 1)
    assert wrong != shipped
    (catalog / "resnet152.yaml").write_text(wrong, encoding="utf-8")

    assert "resnet152" in run(str(catalog)).stdout
    assert (catalog / "resnet152.yaml").read_text(encoding="utf-8") == wrong

    assert run(str(catalog), "--write").returncode == 0
    mended = (catalog / "resnet152.yaml").read_text(encoding="utf-8")
    fitted = ("  l0_s:", "  f1_s:", "  w1_s:", "  w0_s:", "  g:", "  mean_error:", "  max_error:")
    pairs = list(zip(shipped.splitlines(), mended.splitlines(), strict=True))
    assert all(a == b for a, b in pairs if not a.startswith(fitted))
    assert next(b for _, b in pairs if b.startswith("  w1_s:")).startswith("  w1_s: 0.0005")


def test_a_measured_catalog_is_written_anew(tmp_path: Path) -> None:
    """Fits of serving and training, their errors and figures follow from the points of such a catalog."""
    draft = draft_of(load_catalog())
    model = next(model for model in draft.models if model.name == "bert-base")
    assert model.training is not None
    curve = model.training.step
    origin = Provenance("measured", "here")
    steps = [Point(192, share, curve.seconds(share), share == 0.4) for share in (0.1, 0.2, 0.4, 0.7, 1.0)]
    points = [point._replace(held_out=place % 5 == 2) for place, point in enumerate(model.latency.points)]
    wrong = replace(
        model,
        latency=replace(model.latency, points=tuple(points)),
        training=replace(model.training, step=replace(curve, points=tuple(steps), shares=(0.1, 1.0))),
        provenance=model.provenance | {"training.points": origin},
    )
    directory = tmp_path / "catalog"
    write_catalog(directory, replace(draft, models=(wrong,), device={"name": "H100"}))
    result = run(str(directory), "--write", "--figures", str(tmp_path / "figures"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("differs") == 2
    assert (tmp_path / "figures" / "bert-base.png").stat().st_size > 10_000
    mended = load_catalog(directory).model("bert-base")
    assert mended.latency == surface_from_points(points)
    assert mended.training is not None
    assert mended.training.step == step_curve_from_points(steps)
    assert mended.slo_s == model.slo_s


def test_the_script_refuses_a_bad_catalog_in_one_line(tmp_path: Path) -> None:
    """No traceback: a line that names the file, and status 2."""
    result = run(str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "gpu.yaml: found no readable file" in result.stderr
