"""What to run: experiment files, checked and run."""

from experiments.errors import ExperimentError
from experiments.load import Experiment, load_experiment, shipped_experiments
from experiments.run import Interrupted, RunDirectory, run_experiment
from experiments.run_state import RunState, run_state
from experiments.workload import Workload, resolve

__all__ = [
    "Experiment",
    "ExperimentError",
    "Interrupted",
    "RunDirectory",
    "RunState",
    "Workload",
    "load_experiment",
    "resolve",
    "run_experiment",
    "run_state",
    "shipped_experiments",
]
