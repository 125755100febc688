"""The studies, in the order of the paper."""

from __future__ import annotations

from typing import Final

from experiments.paper.studies.fig7 import FIG7
from experiments.paper.studies.fig8 import FIG8
from experiments.paper.studies.fig9 import FIG9
from experiments.paper.studies.fig10 import FIG10
from experiments.paper.studies.fig11 import FIG11
from experiments.paper.studies.fig12 import FIG12
from experiments.paper.studies.fig13 import FIG13
from experiments.paper.studies.fig14 import FIG14
from experiments.paper.studies.fig15 import FIG15
from experiments.paper.studies.fig16 import FIG16
from experiments.paper.studies.fig17 import FIG17
from experiments.paper.studies.fig18 import FIG18
from experiments.paper.studies.table2 import TABLE2
from experiments.paper.studies.table3 import TABLE3
from experiments.paper.study import Study

_GPU_LEVEL: Final = (TABLE2, FIG7, FIG8, FIG9, FIG10, FIG11)
_CLUSTER_LEVEL: Final = (TABLE3, FIG12, FIG13, FIG14, FIG15, FIG16, FIG17, FIG18)

STUDIES: Final[dict[str, Study]] = {study.name: study for study in (*_GPU_LEVEL, *_CLUSTER_LEVEL)}
"""By name."""
