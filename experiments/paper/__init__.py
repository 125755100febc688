"""The evaluation of Dilu (Lv et al., ASPLOS 2025, arXiv 2503.05130) regenerated: its values beside ours."""

from experiments.paper.claims import Claim, Finding, Row, per_seed
from experiments.paper.page import Chapter
from experiments.paper.regenerate import regenerate
from experiments.paper.studies import STUDIES
from experiments.paper.study import Results, Scope, Study, StudyResult

__all__ = [
    "STUDIES",
    "Chapter",
    "Claim",
    "Finding",
    "Results",
    "Row",
    "Scope",
    "Study",
    "StudyResult",
    "per_seed",
    "regenerate",
]
