"""What a device of the station may be told: the same checks for the instruments and for estimates.

Each function raises LimitError in one line that names the device, the value, the limits and, where
there is one, the key of the station file.  Nothing here knows an instrument.
"""

import math
from collections.abc import Mapping
from typing import Any

from .errors import LimitError

ROUNDING = 1e-9  # by which exposure x rate may exceed 1
MOST_FRAMES = 100_000  # that a Merlin counts in one acquisition
MOST_COMPLIANCE = 100.0  # times that of the station file, unless a device is told otherwise


def check_range(name: str, value: Any, low: float, high: float, unit: str, key: str = "") -> None:
    """Raise LimitError, in one line, unless low <= value <= high."""
    try:
        inside = low <= float(value) <= high
    except (TypeError, ValueError):
        inside = False
    if not inside:
        where = f" ({key} in the station file)" if key else ""
        given = value.item() if hasattr(value, "item") else value  # not "np.float64(20.0)"
        raise LimitError(f"{name}: {given!r} {unit} is outside {low:g} to {high:g} {unit}{where}")


def check_bias(name: str, value: Any, max_bias_V: float) -> None:
    """Raise LimitError when a level (V) is beyond the station's largest magnitude."""
    check_range(name, value, -max_bias_V, max_bias_V, "V", "[bias_source] max_bias_V")


def check_compliance(name: str, amperes: Any, highest_A: float) -> None:
    """Raise LimitError unless a limit of the current (A) is positive and not beyond the highest."""
    check_range(f"{name} compliance", amperes, 0.0, highest_A, "A", "[bias_source] compliance_A")
    if float(amperes) <= 0.0:
        raise LimitError(f"{name}: a compliance of {amperes} A; give a positive one")


def check_steps(name: str, value: Any, max_steps: int) -> None:
    """Raise LimitError when a number of net coarse steps may not be gone to."""
    check_range(name, value, -max_steps, max_steps, "step", "[probe] max_steps")
    if float(value) != int(value):
        raise LimitError(f"{name}: {value} is not a whole number of steps")


def check_fine(name: str, value: Any, max_fine_V: float) -> None:
    """Raise LimitError when a fine offset (V) is not between 0 and the station's largest."""
    check_range(name, value, 0.0, max_fine_V, "V", "[probe] max_fine_V")


def check_timing(name: str, *, exposure_s: float, frame_rate_Hz: float) -> None:
    """Raise LimitError when frames of that exposure cannot come at that rate."""
    for what, value in (("exposure_s", exposure_s), ("frame_rate_Hz", frame_rate_Hz)):
        if not (math.isfinite(value) and value > 0.0):
            raise LimitError(f"{name}: {what} is {value:g}; give a positive number")
    if exposure_s * frame_rate_Hz > 1.0 + ROUNDING:
        raise LimitError(
            f"{name}: an exposure of {exposure_s:g} s does not fit "
            f"{frame_rate_Hz:g} frames a second; at most {1.0 / frame_rate_Hz:.4g} s does"
        )


def check_frame_count(name: str, count: Any) -> int:
    """Return how many frames a camera shall take by itself, 0 for until it is stopped.

    Raises
    ------
    LimitError
        It is no whole number, or more than a camera counts.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_FRAMES:
        raise LimitError(
            f"{name}: frame_count is {count!r}; give a whole number up to {MOST_FRAMES}, "
            "or 0 for frames until the camera is stopped"
        )
    return count


def wants_blanked(name: str, value: object) -> bool:
    """Return whether a setting of the beam blanks it.

    Raises
    ------
    LimitError
        It is neither "blanked" nor "open", nor a truth value (true: blanked).
    """
    if isinstance(value, bool):
        return value
    if value in ("blanked", "open"):
        return value == "blanked"
    raise LimitError(f'{name}: {value!r}; set it to "blanked" or "open"')


def check_known(name: str, value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise LimitError when a device is asked to set something that it does not have."""
    unknown = set(value) - set(known)
    if unknown:
        raise LimitError(
            f"{name}: {', '.join(sorted(unknown))} cannot be set; {', '.join(known)} can"
        )
