"""The studies, in the order of the paper."""

from __future__ import annotations

from typing import Final

from experiments.paper.studies.table2 import TABLE2
from experiments.paper.study import Study

STUDIES: Final[dict[str, Study]] = {study.name: study for study in (TABLE2,)}
"""By name."""
