"""Vertical scaling: which share each resident of a GPU may use now."""

from policies.vertical.rckm import Rckm
from policies.vertical.rckm_reference import RckmReference
from policies.vertical.static import StaticQuota

__all__ = [
    "Rckm",
    "RckmReference",
    "StaticQuota",
]
