import shutil
import subprocess
import sys
from pathlib import Path

from profiles.catalog import SHIPPED

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


def test_the_script_refuses_a_bad_catalog_in_one_line(tmp_path: Path) -> None:
    """No traceback: a line that names the file, and status 2."""
    result = run(str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "gpu.yaml: found no readable file" in result.stderr
