"""What a GPU host is checked for before anything that is measured on it is believed.

`python -m realgpu.checks --out DIR` makes the checks; docs/first-run.md says how to read them. Each runs in a
process of its own with a time limit, and needs nothing but Python, the driver, and for some of it torch.
"""

from realgpu.checks.listing import CHECKS, Check, named
from realgpu.checks.log import Log
from realgpu.checks.record import CheckRecord, Ledger
from realgpu.checks.runner import Runner
from realgpu.checks.settings import Settings
from realgpu.checks.table import table

__all__ = ["CHECKS", "Check", "CheckRecord", "Ledger", "Log", "Runner", "Settings", "named", "table"]
