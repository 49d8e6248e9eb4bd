"""Interlocks: limits of the station file that act in the device layer, latch, and tell why."""

from .interlocks import Interlocks
from .suspenders import suspend_on_current, suspend_on_dose
from .trip import Finding, Trip

__all__ = ["Finding", "Interlocks", "Trip", "suspend_on_current", "suspend_on_dose"]
