"""What to run: experiment files, checked and run."""

from experiments.errors import ExperimentError
from experiments.load import Experiment, load_experiment, shipped_experiments
from experiments.run import Interrupted, RunDirectory, run_experiment
from experiments.workload import Workload, resolve

__all__ = [
    "Experiment",
    "ExperimentError",
    "Interrupted",
    "RunDirectory",
    "Workload",
    "load_experiment",
    "resolve",
    "run_experiment",
    "shipped_experiments",
]
