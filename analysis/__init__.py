"""What happened in a run: metrics and comparisons, from the run tables and nothing else."""

from analysis.comparison import METRICS, Metric, compare, write_comparison
from analysis.metrics import summarise

__all__ = ["METRICS", "Metric", "compare", "summarise", "write_comparison"]
