"""The packages that a first run needs, and how they come to a host that cannot fetch any."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NEEDED: Final = {
    "calibration": {
        "numpy": "numpy",
        "scipy": "scipy",
        "pydantic": "pydantic",
        "yaml": "PyYAML",
    },
    "co-location": {
        "click": "click",
        "rich": "rich",
        "pandas": "pandas",
        "pyarrow": "pyarrow",
        "matplotlib": "matplotlib",
        "simpy": "simpy",
    },
    "device": {"pynvml": "nvidia-ml-py", "torch": "torch", "transformers": "transformers"},
}
"""What each part imports, by module, and the package that has it."""

NOT_INSTALLED: Final = ("torch",)
"""That of the host belongs to its driver."""

_INSTALL_WITHIN_S: Final = 90.0


def install_beside(packages: Sequence[str], wheels: Path, target: Path) -> bool:
    """Install packages into a folder from wheels alone; return whether that went well."""
    call = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]
    call += ["--find-links", str(wheels), "--target", str(target), *packages]
    try:
        done = subprocess.run(call, stdin=subprocess.DEVNULL, timeout=_INSTALL_WITHIN_S, capture_output=True)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def missing_packages() -> list[str]:
    """Return the packages that are not there."""
    return [
        package
        for modules in NEEDED.values()
        for module, package in modules.items()
        if importlib.util.find_spec(module) is None
    ]


def missing_for(*parts: str) -> list[str]:
    """Return the packages that these parts need and that are not there."""
    return [
        package for package in missing_packages() if any(package in NEEDED[part].values() for part in parts)
    ]
