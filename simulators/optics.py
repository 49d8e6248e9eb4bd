"""The mode of the column, which a person turns by hand, and what the camera shows in it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .diffraction import diffraction_pattern, scale_inverse_A
from .model import KineticModel
from .survey import adf_survey

IMAGING, SURVEY, DIFFRACTION = MODES = ("imaging", "survey", "diffraction")
FIELD_NM = 6000.0  # of the survey: fibres, the tip and what is around them
CAMERA_LENGTH_M = 0.5
RANGES = {SURVEY: (100.0, 1e6), DIFFRACTION: (0.01, 100.0)}

ENERGY_KEV = 200.0
PIXEL_UM = 55.0  # of Medipix3 chips
APERTURE_NM = 800.0  # that selects the area
STOP_INVERSE_A = 0.12  # radius of the beam stop
IMAGE_NM = 1024.0  # field of the image at which the dose rate is what it is


@dataclass(frozen=True)
class Optics:
    """What the column is turned to.

    Attributes
    ----------
    mode : {"imaging", "survey", "diffraction"}
        "imaging": the bright-field picture of the specimen.  "survey": a dark-field picture at low
        magnification.  "diffraction": the pattern of the area in the middle of the image.
    value : float
        Field of view of the survey in nm, or camera length of diffraction in m; 0 in imaging.
    """

    mode: str = IMAGING
    value: float = 0.0

    @classmethod
    def turned(cls, mode: str, value: float | None = None) -> "Optics":
        """Return what a person has turned the column to.

        Raises
        ------
        ValueError
            There is no such mode, or no such value of it.
        """
        if mode not in MODES:
            raise ValueError(f"no mode {mode[:40]!r} of the column; there are {', '.join(MODES)}")
        if mode == IMAGING:
            if value is not None:
                raise ValueError(f"imaging takes no value, not {value:g}")
            return cls()
        chosen = {SURVEY: FIELD_NM, DIFFRACTION: CAMERA_LENGTH_M}[mode] if value is None else value
        low, high = RANGES[mode]
        if not low <= chosen <= high:  # false for a NaN too
            unit = "nm of field" if mode == SURVEY else "m of camera length"
            raise ValueError(f"{mode}: {chosen:g} {unit}; give {low:g} to {high:g}")
        return cls(mode, float(chosen))

    def picture(
        self,
        model: KineticModel,
        shape: tuple[int, int],
        *,
        rate: float,
        lit_s: float,
        origin_nm: tuple[float, float],
        probe_nm: tuple[float, float],
        index: int,
    ) -> NDArray[np.uint16]:
        """Return the counts of an exposure in survey or diffraction.

        Parameters
        ----------
        model : KineticModel
            The specimen in its present state.
        shape : tuple of int
            Rows and columns.
        rate : float
            Dose rate of the image, e/A^2/s.  The survey spreads the same beam over its field.
        lit_s : float
            Seconds of the exposure in which the beam was on.
        origin_nm, probe_nm : tuple of float
            Middle of the image on the specimen, and apex of the probe in the image.
        index : int
            Names the noise.
        """
        if self.mode == SURVEY:
            return adf_survey(
                model,
                shape,
                pixel_size_nm=self.value / shape[1],
                origin_nm=origin_nm,
                electrons_per_A2=rate * lit_s * min(1.0, (IMAGE_NM / self.value) ** 2),
                energy_keV=ENERGY_KEV,
                probe_nm=probe_nm,
                index=index,
                detector="counting",
            )
        area_A2 = math.pi * (0.5 * 10.0 * APERTURE_NM) ** 2
        return diffraction_pattern(
            model,
            shape,
            pixel_inverse_A=scale_inverse_A(1e3 * self.value, PIXEL_UM, ENERGY_KEV),
            electrons=rate * lit_s * area_A2,
            energy_keV=ENERGY_KEV,
            aperture_nm=APERTURE_NM,
            aperture_centre_nm=origin_nm,
            beam_stop_inverse_A=STOP_INVERSE_A,
            index=index,
        )
