"""Measures what work costs on a device, on the CPU or by virtual workers, and makes profiles of it."""

from realgpu.calibration.calibrate import calibrate
from realgpu.calibration.campaign import Progress
from realgpu.calibration.failures import Failure
from realgpu.calibration.measuring import Patience
from realgpu.calibration.plan import Goal
from realgpu.calibration.report import CalibrationReport, FitReport
from realgpu.calibration.settings import Settings

__all__ = [
    "CalibrationReport",
    "Failure",
    "FitReport",
    "Goal",
    "Patience",
    "Progress",
    "Settings",
    "calibrate",
]
