"""Cells of a study: runs that are known by what goes into them, done side by side and never twice."""

from experiments.cells.cell import Cell, cell_key
from experiments.cells.pool import Done, Failed, run_cells

__all__ = ["Cell", "Done", "Failed", "cell_key", "run_cells"]
