"""Ranges of what may be asked of the specimen, and what all its pictures have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import nan, radians
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import SpecimenError

if TYPE_CHECKING:
    from .model import KineticModel

__all__ = [
    "check_detector",
    "finite_pair",
    "number",
    "picture_counts",
    "picture_shape",
    "probe_place",
    "refusals",
    "require",
    "whole",
]


_FARTHEST_NM: Final = 1e9  # of a picture or the probe from the specimen


@contextmanager
def refusals() -> Iterator[None]:
    """Give what the core refuses the name that this project has for it."""
    try:
        yield
    except ValueError as error:
        raise SpecimenError(str(error)) from None


def require(good: bool, name: str, span: str, value: object) -> None:
    """Raise a SpecimenError that names the option, its range and the value, unless it is good."""
    if not good:
        raise SpecimenError(f"{name} must lie in {span}, not {value!r}")


def number(name: str, value: object, low: float, high: float) -> float:
    """Return a number in ``low`` ... ``high``, or raise a SpecimenError."""
    try:
        result = float(value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        result = nan
    require(low <= result <= high, name, f"{low:g} ... {high:g}", value)
    return result


def whole(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number in ``low`` ... ``high``, or raise a SpecimenError."""
    try:
        result: int = int(value)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
        good = bool(result == value and low <= result <= high)
    except (TypeError, ValueError, OverflowError):
        good, result = False, 0
    if not good:
        raise SpecimenError(f"{name} must be a whole number in {low} ... {high}, not {value!r}")
    return result


def _two(name: str, pair: tuple[float, float]) -> tuple[float, float]:
    try:
        first, second = pair
    except (TypeError, ValueError):
        raise SpecimenError(f"{name} must be two numbers, not {pair!r}") from None
    return first, second


def picture_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns as whole numbers in 1 ... 16384, or raise a SpecimenError."""
    rows, columns = _two("shape", shape)
    return whole("shape", rows, 1, 16384), whole("shape", columns, 1, 16384)


def finite_pair(name: str, point: tuple[float, float]) -> tuple[float, float]:
    """Return two numbers that are places on a specimen, nm, or raise a SpecimenError."""
    x, y = _two(name, point)
    return number(name, x, -_FARTHEST_NM, _FARTHEST_NM), number(
        name, y, -_FARTHEST_NM, _FARTHEST_NM
    )


def probe_place(
    probe_nm: tuple[float, float] | None, probe_axis_deg: float | None
) -> tuple[bool, float, float, float]:
    """Return whether the tip is there, x and y of its apex (nm) and its body's direction (rad)."""
    x, y = (0.0, 0.0) if probe_nm is None else finite_pair("probe_nm", probe_nm)
    axis = probe_axis_deg if probe_axis_deg is not None else (180.0 if x < 0.0 else 0.0)
    return probe_nm is not None, x, y, radians(number("probe_axis_deg", axis, -5e4, 5e4))


def check_detector(
    detector: str, gain: float, offset: float, readout: float, spread: float
) -> bool:
    """Return whether the detector is one with noise of its own, or raise a SpecimenError."""
    if detector not in ("counting", "ccd"):
        raise SpecimenError(f"detector must be 'counting' or 'ccd', not {detector!r}")
    for name, value in (("gain", gain), ("offset", offset), ("readout", readout)):
        number(name, value, 0.0, 65535.0)
    number("spread", spread, 0.0, 0.33)
    return detector == "ccd"


def picture_counts(
    model: "KineticModel",
    mean: NDArray[np.float32],
    purpose: Literal["diffraction", "survey", "frame"],
    *,
    index: int,
    noisy: bool,
    gain: float,
    offset: float,
    readout: float,
    spread: float,
) -> NDArray[np.uint16]:
    """Draw the counts of a detector on which ``mean`` electrons are expected.

    Parameters
    ----------
    mean
        Electrons a pixel, C-contiguous.
    purpose
        Kind of picture; two kinds share no noise, whatever their index.
    index
        Names the noise.
    noisy
        True: with gain, offset, readout noise and spread; False: one count per electron.
    gain, offset, readout, spread
        Counts per electron, counts, counts rms, share of a pixel's charge that each neighbour in
        a line gets.

    Raises
    ------
    SpecimenError
        A value out of range.
    """
    check_detector("ccd" if noisy else "counting", gain, offset, readout, spread)
    height, width = mean.shape
    counts = np.empty((height, width), dtype=np.uint16)
    model.core.counts(
        counts,
        mean,
        height,
        width,
        purpose,
        whole("index", index, 0, 2**64 - 1),
        noisy,
        float(gain),
        float(offset),
        float(readout),
        float(spread),
    )
    return counts
