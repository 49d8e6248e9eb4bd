"""Laws of errors on a grid: a likelihood that is moved by them, and the interval that is left."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kernel(half: float, sigma: float, step: float) -> Floats:
    """Return a box of that half width, blurred by a normal law, on a grid; it sums up to 1."""
    reach = math.ceil((half + 4.0 * sigma) / step)
    if reach == 0:
        return np.ones(1)
    x = step * np.arange(-reach, reach + 1)
    # The share of each grid cell that the box covers.
    box = np.clip((half + 0.5 * step - np.abs(x)) / step, 0.0, 1.0)
    if sigma > 0.2 * step:
        bell = np.exp(-0.5 * (x / sigma) ** 2)
        box = np.convolve(box, bell, mode="same")
    return np.asarray(box / box.sum())


def smeared(log_likelihood: Floats, kernel: Floats) -> Floats:
    """Return the logarithm of exp(log_likelihood), moved by an error with that law."""
    if len(kernel) == 1:
        return log_likelihood
    top = float(log_likelihood.max())
    reach = len(kernel) // 2
    padded = np.pad(np.exp(log_likelihood - top), reach, mode="edge")
    smeared = np.convolve(padded, kernel, mode="valid")
    return np.asarray(top + np.log(np.maximum(smeared, 1e-300)))


def interval(grid: Floats, density: Floats, held: float) -> tuple[float, float]:
    """Return the central interval that holds the share `held` of a density."""
    step = float(grid[1] - grid[0])
    total = np.concatenate([[0.0], np.cumsum(density)])
    borders = np.concatenate([grid - 0.5 * step, [grid[-1] + 0.5 * step]])
    low, high = np.interp([0.5 * (1.0 - held), 0.5 * (1.0 + held)], total, borders)
    return float(low), float(high)
