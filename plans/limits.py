"""What a plan may be given; a mistake is told before anything moves."""

import math
from typing import Any

from stmtem_control.errors import LimitError

MOST_CYCLES = 10_000


def check_number(name: str, value: Any) -> float:
    """Return `value` if it is a finite number.

    Raises
    ------
    LimitError
        It is text, a truth value, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LimitError(f"{name} is {value!r}; give a number")
    if not math.isfinite(value):
        raise LimitError(f"{name} is {value}; give a finite number")
    return float(value)


def check_count(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number from `least` to `most`.

    Raises
    ------
    LimitError
        It is not.
    """
    span = f"{least} or more" if most is None else f"{least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise LimitError(f"{name} is {value!r}; give a whole number, {span}")
    if value < least or (most is not None and value > most):
        raise LimitError(f"{name} is {value}; give {span}")
    return value


def check_roles(**devices: Any) -> None:
    """Make sure that each device can play its part: bias, camera, beam or probe.

    Raises
    ------
    LimitError
        Devices were given in another order than the plan takes them.
    """
    for role, device in devices.items():
        needed = {
            "bias": "set_compliance",
            "camera": "check_timing",
            "beam": "blanked",
            "probe": "ground",
        }[role]
        if device is not None and not hasattr(device, needed):
            name = getattr(device, "name", repr(device))
            raise LimitError(f"{role} is {name!r}, which is none; mind the order of the devices")


def check_sign(name: str, volts: float, *, negative: bool) -> None:
    """Make sure that a bias at the fibre deposits lithium (negative), or strips it.

    Raises
    ------
    LimitError
        It is no number, or has the wrong sign, or none.
    """
    check_number(name, volts)
    if volts >= 0.0 if negative else volts <= 0.0:
        side = "below" if negative else "above"
        what = "deposits" if negative else "strips"
        raise LimitError(f"{name} is {volts:g} V; give a bias {side} zero, which {what} lithium")
