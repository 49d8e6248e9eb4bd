"""Covered share of a plane, and count of nuclei on a finite number of sites.

For nuclei that appear at once ("instantaneous") and for nuclei that appear at a constant rate
("progressive"); to compare with pictures, as :mod:`.nucleation_transients` is with currents.

* Covered share: M. Avrami, J. Chem. Phys. 7 (1939) 1103 and 8 (1940) 212; also
  A. N. Kolmogorov (1937) and W. A. Johnson and R. F. Mehl (1939), hence "JMAK".
* Count of nuclei: each site fires once, at its own rate.

All quantities are in SI units.  Functions of time accept a number or an array and return an array
of the same shape; time is counted from the step of the potential and must not be negative.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .nucleation_transients import not_negative, positive

__all__ = ["count_of_nuclei", "coverage", "coverage_instantaneous", "coverage_progressive"]


def coverage_instantaneous(number: float, radius: ArrayLike) -> NDArray[np.float64]:
    """Return the share of a plane covered by discs of equal radius, ``1 - exp(-N pi r**2)``.

    Parameters
    ----------
    number
        Discs per area, centres at random, 1/m2.
    radius
        Their radius, m; a number or the radii at several times.

    Raises
    ------
    ValueError
        A density that is not positive, or a negative radius.

    Examples
    --------
    A hundred nuclei on a square micrometre, each 50 nm in radius:

    >>> float(coverage_instantaneous(1e14, 5e-8).round(3))
    0.544
    """
    r = not_negative(radius)
    positive(number)
    return np.asarray(-np.expm1(-math.pi * number * r * r))


def coverage_progressive(time: ArrayLike, rate: float, speed: float) -> NDArray[np.float64]:
    """Return the share covered by discs that appear and grow, ``1 - exp(-pi J v**2 t**3 / 3)``.

    Parameters
    ----------
    time
        Times, s.
    rate
        Discs per area and time J, at random places, 1/(m2 s); those that would appear on covered
        ground are counted too.
    speed
        At which their radii grow, m/s.

    Raises
    ------
    ValueError
        A quantity that is not positive, or a negative time.
    """
    t = not_negative(time)
    positive(rate, speed)
    return np.asarray(-np.expm1(-math.pi / 3.0 * rate * speed**2 * t**3))


def coverage(time: ArrayLike, sites: float, site_rate: float, speed: float) -> NDArray[np.float64]:
    """Return the share of a plane covered by discs that grow from a finite number of sites.

    It goes over into :func:`coverage_instantaneous` for a large rate of the sites and into
    :func:`coverage_progressive` for a small one.

    Parameters
    ----------
    time
        Times, s.
    sites
        Sites per area N, at random places, 1/m2.
    site_rate
        Rate A at which a site that has not fired yet does so, 1/s.
    speed
        At which the radii of the discs grow, m/s.

    Returns
    -------
    numpy.ndarray
        ``1 - exp(-2 pi N (v/A)**2 (x**2/2 - x + 1 - exp(-x)))`` with x = A t (Avrami 1940).

    Raises
    ------
    ValueError
        A quantity that is not positive, or a negative time.
    """
    t = not_negative(time)
    positive(sites, site_rate, speed)
    x = site_rate * t
    # The closed form cancels for small x; its series serves there.
    series = x**3 * (1 / 6 - x * (1 / 24 - x * (1 / 120 - x * (1 / 720 - x / 5040))))
    extended = np.where(x < 0.02, series, 0.5 * x * x - x - np.expm1(-x))
    return np.asarray(-np.expm1(-2.0 * math.pi * sites * (speed / site_rate) ** 2 * extended))


def count_of_nuclei(
    time: ArrayLike, site_rates: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the expected count of nuclei on sites that each fire once, and how much it scatters.

    Parameters
    ----------
    time
        Times, s.
    site_rates
        Rate k_i of each site at this overpotential, 1/s, 0 or more.

    Returns
    -------
    mean, deviation : numpy.ndarray
        ``sum p_i`` and ``sqrt(sum p_i (1 - p_i))`` with p_i = 1 - exp(-k_i t), at each time.

    Raises
    ------
    ValueError
        A time or rate that is negative or not a number.

    Examples
    --------
    A hundred equal sites after their mean life:

    >>> mean, deviation = count_of_nuclei(1.0, [1.0] * 100)
    >>> f"{mean:.1f} +- {deviation:.1f}"
    '63.2 +- 4.8'
    """
    t, rates = not_negative(time), not_negative(site_rates)
    fired = -np.expm1(-t[..., np.newaxis] * rates.ravel())
    return np.asarray(fired.sum(axis=-1)), np.sqrt((fired * (1.0 - fired)).sum(axis=-1))
