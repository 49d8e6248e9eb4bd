"""What the pictures besides frames have in common: ranges of their options, and their counts."""

from math import isfinite, radians
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .model import KineticModel

__all__ = [
    "check_detector",
    "finite_pair",
    "picture_counts",
    "picture_shape",
    "probe_place",
    "require",
]


def require(good: bool, name: str, span: str, value: object) -> None:
    """Raise a ValueError that names the option, its range and the value, unless it is good."""
    if not good:
        raise ValueError(f"{name} must lie in {span}, not {value!r}")


def picture_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns as whole numbers in 1 ... 16384, or raise a ValueError."""
    if len(shape) != 2 or not all(side == int(side) and 1 <= side <= 16384 for side in shape):
        raise ValueError(f"shape must be two whole numbers in 1 ... 16384, not {shape!r}")
    return int(shape[0]), int(shape[1])


def finite_pair(name: str, point: tuple[float, float]) -> tuple[float, float]:
    """Return two finite numbers, or raise a ValueError."""
    if len(point) != 2 or not all(isfinite(value) for value in point):
        raise ValueError(f"{name} must be two finite numbers, not {point!r}")
    return float(point[0]), float(point[1])


def probe_place(
    probe_nm: tuple[float, float] | None, probe_axis_deg: float | None
) -> tuple[bool, float, float, float]:
    """Return whether the tip is there, x and y of its apex (nm) and its body's direction (rad)."""
    x, y = (0.0, 0.0) if probe_nm is None else finite_pair("probe_nm", probe_nm)
    axis = probe_axis_deg if probe_axis_deg is not None else (180.0 if x < 0.0 else 0.0)
    require(isfinite(axis), "probe_axis_deg", "finite numbers", axis)
    return probe_nm is not None, x, y, radians(axis)


def check_detector(
    detector: str, gain: float, offset: float, readout: float, spread: float
) -> bool:
    """Return whether the detector is one with noise of its own, or raise a ValueError."""
    if detector not in ("counting", "ccd"):
        raise ValueError(f"detector must be 'counting' or 'ccd', not {detector!r}")
    for name, value in (("gain", gain), ("offset", offset), ("readout", readout)):
        require(0.0 <= value <= 65535.0, name, "0 ... 65535", value)
    require(0.0 <= spread <= 0.33, "spread", "0 ... 0.33", spread)
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
    ValueError
        A value out of range.
    """
    require(0 <= index < 2**64, "index", "0 ... 2**64 - 1", index)
    check_detector("ccd" if noisy else "counting", gain, offset, readout, spread)
    height, width = mean.shape
    counts = np.empty((height, width), dtype=np.uint16)
    model.core.counts(
        counts,
        mean,
        height,
        width,
        purpose,
        int(index),
        noisy,
        float(gain),
        float(offset),
        float(readout),
        float(spread),
    )
    return counts
