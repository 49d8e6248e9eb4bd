"""Annular-dark-field survey of the set-up: fibres, lithium and the STM tip, bright on dark.

The scanning picture that one takes first, at low magnification (Wang et al., ACS Energy Lett.
2023, 8, 1929, Fig. 2a).  Brightness follows mass and thickness, Z^1.7 an atom, and saturates where
every electron is scattered; equations and sources are in ``kinetics/survey.h`` and
``kinetics/contrast.h``.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import SpecimenError

from .model import KineticModel
from .pictures import (
    finite_pair,
    number,
    picture_counts,
    picture_shape,
    probe_place,
    require,
    whole,
)

__all__ = ["adf_signal", "adf_survey"]


def adf_signal(
    model: KineticModel,
    shape: tuple[int, int] = (512, 512),
    *,
    pixel_size_nm: float = 6.0,
    origin_nm: tuple[float, float] = (0.0, 0.0),
    energy_keV: float = 200.0,
    collection_mrad: tuple[float, float] = (30.0, 150.0),
    probe_nm: tuple[float, float] | None = None,
    probe_axis_deg: float | None = None,
) -> NDArray[np.float32]:
    """Draw the share of the beam that the annular detector gets at each pixel, without noise.

    Parameters
    ----------
    model
        The specimen in its present state.
    shape
        Rows and columns.
    pixel_size_nm
        Distance of pixels on the specimen, nm.
    origin_nm
        Point (x, y) of the specimen in the middle of the picture; the middle of the fibres is
        (0, 0).
    energy_keV
        Of the electrons, 30 ... 1000.
    collection_mrad
        Inner and outer angle of the detector.
    probe_nm, probe_axis_deg
        Apex of the STM tip and direction of its body, as in :meth:`.KineticModel.frame`.

    Returns
    -------
    numpy.ndarray
        float32, 0 ... 1; row 0 at the top.  0.0005 without a specimen.

    Raises
    ------
    SpecimenError
        A value out of range.
    """
    pixel = number("pixel_size_nm", pixel_size_nm, 1e-3, 1e4)
    dose = 1.0 / (100.0 * pixel * pixel)
    return _mean(
        model,
        shape,
        pixel_size_nm,
        origin_nm,
        dose,
        energy_keV,
        collection_mrad,
        (0.0, 0.0),
        0,
        probe_place(probe_nm, probe_axis_deg),
    )


def adf_survey(
    model: KineticModel,
    shape: tuple[int, int] = (512, 512),
    *,
    pixel_size_nm: float = 6.0,
    origin_nm: tuple[float, float] = (0.0, 0.0),
    electrons_per_A2: float = 0.2,
    energy_keV: float = 200.0,
    collection_mrad: tuple[float, float] = (30.0, 150.0),
    line_noise: float = 0.01,
    line_jitter_px: float = 0.3,
    probe_nm: tuple[float, float] | None = None,
    probe_axis_deg: float | None = None,
    index: int = 0,
    detector: Literal["analog", "counting"] = "analog",
    gain: float = 8.0,
    offset: float = 200.0,
    readout: float = 5.0,
) -> NDArray[np.uint16]:
    """Draw the dark-field picture as it is scanned, line by line from the top.

    Parameters
    ----------
    model, shape, pixel_size_nm, origin_nm, energy_keV, collection_mrad
        As in :func:`adf_signal`.
    electrons_per_A2
        Dose on the specimen: probe current times dwell time over e0 and the area of a pixel;
        0: beam blanked.
    line_noise
        Relative scatter of the brightness from line to line, rms.
    line_jitter_px
        Scatter of the start of a line after the flyback, pixels rms; 0: none.
    probe_nm, probe_axis_deg
        As in :meth:`.KineticModel.frame`.
    index
        Names the noise: same state, seed and index give the same picture.
    detector
        ``"counting"``: one count per electron.  ``"analog"``: with ``gain`` (counts per electron),
        ``offset`` (counts) and ``readout`` (counts rms); pixels of a scan do not spread.

    Returns
    -------
    numpy.ndarray
        uint16 counts, saturating at 65535.

    Raises
    ------
    SpecimenError
        A value out of range.
    """
    if detector not in ("analog", "counting"):
        raise SpecimenError(f"detector must be 'analog' or 'counting', not {detector!r}")
    mean = _mean(
        model,
        shape,
        pixel_size_nm,
        origin_nm,
        electrons_per_A2,
        energy_keV,
        collection_mrad,
        (line_noise, line_jitter_px),
        index,
        probe_place(probe_nm, probe_axis_deg),
    )
    return picture_counts(
        model,
        mean,
        "survey",
        index=index,
        noisy=detector == "analog",
        gain=gain,
        offset=offset,
        readout=readout,
        spread=0.0,
    )


def _mean(
    model: KineticModel,
    shape: tuple[int, int],
    pixel_size_nm: float,
    origin_nm: tuple[float, float],
    electrons_per_A2: float,
    energy_keV: float,
    collection_mrad: tuple[float, float],
    line: tuple[float, float],
    index: int,
    probe: tuple[bool, float, float, float],
) -> NDArray[np.float32]:
    height, width = picture_shape(shape)
    x, y = finite_pair("origin_nm", origin_nm)
    inner, outer = finite_pair("collection_mrad", collection_mrad)
    span = "1 ... 1000 mrad, the inner angle first"
    require(1.0 <= inner < outer <= 1000.0, "collection_mrad", span, collection_mrad)
    mean = np.empty((height, width), dtype=np.float32)
    model.core.survey(
        mean,
        height,
        width,
        number("pixel_size_nm", pixel_size_nm, 1e-3, 1e4),
        x,
        y,
        number("electrons_per_A2", electrons_per_A2, 0.0, 1e6),
        number("energy_keV", energy_keV, 30.0, 1000.0),
        inner,
        outer,
        number("line_noise", line[0], 0.0, 1.0),
        number("line_jitter_px", line[1], 0.0, 10.0),
        whole("index", index, 0, 2**64 - 1),
        *probe,
    )
    return mean
