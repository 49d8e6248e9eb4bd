"""The equations of the kinetic model one by one, and what they make of Fig. 4 of the paper.

Each function calls the C core, so that these are the equations of a run.  Fig. 4 of Wang et
al., ACS Energy Lett. 2023, 8, 1929 is molecular dynamics; here is its reduced form:
:func:`crystalline_share` (4c), :func:`surface_diffusivity_nm2_s` and its two neighbours (4d, e),
:func:`boundary_life` (4b).

All functions take numbers or arrays, which are broadcast, and return a number or an array.
``parameters`` is a :class:`.KineticModel`, or the values that differ from the defaults by name
(see :mod:`.presets`; ``PRESETS["na"]`` will do), or ``None`` for lithium as in preset ``fig2``.
They raise ``SpecimenError`` for a bad parameter; an argument outside the domain of an equation
gives NaN, infinity or a number without meaning.  In the formulas a is the radius of the contact
line, R that of the sphere, theta the contact angle, V the volume, eta the overpotential (V,
positive deposits), Omega the atomic volume, gamma the surface energy.

>>> round(float(np.degrees(crossing_angle())), 4)
44.2667
>>> crystalline_share([250, 1000, 1e4]).round(2).tolist()
[0.16, 0.5, 0.74]
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _kinetics
from .model import KineticModel
from .pictures import refusals
from .presets import resolve

__all__ = [
    "boundary_life",
    "cap_angle",
    "cap_area_constant",
    "cap_base_radius_nm",
    "cap_free_area_nm2",
    "cap_height_nm",
    "cap_radius_nm",
    "cap_side_area_nm2",
    "cap_volume_factor",
    "critical_radius_nm",
    "crossing_angle",
    "crystalline_share",
    "facet_equilibrium",
    "facet_goal",
    "facet_ratio",
    "free_standing_diffusivity_nm2_s",
    "half_cube_area_constant",
    "mean_crystalline_share",
    "migration_diffusivity_nm2_s",
    "mullins_coefficient_nm4_s",
    "nucleation_rate",
    "nucleus_volume_nm3",
    "particle_current",
    "rounding_time",
    "size_factor",
    "slid_base_radius_nm",
    "supported_diffusivity_nm2_s",
    "surface_diffusivity_nm2_s",
]

ParameterSet = KineticModel | Mapping[str, float] | None
Numbers = np.float64 | NDArray[np.float64]


def _evaluate(name: str, parameters: ParameterSet, *arguments: ArrayLike) -> Numbers:
    given = parameters.parameters if isinstance(parameters, KineticModel) else parameters or {}
    values = tuple(resolve("fig2", given).values())
    columns = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in arguments))
    with refusals():
        row = _kinetics.evaluate(name, values, *(column.tobytes() for column in columns))
    shape = columns[0].shape if columns else ()
    result: Numbers = np.frombuffer(row, dtype=np.float64).reshape(shape)[()]
    return result


# ---- caps (eqs 1-6 of the paper are the case theta = 60 degrees) -----------------------------


def cap_volume_factor(contact_angle_rad: ArrayLike) -> Numbers:
    """V/a^3 of a cap: (pi/6) t (3 + t^2), t = tan(theta/2)."""
    return _evaluate("cap_volume_factor", None, contact_angle_rad)


def cap_base_radius_nm(volume_nm3: ArrayLike, contact_angle_rad: ArrayLike) -> Numbers:
    """Radius a of the contact line, nm, from volume and angle."""
    return _evaluate("cap_base_radius", None, volume_nm3, contact_angle_rad)


def cap_angle(volume_nm3: ArrayLike, base_radius_nm: ArrayLike) -> Numbers:
    """Contact angle, rad, from V and a: t = 2 sinh(asinh(3V/(pi a^3))/3), theta = 2 atan t."""
    return _evaluate("cap_angle", None, volume_nm3, base_radius_nm)


def cap_radius_nm(base_radius_nm: ArrayLike, contact_angle_rad: ArrayLike) -> Numbers:
    """Radius R of the sphere, nm: a / sin theta."""
    return _evaluate("cap_radius", None, base_radius_nm, contact_angle_rad)


def cap_height_nm(base_radius_nm: ArrayLike, contact_angle_rad: ArrayLike) -> Numbers:
    """Height, nm: a tan(theta/2)."""
    return _evaluate("cap_height", None, base_radius_nm, contact_angle_rad)


def cap_free_area_nm2(base_radius_nm: ArrayLike, contact_angle_rad: ArrayLike) -> Numbers:
    """Area of the free surface, nm2: pi a^2 (1 + tan^2(theta/2)); eq. 1 at 60 degrees."""
    return _evaluate("cap_free_area", None, base_radius_nm, contact_angle_rad)


def cap_side_area_nm2(base_radius_nm: ArrayLike, contact_angle_rad: ArrayLike) -> Numbers:
    """Area seen from the side, nm2: R^2 (theta - sin theta cos theta)."""
    return _evaluate("cap_side_area", None, base_radius_nm, contact_angle_rad)


def cap_area_constant(contact_angle_rad: ArrayLike) -> Numbers:
    """Free area over V^(2/3) of a cap; C1 = pi (24/(5 pi))^(2/3) of eq. 5 at 60 degrees."""
    return _evaluate("cap_area_constant", None, contact_angle_rad)


def half_cube_area_constant() -> Numbers:
    """Free area over V^(2/3) of a half cube: C2 = 3 2^(2/3) of eq. 6."""
    return _evaluate("half_cube_area_constant", None)


def crossing_angle() -> Numbers:
    """Contact angle, rad, below which a cap has more free area than the half cube."""
    return _evaluate("crossing_angle", None)


def slid_base_radius_nm(
    volume_nm3: ArrayLike, base_radius_nm: ArrayLike, parameters: ParameterSet = None
) -> Numbers:
    """Radius of the contact line, nm, once it has slid where its angle lets it not stay.

    The line rests while theta lies between the receding and the advancing angle; else it goes to
    where theta is the nearer of the two.
    """
    return _evaluate("slid_base_radius", parameters, volume_nm3, base_radius_nm)


# ---- circuit and nucleation ------------------------------------------------------------------


def particle_current(
    overpotential_V: ArrayLike,
    base_radius_nm: ArrayLike,
    contact_angle_rad: ArrayLike,
    *,
    phi: ArrayLike = 0.0,
    feed: ArrayLike = 1.0,
    parameters: ParameterSet = None,
) -> Numbers:
    """Return the current of a particle, A, + deposits: Butler-Volmer with limits of transport.

    I = m (F - B) / (1 + F/(K_L R g) + B/(K_A R g)), F = j0 S exp(alpha f e),
    B = j0 S exp(-(1 - alpha) f e), e = eta - 2 gamma Omega/(e0 R), f = e0/(kB T), S the free area;
    m = 1 - s_g phi while depositing, 1 - s_s phi^2 (3 - 2 phi) while stripping.

    Parameters
    ----------
    overpotential_V
        eta.
    base_radius_nm, contact_angle_rad
        The cap.
    phi
        Facet order, 0 droplet ... 1 faceted.
    feed
        Factor g of the limits of transport.
    parameters
        See the module.
    """
    columns = (overpotential_V, base_radius_nm, contact_angle_rad, phi, feed)
    return _evaluate("particle_current", parameters, *columns) * np.float64(1e-12)


def critical_radius_nm(overpotential_V: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Radius of the critical nucleus, nm: 2 gamma Omega/(e0 eta)."""
    return _evaluate("critical_radius", parameters, overpotential_V)


def nucleus_volume_nm3(overpotential_V: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Volume of a new nucleus, nm3: ``nucleus_atoms`` or a cap of 1.1 critical radii, if larger."""
    return _evaluate("nucleus_volume", parameters, overpotential_V)


def nucleation_rate(overpotential_V: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Rate of a site of median strength, 1/s: k0 exp(-B ((eta_ref/eta)^2 - 1)), 0 if eta <= 0."""
    return _evaluate("nucleation_rate", parameters, overpotential_V)


# ---- diffusion (Fig. 4d, e) ------------------------------------------------------------------


def size_factor(radius_nm: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Rise of diffusivities in small particles: exp(min(R_D/R, 6)), R_D = 8 nm (a fit)."""
    return _evaluate("size_factor", parameters, radius_nm)


def surface_diffusivity_nm2_s(radius_nm: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Diffusivity of atoms on the surface of a particle, nm2/s: D_s times the size factor."""
    return _evaluate("surface_diffusivity", parameters, radius_nm)


def supported_diffusivity_nm2_s(radius_nm: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Mean over all atoms of a particle on the fibre, nm2/s.

    One tenth of :func:`surface_diffusivity_nm2_s`: the paper finds surface atoms faster than the
    whole particle by one order of magnitude.
    """
    return _evaluate("supported_diffusivity", parameters, radius_nm)


def free_standing_diffusivity_nm2_s(
    radius_nm: ArrayLike, parameters: ParameterSet = None
) -> Numbers:
    """Mean over all atoms of a particle without support, nm2/s.

    One eighth of :func:`supported_diffusivity_nm2_s`.  The main text only says that the fibre
    raises the diffusivity much; the number is an assumption.
    """
    return _evaluate("free_standing_diffusivity", parameters, radius_nm)


def migration_diffusivity_nm2_s(
    radius_nm: ArrayLike, phi: ArrayLike = 0.0, parameters: ParameterSet = None
) -> Numbers:
    """Diffusivity of a whole particle on the fibre, nm2/s.

    D_c = c_m D_s(R) (Omega^(1/3)/R)^4 (1 - phi)^2 exp(-E_pin/(kB T)); phi is the facet order.
    """
    return _evaluate("migration_diffusivity", parameters, radius_nm, phi)


# ---- shape, facets, grains -------------------------------------------------------------------


def mullins_coefficient_nm4_s(radius_nm: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Mullins' coefficient of surface diffusion B(R), nm4/s: D_s(R) gamma Omega^(4/3)/(kB T)."""
    return _evaluate("mullins_coefficient", parameters, radius_nm)


def rounding_time(radius_nm: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Time in which the neck of two fused bodies falls to 1/e, s: 0.89 R^4/B(R).

    Nichols and Mullins 1965; R is that of the particle they become.
    """
    return _evaluate("rounding_time", parameters, radius_nm)


def facet_ratio(
    radius_nm: ArrayLike, speed_nm_s: ArrayLike = 0.0, parameters: ParameterSet = None
) -> Numbers:
    """Facet development over rounding, x = k_f/k_r, of a radius that grows at a speed, nm/s.

    k_f = (kappa + R v)/R^2, k_r = c_r B(R)/R^4.
    """
    return _evaluate("facet_ratio", parameters, radius_nm, speed_nm_s)


def facet_equilibrium(
    ratio: ArrayLike, phi: ArrayLike = 0.0, parameters: ParameterSet = None
) -> Numbers:
    """Facet order that phi relaxes to at :func:`facet_ratio` x, while depositing or at rest.

    phi_L + (1 - phi_L) y^m/(1 + y^m), phi_L = s x^2/(x^2 + x_L^2), y = x (1 + b phi)/x_G.  It rises
    with phi itself, which makes the switch steep: at rest in itself, phi goes from 0.4 to 0.7
    between x = 1.6 and 1.8.  (With ``local_facet_share`` of 0.1 one x has two stable values.)
    """
    return _evaluate("facet_equilibrium", parameters, ratio, phi)


def facet_goal(
    radius_nm: ArrayLike,
    speed_nm_s: ArrayLike = 0.0,
    phi: ArrayLike = 0.0,
    parameters: ParameterSet = None,
) -> Numbers:
    """Facet order that a run drives phi to: both of the above in one, by the code of the tick."""
    return _evaluate("facet_goal", parameters, radius_nm, speed_nm_s, phi)


def boundary_life(radius_nm: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """Life of the grain boundary of a bicrystal, s: R^2 over ``boundary_sweep_nm2_s`` (Fig. 4b)."""
    return _evaluate("boundary_life", parameters, radius_nm)


def crystalline_share(atoms: ArrayLike, parameters: ParameterSet = None) -> Numbers:
    """BCC share of the atoms of a particle (Fig. 4c).

    f = max(0, 1 - 0.35 nm/R_eq)^3 / (1 + (250/n)^3): a disordered surface of 0.35 nm, and no
    crystal at all well below 250 atoms.  R_eq is the radius of a sphere of n atoms.
    """
    return _evaluate("crystalline_share", parameters, atoms)


def mean_crystalline_share(particles: NDArray[np.void]) -> float:
    """BCC share of all atoms on the fibres, from :attr:`.KineticModel.particles`; 0 if none."""
    volume = particles["volume_nm3"]
    return float(np.average(particles["crystalline"], weights=volume)) if len(volume) else 0.0
