"""What the last leakage baseline found, besides the conductance itself."""

from ophyd import Device

from .live_state import LiveState
from .signals import setting


class LeakBaseline(LiveState, Device):
    """Errors, offset, noise and date of the leak; the conductance is the source's own ``leak``."""

    leak_std = setting("Standard deviation of the leak's conductance.", "S", kind="config")
    offset = setting("Current at 0 V without contact.", "A", kind="config")
    offset_std = setting("Standard deviation of the offset.", "A", kind="config")
    noise = setting("Standard deviation of one reading without contact.", "A", kind="config")
    measured_at = setting("When the leak was measured, Unix time; 0: never.", "s", kind="config")
