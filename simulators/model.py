"""The specimen and its pictures: what the simulated instruments look at.

Model and numerics: see :mod:`.presets` for the parameters and ``kinetics/*.h`` for the equations.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from . import _kinetics
from .exposure import Exposure, scene_of
from .pictures import check_detector, finite_pair, number, picture_shape, whole
from .state import EVENT_KINDS, KineticState

__all__ = ["EVENT_KINDS", "TRUTH", "KineticModel"]

#: One row of :meth:`KineticModel.ground_truth`.
TRUTH: Final = np.dtype(list(_kinetics.TRUTH_FIELDS))


class KineticModel(KineticState):
    """Lithium particles on carbon fibres under a bias, and their pictures.

    The state advances in whole ticks (1 ms); what is left of the time asked for is carried to the
    next call, so that a waveform cut in other pieces gives the same state to the last bit.  One
    object may be used by several threads.

    Parameters
    ----------
    preset
        Name in :data:`.presets.PRESETS`; :data:`.presets.PRESET_NOTES` says what each is.
    seed
        0 ... 2**64 - 1.  Places and strengths of sites, thermal motion, lattices and noise of
        frames all follow from it.
    **parameters
        Values that differ from the preset; see :mod:`.presets`.

    Raises
    ------
    SpecimenError
        Unknown preset or parameter, or a value out of its range.
    """

    def frame(
        self,
        *,
        shape: tuple[int, int] = (512, 512),
        pixel_size_nm: float = 2.5,
        electrons_per_A2: float = 0.8,
        origin_nm: tuple[float, float] = (0.0, 0.0),
        index: int = 0,
        energy_keV: float = 200.0,
        underfocus_nm: float = 1000.0,
        detector: Literal["counting", "ccd"] = "counting",
        gain: float = 8.0,
        offset: float = 100.0,
        readout: float = 3.0,
        spread: float = 0.08,
        probe_nm: tuple[float, float] | None = None,
        probe_axis_deg: float | None = None,
        threads: int = 1,
    ) -> NDArray[np.uint16]:
        """Bright-field picture of the present state, row 0 at the top.

        The fibres run along the rows; their free end is at -``fibre_length_nm``/2.  View
        coordinates: x to the right, y up, nm, (0, 0) in the middle of the picture.  For an
        exposure over several instants see :meth:`exposure`.

        Parameters
        ----------
        shape
            Rows and columns.
        pixel_size_nm
            Side of a pixel on the specimen, nm.
        electrons_per_A2
            Dose on the specimen in this exposure; 0: beam blanked.
        origin_nm
            Point (x, y) of the specimen in the middle of the picture; the middle of the fibres is
            (0, 0).  A drifting stage moves it.
        index
            Names the noise: same state, seed and index give the same frame.
        energy_keV
            Of the electrons, 30 ... 1000.
        underfocus_nm
            Defocus, positive for a weakened lens; it draws Fresnel fringes along edges.
        detector
            ``"counting"``: one count per electron.  ``"ccd"``: with ``spread`` (share of the
            charge of a pixel that each neighbour in a line gets), ``gain`` (counts per electron),
            ``offset`` (counts) and ``readout`` (counts rms).
        probe_nm
            Where the apex of the STM tip is, view coordinates; ``None``: out of the picture.
        probe_axis_deg
            Direction from the apex into the tip's body, counter-clockwise from x.  Default: along
            the fibres, to the side of the picture that the apex is nearer to.
        threads
            Threads that share the rows, 1 ... 64; their number changes no pixel.

        Returns
        -------
        numpy.ndarray
            uint16 counts, saturating at 65535.

        Raises
        ------
        SpecimenError
            A value out of range.
        """
        scene = scene_of(
            shape,
            pixel_size_nm,
            electrons_per_A2,
            origin_nm=origin_nm,
            energy_keV=energy_keV,
            underfocus_nm=underfocus_nm,
            probe_nm=probe_nm,
            probe_axis_deg=probe_axis_deg,
            threads=threads,
        )
        noisy = check_detector(detector, gain, offset, readout, spread)
        picture = np.empty(scene[:2], dtype=np.uint16)
        self.core.frame(
            picture,
            scene,
            whole("index", index, 0, 2**64 - 1),
            noisy,
            float(gain),
            float(offset),
            float(readout),
            float(spread),
        )
        return picture

    def exposure(
        self,
        *,
        shape: tuple[int, int] = (512, 512),
        pixel_size_nm: float = 2.5,
        energy_keV: float = 200.0,
        underfocus_nm: float = 1000.0,
        threads: int = 1,
    ) -> Exposure:
        """Begin a picture that is exposed over several instants; see :class:`.Exposure`.

        Parameters
        ----------
        shape, pixel_size_nm, energy_keV, underfocus_nm, threads
            As for :meth:`frame`.

        Raises
        ------
        SpecimenError
            A value out of range.
        """
        return Exposure(
            self,
            shape=shape,
            pixel_size_nm=pixel_size_nm,
            energy_keV=energy_keV,
            underfocus_nm=underfocus_nm,
            threads=threads,
        )

    def ground_truth(
        self,
        shape: tuple[int, int] = (512, 512),
        pixel_size_nm: float = 2.5,
        origin_nm: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[np.void]:
        """Return what a frame of this view shows, one row a particle of which something is in it.

        Parameters
        ----------
        shape, pixel_size_nm, origin_nm
            As for :meth:`frame`.

        Returns
        -------
        numpy.ndarray
            Structured array of dtype :data:`TRUTH`: ``uid``, ``fibre``; ``row`` and ``column`` of
            the centre of mass in the view, pixels; ``top``, ``left``, ``bottom``, ``right``, the
            pixels that it covers, inclusive; ``projected_area_nm2`` of these pixels;
            ``thickest_nm`` along the beam; ``volume_in_view_nm3`` and ``volume_nm3``;
            ``diameter_nm`` of the contact line; ``contact_angle_rad``; ``phi`` and ``level`` (0
            droplet, 1 local facets, 2 faceted); ``grains``; ``neck_nm``; ``far_side`` (1: behind
            the fibre).  A particle may cover another; each is described as if alone.

        Raises
        ------
        SpecimenError
            A value out of range.
        """
        height, width = picture_shape(shape)
        records = self.core.truth(height, width, *_view(pixel_size_nm, origin_nm))
        return np.frombuffer(records, dtype=TRUTH)

    def thickness(
        self,
        shape: tuple[int, int] = (512, 512),
        pixel_size_nm: float = 2.5,
        origin_nm: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[np.float32]:
        """Thickness of metal along the beam, nm; the ground truth of a frame.

        Times the area of a pixel its sum is the volume of what lies in the view.

        Raises
        ------
        SpecimenError
            A value out of range.
        """
        height, width = picture_shape(shape)
        view = _view(pixel_size_nm, origin_nm)
        picture = np.empty((height, width), dtype=np.float32)
        self.core.thickness(picture, height, width, *view)
        return picture


def _view(pixel_size_nm: float, origin_nm: tuple[float, float]) -> tuple[float, float, float]:
    pixel = number("pixel_size_nm", pixel_size_nm, 1e-3, 1e4)
    return (pixel, *finite_pair("origin_nm", origin_nm))
