"""Kolmogorov's test, for the checks that ask whether numbers follow a distribution."""

import math

import numpy as np
from numpy.typing import NDArray


def kolmogorov_p(levels: NDArray[np.float64]) -> float:
    """Probability that uniform numbers depart from the diagonal at least as far as these.

    `levels` are the values of the distribution function at the draws, in any order.  M. A.
    Stephens's correction for a finite number of draws (J. R. Stat. Soc. B 32 (1970) 115).
    """
    u, n = np.sort(levels), len(levels)
    above = (np.arange(1, n + 1) / n - u).max()
    below = (u - np.arange(n) / n).max()
    distance = max(above, below) * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
    terms = [(-1) ** (k - 1) * math.exp(-2.0 * (k * distance) ** 2) for k in range(1, 101)]
    return min(1.0, max(0.0, 2.0 * sum(terms))) if distance > 0.2 else 1.0


def normal_levels(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distribution function of the standard normal."""
    return np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z.ravel()])
