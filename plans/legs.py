"""Parts of a plan whose course is the station's alone; an estimate may know what they take."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg

from .roles import Plan

LEG, LEG_DONE = "leg", "leg_done"  # of "null" messages, which a RunEngine passes over


def leg(name: str, device: Any, settings: dict[str, Any], course: Callable[[], Plan]) -> Plan:
    """Do what `course` says, and return what it found.

    A RunEngine answers nothing to the message in front of it.  An estimate that has walked through
    the same course before, from the same state with the same settings, answers what was found then,
    and the course is not walked again.

    Parameters
    ----------
    name : str
        What it is, for example ``"approach"``.
    device : device
        That it is about.
    settings : dict
        All that its course depends on beside the state of the devices, as numbers and text.
    course : callable
        Returns the plan; it does nothing outside of the devices, and returns plain values.
    """
    known = yield Msg("null", device, **{LEG: name, "settings": settings})
    if known is not None:
        return known
    found = yield from course()
    yield Msg("null", device, **{LEG_DONE: name, "found": found})
    return found
