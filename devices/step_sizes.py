"""How large the coarse steps of an axis are, as far as it has been learned."""

from ophyd import Device

from .live_state import LiveState
from .signals import setting


class StepSizes(LiveState, Device):
    """Size of a coarse step in each direction, in volts of the same axis's fine offset.

    The drive has no encoder: `approach_contact` measures by how much the fine offset of the contact
    shifts when coarse steps are made, and leaves it here.  A count of 0 means: not known.
    """

    up_V = setting("A coarse step towards the fibre, in fine offset.", "V", kind="config")
    up_std_V = setting("Standard deviation of one such step.", "V", kind="config")
    up_count = setting("Steps that it was measured from.", "step", value=0, kind="config")
    down_V = setting("A coarse step away from the fibre, in fine offset.", "V", kind="config")
    down_std_V = setting("Standard deviation of one such step.", "V", kind="config")
    down_count = setting("Steps that it was measured from.", "step", value=0, kind="config")
    missed = setting("Steps that were seen not to move the probe.", "step", value=0, kind="config")
