"""Exposures that last: the expected electrons of several instants, and one draw of noise."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .pictures import (
    check_detector,
    finite_pair,
    number,
    picture_counts,
    picture_shape,
    probe_place,
    whole,
)

if TYPE_CHECKING:
    from ._kinetics import Scene
    from .model import KineticModel

__all__ = ["Exposure", "scene_of"]


def scene_of(
    shape: tuple[int, int],
    pixel_size_nm: float,
    electrons_per_A2: float,
    *,
    origin_nm: tuple[float, float],
    energy_keV: float,
    underfocus_nm: float,
    probe_nm: tuple[float, float] | None,
    probe_axis_deg: float | None,
    threads: int,
) -> "Scene":
    """Return the options of a frame as the core takes them, or raise a SpecimenError."""
    height, width = picture_shape(shape)
    x, y = finite_pair("origin_nm", origin_nm)
    probe, probe_x, probe_y, axis = probe_place(probe_nm, probe_axis_deg)
    return (
        height,
        width,
        number("pixel_size_nm", pixel_size_nm, 1e-3, 1e4),
        x,
        y,
        number("electrons_per_A2", electrons_per_A2, 0.0, 1e6),
        number("energy_keV", energy_keV, 30.0, 1000.0),
        number("underfocus_nm", underfocus_nm, -1e6, 1e6),
        probe,
        probe_x,
        probe_y,
        axis,
        whole("threads", threads, 1, 64),
    )


class Exposure:
    """A bright-field picture whose shutter stays open while the specimen changes.

    :meth:`add` takes in what the present state sends to the detector; :meth:`counts` closes the
    shutter.  Means are averaged, and the noise is drawn once, as in a camera.  Made by
    :meth:`.KineticModel.exposure`.
    """

    def __init__(
        self,
        model: "KineticModel",
        *,
        shape: tuple[int, int],
        pixel_size_nm: float,
        energy_keV: float,
        underfocus_nm: float,
        threads: int,
    ) -> None:
        self._model = model
        self._shape = shape
        self._pixel_size_nm = pixel_size_nm
        self._energy_keV = energy_keV
        self._underfocus_nm = underfocus_nm
        self._threads = threads
        self._mean = np.zeros(self._scene(0.0)[:2], dtype=np.float32)

    def _scene(
        self,
        electrons_per_A2: float,
        origin_nm: tuple[float, float] = (0.0, 0.0),
        probe_nm: tuple[float, float] | None = None,
        probe_axis_deg: float | None = None,
    ) -> "Scene":
        return scene_of(
            self._shape,
            self._pixel_size_nm,
            electrons_per_A2,
            origin_nm=origin_nm,
            energy_keV=self._energy_keV,
            underfocus_nm=self._underfocus_nm,
            probe_nm=probe_nm,
            probe_axis_deg=probe_axis_deg,
            threads=self._threads,
        )

    def add(
        self,
        electrons_per_A2: float,
        *,
        origin_nm: tuple[float, float] = (0.0, 0.0),
        probe_nm: tuple[float, float] | None = None,
        probe_axis_deg: float | None = None,
    ) -> None:
        """Expose the present state.

        Parameters
        ----------
        electrons_per_A2
            Dose on the specimen in this part of the exposure; 0 (beam blanked) adds nothing.
        origin_nm, probe_nm, probe_axis_deg
            As for :meth:`.KineticModel.frame`; they may differ from part to part (drift).

        Raises
        ------
        SpecimenError
            A value out of range.
        """
        scene = self._scene(electrons_per_A2, origin_nm, probe_nm, probe_axis_deg)
        self._model.core.means(self._mean, scene)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Electrons a pixel that are expected so far; a copy."""
        return self._mean.copy()

    def counts(
        self,
        *,
        index: int = 0,
        detector: Literal["counting", "ccd"] = "counting",
        gain: float = 8.0,
        offset: float = 100.0,
        readout: float = 3.0,
        spread: float = 0.08,
    ) -> NDArray[np.uint16]:
        """Return the counts of the whole exposure, uint16, row 0 at the top.

        Parameters
        ----------
        index, detector, gain, offset, readout, spread
            As for :meth:`.KineticModel.frame`.

        Raises
        ------
        SpecimenError
            A value out of range.
        """
        return picture_counts(
            self._model,
            self._mean,
            "frame",
            index=index,
            noisy=check_detector(detector, gain, offset, readout, spread),
            gain=gain,
            offset=offset,
            readout=readout,
            spread=spread,
        )
