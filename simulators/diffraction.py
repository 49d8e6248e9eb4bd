"""Electron diffraction of the specimen: patterns of a selected area and tables of reflections.

Spots of the BCC grains with their orientation, size and thickness, the halo of what is not (yet)
crystalline, rings of the oxide skin and of the carbon fibre, and the central beam; equations and
sources are in ``kinetics/diffraction.h`` and ``kinetics/scattering.h``.
"""

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import SpecimenError

from . import _kinetics
from .model import KineticModel
from .pictures import finite_pair, number, picture_counts, picture_shape

__all__ = [
    "bcc_reflections",
    "diffraction_intensity",
    "diffraction_pattern",
    "grain_orientations",
    "lattice_constant_A",
    "scale_inverse_A",
]

#: One row of :func:`bcc_reflections`.
REFLECTION: Final = np.dtype(
    [
        ("hkl", "i8", (3,)),
        ("multiplicity", "i8"),
        ("d_A", "f8"),
        ("inverse_d_A", "f8"),
        ("two_theta_mrad", "f8"),
        ("f_e_A", "f8"),
        ("extinction_nm", "f8"),
        ("powder_static", "f8"),
        ("powder", "f8"),
        ("ring", "f8"),
    ]
)

#: One row of :func:`grain_orientations`.
GRAIN: Final = np.dtype(
    [
        ("uid", "i8"),
        ("lattice", "i8"),
        ("volume_nm3", "f8"),
        ("crystalline", "f8"),
        ("rotation", "f8", (3, 3)),
    ]
)

_METALS: Final = ("Li", "Na", "K")


def bcc_reflections(
    lattice_A: float,
    energy_keV: float,
    *,
    metal: Literal["Li", "Na", "K"] = "Li",
    largest_inverse_A: float = 1.2,
) -> NDArray[np.void]:
    """List the families of reflections of a BCC alkali metal, in order of 1/d.

    Parameters
    ----------
    lattice_A
        Lattice constant, 1 ... 10 A; lithium 3.51.
    energy_keV
        Of the electrons, 30 ... 1000.
    metal
        Whose scattering factor and thermal motion.
    largest_inverse_A
        Largest 1/d listed, 0 ... 4 1/A.

    Returns
    -------
    numpy.ndarray
        Structured: ``hkl`` (h >= k >= l, h+k+l even) and ``multiplicity``; ``d_A``,
        ``inverse_d_A``; ``two_theta_mrad``, twice the Bragg angle; ``f_e_A``, scattering amplitude
        of an atom for slow electrons, A; ``extinction_nm`` without thermal motion;
        ``powder_static``, multiplicity times f_e^2, and ``powder``, the same with thermal motion;
        ``ring``, ``powder`` times d, the electrons in a ring of a pattern of many small grains;
        the last three in per cent of 110.

    Raises
    ------
    SpecimenError
        A value out of range, or an unknown metal.

    Examples
    --------
    >>> first = bcc_reflections(3.51, 200.0)[0]
    >>> first["hkl"].tolist(), int(first["multiplicity"]), round(float(first["d_A"]), 3)
    ([1, 1, 0], 12, 2.482)
    """
    lattice = number("lattice_A", lattice_A, 1.0, 10.0)
    energy = _energy(energy_keV)
    largest = number("largest_inverse_A", largest_inverse_A, 0.0, 4.0)
    if metal not in _METALS:
        raise SpecimenError(f"metal must be one of 'Li', 'Na', 'K', not {metal!r}")
    rows = _kinetics.bcc_families(_METALS.index(metal), lattice, energy, largest)
    return np.frombuffer(rows, dtype=REFLECTION)


def lattice_constant_A(model: KineticModel) -> float:
    """Return the lattice constant of the model's metal, (2 Omega)^(1/3), A."""
    return 10.0 * math.cbrt(2.0 * model.parameters["atomic_volume_nm3"])


def scale_inverse_A(camera_length_mm: float, pixel_um: float, energy_keV: float) -> float:
    """Return the 1/d that a pixel spans, 1/A: its size / (camera length * wavelength).

    Raises
    ------
    SpecimenError
        A value that is not positive, or an energy outside 30 ... 1000 keV.
    """
    camera_length = number("camera_length_mm", camera_length_mm, 1e-3, 1e9)
    pixel = number("pixel_um", pixel_um, 1e-3, 1e9)
    energy = _energy(energy_keV)
    wavelength_A = 12.26426 / math.sqrt(1e3 * energy * (1.0 + energy / (2.0 * 510.99895)))
    return 1e-3 * pixel / (camera_length * wavelength_A)


def grain_orientations(model: KineticModel) -> NDArray[np.void]:
    """List the lattices in the specimen: one row a particle, two while it is a bicrystal.

    Returns
    -------
    numpy.ndarray
        Structured: ``uid`` of the particle, ``lattice`` (a number for each orientation),
        ``volume_nm3`` of the grain, ``crystalline`` (BCC share of its atoms) and ``rotation``, a
        3 x 3 matrix whose columns are the cube axes a, b, c in view coordinates x, y, z.  The spot
        (hkl) lies at ``(rotation @ hkl)[:2] / lattice_constant_A``, x to the right, y up; the
        electrons travel along +z.
    """
    return np.frombuffer(model.core.grains(), dtype=GRAIN)


def diffraction_intensity(
    model: KineticModel,
    shape: tuple[int, int] = (512, 512),
    *,
    pixel_inverse_A: float = 0.005,
    electrons: float = 1e8,
    energy_keV: float = 200.0,
    aperture_nm: float = 800.0,
    aperture_centre_nm: tuple[float, float] = (0.0, 0.0),
    beam_width_inverse_A: float = 0.006,
    beam_stop_inverse_A: float = 0.0,
    beam_stop_deg: float = 90.0,
) -> NDArray[np.float32]:
    """Draw the mean electrons in each pixel of a diffraction pattern; row 0 at the top.

    Parameters
    ----------
    model
        The specimen in its present state.
    shape
        Rows and columns.
    pixel_inverse_A
        1/d that a pixel spans, 1/A; see :func:`scale_inverse_A`.
    electrons
        On the selected area in this exposure; 0: beam blanked.
    energy_keV
        Of the electrons, 30 ... 1000.
    aperture_nm
        Diameter of the selected area, nm.  Particles, oxide and carbon in it make the pattern; a
        probe does not.
    aperture_centre_nm
        Its centre (x, y) on the specimen; the middle of the fibres is (0, 0).
    beam_width_inverse_A
        Full width at half maximum of the undiffracted beam, 1/A; no spot is sharper.
    beam_stop_inverse_A
        Radius of the beam stop, 1/A; 0: none.
    beam_stop_deg
        Direction in which its shaft leaves the picture, counter-clockwise from x.

    Returns
    -------
    numpy.ndarray
        float32.

    Raises
    ------
    SpecimenError
        A value out of range.
    """
    height, width = picture_shape(shape)
    options = (
        number("pixel_inverse_A", pixel_inverse_A, 1e-5, 1.0),
        number("electrons", electrons, 0.0, 1e15),
        _energy(energy_keV),
        *finite_pair("aperture_centre_nm", aperture_centre_nm),
        number("aperture_nm", aperture_nm, 1.0, 1e6),
        number("beam_width_inverse_A", beam_width_inverse_A, 0.0, 1.0),
        number("beam_stop_inverse_A", beam_stop_inverse_A, 0.0, 1.0),
        math.radians(number("beam_stop_deg", beam_stop_deg, -5e4, 5e4)),
    )
    mean = np.empty((height, width), dtype=np.float32)
    model.core.diffraction(mean, height, width, *options)
    return mean


def diffraction_pattern(
    model: KineticModel,
    shape: tuple[int, int] = (512, 512),
    *,
    pixel_inverse_A: float = 0.005,
    electrons: float = 1e8,
    energy_keV: float = 200.0,
    aperture_nm: float = 800.0,
    aperture_centre_nm: tuple[float, float] = (0.0, 0.0),
    beam_width_inverse_A: float = 0.006,
    beam_stop_inverse_A: float = 0.0,
    beam_stop_deg: float = 90.0,
    index: int = 0,
    detector: Literal["counting", "ccd"] = "counting",
    gain: float = 8.0,
    offset: float = 100.0,
    readout: float = 3.0,
    spread: float = 0.08,
) -> NDArray[np.uint16]:
    """Draw the diffraction pattern of a selected area as a camera counts it.

    The central beam saturates the counts unless a beam stop hides it.

    Parameters
    ----------
    model, shape, pixel_inverse_A, electrons, energy_keV, aperture_nm, aperture_centre_nm
        As in :func:`diffraction_intensity`.
    beam_width_inverse_A, beam_stop_inverse_A, beam_stop_deg
        As in :func:`diffraction_intensity`.
    index
        Names the noise: same state, seed and index give the same pattern.
    detector, gain, offset, readout, spread
        As in :meth:`.KineticModel.frame`.

    Returns
    -------
    numpy.ndarray
        uint16 counts, saturating at 65535.

    Raises
    ------
    SpecimenError
        A value out of range.
    """
    if detector not in ("counting", "ccd"):
        raise SpecimenError(f"detector must be 'counting' or 'ccd', not {detector!r}")
    mean = diffraction_intensity(
        model,
        shape,
        pixel_inverse_A=pixel_inverse_A,
        electrons=electrons,
        energy_keV=energy_keV,
        aperture_nm=aperture_nm,
        aperture_centre_nm=aperture_centre_nm,
        beam_width_inverse_A=beam_width_inverse_A,
        beam_stop_inverse_A=beam_stop_inverse_A,
        beam_stop_deg=beam_stop_deg,
    )
    return picture_counts(
        model,
        mean,
        "diffraction",
        index=index,
        noisy=detector == "ccd",
        gain=gain,
        offset=offset,
        readout=readout,
        spread=spread,
    )


def _energy(energy_keV: float) -> float:
    return number("energy_keV", energy_keV, 30.0, 1000.0)
