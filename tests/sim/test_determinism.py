"""The same experiment and seed give the same bytes, whatever Python's hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

from simulated import NO_ARRIVALS, model, poisson, run, serves, trains

from policies import Size

SCRIPT = "import test_determinism; print(test_determinism.digest())"


def digest() -> str:
    """Hash of all tables of a contended run."""
    functions = [
        serves(
            model(f"m{i}", floor_s=0.01, work_s=0.004, launches=300, wave_s=2e-5),
            Size(4, 0.2, 0.5),
            name=f"f{i}",
        )
        for i in range(4)
    ]
    functions.append(trains(model("job", launches=500, wave_s=8e-5), Size(1, 0.3, 0.9), workers=2))
    arrivals = [poisson(60.0 * (i + 1), 2_000, seed=i) for i in range(4)] + [NO_ARRIVALS]
    ran = run(functions, arrivals, duration_s=30.0, gpus_per_node=4)
    return hashlib.sha256(ran.tables()).hexdigest()


def test_two_runs_are_identical_under_any_hash_seed() -> None:
    """Runs in processes of different PYTHONHASHSEED, and without NumPy's wider vectors, agree to the byte."""
    digests = {digest()}
    paths = os.pathsep.join(path for path in sys.path if path)
    for hash_seed in ("0", "4242"):
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": paths,
            "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX" if hash_seed == "0" else "",
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
