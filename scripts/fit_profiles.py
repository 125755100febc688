#!/usr/bin/env python3
"""Fit the latency surface of every profile that has raw points again, and compare with what its file says.

Prints a table; with `--write`, puts new coefficients and errors into the files.

    python scripts/fit_profiles.py [DIRECTORY] [--write]
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiles import ProfileError, load_catalog
from profiles.catalog import SHIPPED
from profiles.fit import SurfaceFit, fit_surface


def main() -> int:
    """Fit, print, and write if asked to; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, default=SHIPPED, help="catalog (default: shipped)")
    parser.add_argument("--write", action="store_true", help="put the result into the files")
    arguments = parser.parse_args()
    try:
        models = load_catalog(arguments.directory).models
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 2

    print(f"{'model':<16}{'L0 ms':>8}{'f1 ms':>8}{'w1 ms':>8}{'w0 ms':>8}{'g':>7}{'mean':>8}{'max':>8}  file")
    for name, model in models.items():
        if not model.latency.points:
            print(f"{name:<16}no raw points")
            continue
        fit = fit_surface(model.latency.points)
        shipped = model.latency
        same = fit == SurfaceFit(
            shipped.l0_s,
            shipped.f1_s,
            shipped.w1_s,
            shipped.w0_s,
            shipped.g,
            shipped.fit_mean_error if shipped.fit_mean_error is not None else math.inf,
            shipped.fit_max_error if shipped.fit_max_error is not None else math.inf,
        )
        milliseconds = "".join(f"{1e3 * s:8.3f}" for s in (fit.l0_s, fit.f1_s, fit.w1_s, fit.w0_s))
        errors = f"{fit.mean_error:8.1%}{fit.max_error:8.1%}"
        print(f"{name:<16}{milliseconds}{fit.g:7.2f}{errors}  {'same' if same else 'differs'}")
        if arguments.write and not same:
            write(arguments.directory / f"{name}.yaml", fit)
    return 0


def write(path: Path, fit: SurfaceFit) -> None:
    """Replace the values of the latency section, which are plain lines; comments and origins stay."""
    head, mark, rest = path.read_text(encoding="utf-8").partition("\nslo_s:")
    for key, value in asdict(fit).items():
        head, found = re.subn(rf"(?m)^(  {key}:).*$", rf"\1 {value:.9f}".rstrip("0"), head)
        if found != 1:
            raise SystemExit(f"{path}: latency.{key}: found {found} lines, expected one")
    path.write_text(head + mark + rest, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
