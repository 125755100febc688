"""What the device says of itself while a run goes on."""

from realgpu.sampling.device import NoDeviceError, NvmlDevice
from realgpu.sampling.inventory import Inventory, take_inventory
from realgpu.sampling.nvml import ACTIVITY_UNITS, DEVICE_UNITS, DeviceSampler
from realgpu.sampling.table import SampleTable

__all__ = [
    "ACTIVITY_UNITS",
    "DEVICE_UNITS",
    "DeviceSampler",
    "Inventory",
    "NoDeviceError",
    "NvmlDevice",
    "SampleTable",
    "take_inventory",
]
