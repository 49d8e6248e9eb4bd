"""Laws of nucleation and growth, to compare with measured currents.

For nuclei that appear at once ("instantaneous") and for nuclei that appear at a constant rate
("progressive"): the current of hemispherical nuclei fed by diffusion whose zones come to overlap,
B. Scharifker and G. Hills, Electrochim. Acta 28 (1983) 879.  They mean deposition at a constant
potential that keeps the concentration at the surface at zero, from an electrolyte at rest.  Counts
of nuclei and covered shares are in :mod:`.nucleation_coverage`.

A measured current that mixes deposition with a parallel path (charging, the carbon's own lithium,
leakage) has to be freed of that before it is reduced to its maximum.

All quantities are in SI units.  Functions of time accept a number or an array and return an array
of the same shape; time is counted from the step of the potential and must not be negative.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FARADAY",
    "INSTANTANEOUS",
    "PROGRESSIVE",
    "CurrentMaximum",
    "CurveNumbers",
    "Deposit",
    "diffusivity_from_maximum",
    "instantaneous_current",
    "instantaneous_maximum",
    "progressive_current",
    "progressive_maximum",
    "reduced_instantaneous",
    "reduced_progressive",
    "reduced_transient",
]

#: Charge of a mole of elementary charges, C/mol (exact in the SI of 2019).
FARADAY: Final = 6.02214076e23 * 1.602176634e-19


class CurveNumbers(NamedTuple):
    """Numbers of one Scharifker-Hills curve.

    Attributes
    ----------
    exponent
        Value of the exponent at the maximum: the root above zero of ``ln(1 + m x) = x``,
        m = 2 for instantaneous and 4 for progressive nucleation.
    factor
        Factor of the reduced curve, ``1 / (1 - exp(-exponent))**2``.
    product
        ``I_m**2 t_m / ((z F c)**2 D) = 1 / (pi factor)``.
    """

    exponent: float
    factor: float
    product: float


class CurrentMaximum(NamedTuple):
    """When a transient is highest (s) and how high it is (A/m2)."""

    time: float
    current: float


class Deposit(NamedTuple):
    """What is deposited and from where.

    Attributes
    ----------
    concentration
        Of the ions far away, mol/m3.
    diffusivity
        Of the ions, m2/s.
    molar_volume
        Of the metal, m3/mol.
    charges
        Charges of one ion.
    """

    concentration: float
    diffusivity: float
    molar_volume: float
    charges: int = 1

    @property
    def charge_density(self) -> float:
        """Charge of the ions far away, z F c, C/m3."""
        positive(*self)
        return self.charges * FARADAY * self.concentration

    @property
    def zone_growth(self) -> float:
        """Growth of the planar zone that feeds as much as one nucleus takes, pi k D, m2/s."""
        k = math.sqrt(8.0 * math.pi * self.concentration * self.molar_volume)
        return math.pi * k * self.diffusivity


def _curve_numbers(multiple: int) -> CurveNumbers:
    x = 2.0
    for _ in range(100):  # x -> ln(1 + m x) draws together by 0.57 (m = 2) or 0.39 (m = 4)
        x = math.log1p(multiple * x)
    factor = 1.0 / math.expm1(-x) ** 2
    return CurveNumbers(x, factor, 1.0 / (math.pi * factor))


#: 1.2564, 1.9542 and 0.1629 of Scharifker and Hills.
INSTANTANEOUS: Final = _curve_numbers(2)
#: 2.3367, 1.2254 and 0.2598 of Scharifker and Hills.
PROGRESSIVE: Final = _curve_numbers(4)


def reduced_instantaneous(t_over_tm: ArrayLike) -> NDArray[np.float64]:
    """Return (I/I_m)^2 of the instantaneous curve at times in units of that of the maximum.

    It is ``1.9542 / x (1 - exp(-1.2564 x))**2``, with the constants to full precision.

    Raises
    ------
    ValueError
        A time that is negative or not a number.

    Examples
    --------
    >>> reduced_instantaneous([0.0, 1.0, 4.0]).round(3).tolist()
    [0.0, 1.0, 0.482]
    """
    x = not_negative(t_over_tm)
    # (1 - e^-ax)^2 / x as x ((1 - e^-ax)/x)^2, which has no 0/0.
    return np.asarray(INSTANTANEOUS.factor * x * _rise(INSTANTANEOUS.exponent, x) ** 2)


def reduced_progressive(t_over_tm: ArrayLike) -> NDArray[np.float64]:
    """Return (I/I_m)^2 of the progressive curve at times in units of that of the maximum.

    It is ``1.2254 / x (1 - exp(-2.3367 x**2))**2``, with the constants to full precision.

    Raises
    ------
    ValueError
        A time that is negative or not a number.

    Examples
    --------
    >>> reduced_progressive([0.0, 1.0, 4.0]).round(3).tolist()
    [0.0, 1.0, 0.306]
    """
    x = not_negative(t_over_tm)
    return np.asarray(PROGRESSIVE.factor * x**3 * _rise(PROGRESSIVE.exponent, x * x) ** 2)


def reduced_transient(
    time: ArrayLike, current: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reduce a measured transient to its maximum, to lay it over the two curves.

    Parameters
    ----------
    time
        Times since the step, rising, s.
    current
        Current that deposits metal, either sign throughout, A or A/m2.

    Returns
    -------
    t_over_tm, square : numpy.ndarray
        t/t_m and (I/I_m)^2.  The maximum is that of the parabola through the highest sample and
        its two neighbours, so that a coarse sampling hardly shifts it.

    Raises
    ------
    ValueError
        Fewer than three samples, lengths that differ, times that do not rise, or the highest
        sample is the first or the last one: then there is no maximum to reduce to.
    """
    t, i = not_negative(time), np.abs(np.asarray(current, dtype=np.float64))
    if t.ndim != 1 or t.shape != i.shape or len(t) < 3 or not np.isfinite(i).all():
        raise ValueError("a transient needs as many currents as times, at least three")
    if not (np.diff(t) > 0.0).all():
        raise ValueError("the times of a transient must rise")
    top = int(np.argmax(i))
    if not 0 < top < len(t) - 1:
        raise ValueError("the transient has no maximum between its first and last sample")
    x, y = t[top - 1 : top + 2] - t[top], i[top - 1 : top + 2] / i[top]
    left, right = (y[1] - y[0]) / -x[0], (y[2] - y[1]) / x[2]
    bend = (right - left) / (x[2] - x[0])
    slope = left - bend * x[0]  # of y = 1 + slope x + bend x^2
    shift = -0.5 * slope / bend if bend < 0.0 else 0.0
    return t / (t[top] + shift), (i / (i[top] * (1.0 + 0.5 * slope * shift))) ** 2


def instantaneous_current(time: ArrayLike, number: float, deposit: Deposit) -> NDArray[np.float64]:
    """Return the current density of nuclei that all appear at time 0, A/m2.

    It is ``z F c sqrt(D/(pi t)) (1 - exp(-N pi k D t))`` with k = sqrt(8 pi c V_m); 0 at time 0.

    Parameters
    ----------
    time
        Times since the step, s.
    number
        Nuclei per area N, 1/m2.
    deposit
        Metal and electrolyte.

    Raises
    ------
    ValueError
        A quantity that is not positive, or a negative time.
    """
    t, scale = not_negative(time), deposit.charge_density
    positive(number)
    start = scale * math.sqrt(deposit.diffusivity / math.pi)
    return np.asarray(start * np.sqrt(t) * _rise(number * deposit.zone_growth, t))


def progressive_current(time: ArrayLike, rate: float, deposit: Deposit) -> NDArray[np.float64]:
    """Return the current density of nuclei that appear at a constant rate, A/m2.

    It is ``z F c sqrt(D/(pi t)) (1 - exp(-J pi k' D t**2 / 2))`` with k' = 4/3 sqrt(8 pi c V_m).

    Parameters
    ----------
    time
        Times since the step, s.
    rate
        Nuclei per area and time J (A N_infinity of the paper), 1/(m2 s).
    deposit
        Metal and electrolyte.

    Raises
    ------
    ValueError
        A quantity that is not positive, or a negative time.
    """
    t, scale = not_negative(time), deposit.charge_density
    positive(rate)
    start = scale * math.sqrt(deposit.diffusivity / math.pi)
    return np.asarray(start * t**1.5 * _rise(2.0 / 3.0 * rate * deposit.zone_growth, t * t))


def instantaneous_maximum(number: float, deposit: Deposit) -> CurrentMaximum:
    """Return where :func:`instantaneous_current` of the same arguments is highest."""
    scale = deposit.charge_density
    positive(number)
    time = INSTANTANEOUS.exponent / (number * deposit.zone_growth)
    return CurrentMaximum(
        time, scale * math.sqrt(INSTANTANEOUS.product * deposit.diffusivity / time)
    )


def progressive_maximum(rate: float, deposit: Deposit) -> CurrentMaximum:
    """Return where :func:`progressive_current` of the same arguments is highest."""
    scale = deposit.charge_density
    positive(rate)
    time = math.sqrt(1.5 * PROGRESSIVE.exponent / (rate * deposit.zone_growth))
    return CurrentMaximum(time, scale * math.sqrt(PROGRESSIVE.product * deposit.diffusivity / time))


def diffusivity_from_maximum(
    maximum: CurrentMaximum, numbers: CurveNumbers, concentration: float, charges: int = 1
) -> float:
    """Return the diffusivity that a measured maximum tells, ``I_m**2 t_m / (product (zFc)**2)``.

    Parameters
    ----------
    maximum
        Time (s) and height (A/m2) of the measured maximum.
    numbers
        :data:`INSTANTANEOUS` or :data:`PROGRESSIVE`, whichever the reduced transient follows.
    concentration
        Of the ions far away, mol/m3.
    charges
        Charges of one ion.

    Returns
    -------
    float
        Diffusivity of the ions, m2/s.

    Raises
    ------
    ValueError
        A quantity that is not positive.

    Examples
    --------
    A maximum of 120 A/m2 after 2 s, nuclei all at once, 1 mol/l:

    >>> f"{diffusivity_from_maximum(CurrentMaximum(2.0, 120.0), INSTANTANEOUS, 1000.0):.2e} m2/s"
    '1.90e-11 m2/s'
    """
    positive(maximum.time, maximum.current, concentration, charges)
    scale = charges * FARADAY * concentration
    return maximum.current**2 * maximum.time / (numbers.product * scale * scale)


def _rise(rate: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 - exp(-rate x)) / x, also at x = 0."""
    safe = np.where(x > 0.0, x, 1.0)
    return np.where(x > 0.0, -np.expm1(-rate * safe) / safe, rate)


def not_negative(values: ArrayLike) -> NDArray[np.float64]:
    """Return an array of times, radii or rates; raises ValueError for one below 0, or NaN."""
    array = np.asarray(values, dtype=np.float64)
    if not (array >= 0.0).all():
        raise ValueError("times, radii and rates of sites must be numbers of 0 or more")
    return array


def positive(*values: float) -> None:
    """Raise ValueError unless all constants are positive and finite."""
    for value in values:
        if not 0.0 < value < math.inf:
            raise ValueError(f"a density, rate, speed or constant must be positive, not {value!r}")
