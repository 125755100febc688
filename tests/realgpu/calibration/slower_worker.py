"""A virtual worker that takes longer than its profile says; the environment's MISBEHAVE names what else.

`oom:B` runs out of memory at batches of B and more, `hang:B` does not end one of B, `crash:B` ends there.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import Any

from realgpu.errors import RealGpuError
from realgpu.workers import worker
from realgpu.workers.backends.virtual import VirtualBackend

SLOWER = 1.7


class SlowerBackend(VirtualBackend):
    """Its device is another one than the profile's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        latency = self._profile.latency
        names = ("l0_s", "f1_s", "w1_s", "w0_s")
        slower = replace(latency, **{name: SLOWER * getattr(latency, name) for name in names})
        training = self._profile.training
        if training is not None:
            step = training.step
            step = replace(step, floor_s=SLOWER * step.floor_s, work_s=SLOWER * step.work_s)
            training = replace(training, step=step)
        self._profile = replace(self._profile, latency=slower, training=training)

    def run(self, count: int, *arguments: Any) -> Any:
        """Serve, or do what is wrong from this batch on."""
        what, _, least = os.environ.get("MISBEHAVE", "").partition(":")
        if what and count >= int(least):
            if what == "oom":
                raise RealGpuError("out of memory: 3 GiB wanted, 2 GiB are left")
            if what == "hang":
                time.sleep(3600)
            os._exit(3)
        return super().run(count, *arguments)


if __name__ == "__main__":
    worker.make_backend = SlowerBackend  # type: ignore[assignment]
    sys.exit(worker.live(int(sys.argv[1])))
