"""The state of the specimen: lithium on carbon fibres, integrated by the C core.

Model and numerics: see :mod:`.presets` for the parameters and ``kinetics/*.h`` for the equations.
"""

import os
from collections.abc import Mapping
from math import inf, nan
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmtem_control.errors import SpecimenError

from . import _kinetics
from .pictures import number, refusals, whole
from .presets import resolve
from .records import EVENT, EVENT_KINDS, PARTICLE, Status
from .saved_state import STATE_VERSION, pack, unpack, write_whole

__all__ = ["EVENT_KINDS", "STATE_VERSION", "KineticState"]

_LARGEST_BIAS_V: Final = 1000.0
_LARGEST_BEAM_E_PER_A2_S: Final = 1e10


class KineticState:
    """Lithium particles on carbon fibres under a bias.

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

    EVENT_KINDS: ClassVar[Mapping[str, int]] = EVENT_KINDS

    def __init__(self, preset: str = "fig2", seed: int = 1, **parameters: float) -> None:
        values = resolve(preset, parameters)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise SpecimenError(f"seed must be a whole number in 0 ... 2**64 - 1, not {seed!r}")
        self._preset = preset
        self._seed = seed
        self._parameters = MappingProxyType(values)
        with refusals():
            #: The C object itself, for the other modules of this package.
            self.core = _kinetics.Model(tuple(values.values()), seed)

    def __repr__(self) -> str:
        """Preset, seed, time and number of particles."""
        status = self._status()
        return (
            f"<{type(self).__name__} {self._preset!r} seed={self._seed} at {status.time:.3f} s, "
            f"{status.particles} particles>"
        )

    def _status(self) -> Status:
        return Status(*self.core.status())

    # ---- time ------------------------------------------------------------------------------

    def advance(
        self,
        seconds: float,
        bias: float | None,
        *,
        bias_end: float | None = None,
        series_GOhm: float = 0.0,
        beam_e_per_A2_s: float = 0.0,
    ) -> None:
        """Let time pass under a bias.

        A tick takes the conditions of the call in which it ends.

        Parameters
        ----------
        seconds
            Time, 0 ... 1e5 s.
        bias
            Volts at the fibre; negative deposits lithium.  ``None``: relay open, no current.
        bias_end
            If given, the bias runs linearly from ``bias`` to this over the call.
        series_GOhm
            Resistance added in series to the contact (the gap of the probe), GOhm.  ``inf``: no
            contact, but the terminals are live (leakage and stray capacitance are read).
        beam_e_per_A2_s
            Dose rate on the specimen, 0 ... 1e10; without effect while the beam parameters are
            zero.

        Raises
        ------
        SpecimenError
            A value that is not a number or out of range.
        """
        if bias is None and bias_end is not None:
            raise SpecimenError("bias_end is given but bias is None (open circuit)")
        most = _LARGEST_BIAS_V
        start = nan if bias is None else number("bias", bias, -most, most)
        end = start if bias_end is None else number("bias_end", bias_end, -most, most)
        span = number("seconds", seconds, 0.0, 1e5)
        series = number("series_GOhm", series_GOhm, 0.0, inf)
        beam = number("beam_e_per_A2_s", beam_e_per_A2_s, 0.0, _LARGEST_BEAM_E_PER_A2_S)
        with refusals():
            self.core.advance(span, start, end, series, 100.0 * beam)

    @property
    def time(self) -> float:
        """Time of the whole ticks done, s."""
        return self._status().time

    @property
    def ticks(self) -> int:
        """Whole ticks done."""
        return self._status().ticks

    # ---- circuit ---------------------------------------------------------------------------

    @property
    def current(self) -> float:
        """What a meter at the terminals reads, A, mean over the last tick, without its noise.

        Negative while depositing at negative bias; 0 at open circuit.  With the charging of
        the stray capacitance and the leakage of the holder.
        """
        return self._status().current

    @property
    def charge(self) -> float:
        """Integral of :attr:`current` since the start, C."""
        return self._status().charge

    @property
    def faradaic_current(self) -> float:
        """Current that becomes metal on the fibres, A, mean over the last tick, + deposits."""
        return self._status().faradaic_current

    @property
    def faradaic_charge(self) -> float:
        """Charge of the metal deposited minus that of the metal stripped, C."""
        return self._status().faradaic_charge

    @property
    def deposited_charge(self) -> float:
        """Charge of all metal ever deposited, C."""
        return self._status().deposited_charge

    @property
    def stripped_charge(self) -> float:
        """Charge of all metal ever stripped, C."""
        return self._status().stripped_charge

    @property
    def charge_per_nm3(self) -> float:
        """Charge of 1 nm3 of the metal, e0/Omega, C/nm3."""
        return self._status().charge_per_nm3

    @property
    def overpotential(self) -> float:
        """Overpotential at the fibres, V; positive deposits."""
        return self._status().overpotential

    @property
    def kirchhoff_residual(self) -> float:
        """Relative residual of the circuit equation, tick averages, in the last tick."""
        return self._status().kirchhoff_residual

    # ---- particles -------------------------------------------------------------------------

    @property
    def particles(self) -> NDArray[np.void]:
        """Structured array, one row per living particle; a copy.

        ``uid``, ``fibre``; ``s_nm`` along and ``y_nm`` around the fibre; ``volume_nm3``;
        ``base_radius_nm`` of the contact line and ``diameter_nm``, twice that;
        ``contact_angle_rad``, ``height_nm``, ``radius_nm`` of the sphere; ``side_area_nm2``;
        ``phi`` (facet order, 0 droplet, >= 0.1 local facets, >= 0.6 faceted); ``neck_nm`` (distance
        of two fused bodies, 0 when round), ``neck_direction_rad``, ``neck_share`` (volume share of
        the smaller body); ``grains``, ``boundary_life_s``; ``crystalline`` (BCC share of its
        atoms); ``current_A`` (+ deposits); ``feed``; ``age_s``, ``born_s``.
        """
        return np.frombuffer(self.core.particles(), dtype=PARTICLE)

    @property
    def events(self) -> NDArray[np.void]:
        """Structured array of what happened, oldest first; see :meth:`events_from`."""
        return self.events_from(0)

    def events_from(self, start: int) -> NDArray[np.void]:
        """Events from number ``start`` on; the newest 262144 are kept.

        ``time_s``; ``kind``, a number in :data:`EVENT_KINDS`; ``uid``; ``other`` (merge: the
        particle absorbed; facet_on and facet_off: level reached, 0 droplet, 1 local, 2 faceted);
        ``volume_nm3``; ``fibre``.
        """
        first = whole("start", start, 0, 2**63)
        return np.frombuffer(self.core.events(first), dtype=EVENT)

    @property
    def event_count(self) -> int:
        """Number of events so far."""
        return self._status().events

    @property
    def cycle(self) -> int:
        """Deposition half-cycles begun after a stripping."""
        return self._status().cycle

    @property
    def lithium_volume_nm3(self) -> float:
        """Volume of all living particles, nm3."""
        return self._status().volume

    @property
    def eroded_volume_nm3(self) -> float:
        """Volume that the beam took away, nm3 (0 by default)."""
        return self._status().eroded_volume

    @property
    def projected_area_nm2(self) -> float:
        """Side-view area of all particles, nm2, each as if alone."""
        return self._status().side_area

    @property
    def fibres(self) -> int:
        """Number of carbon fibres."""
        return int(self._parameters["fibre_count"])

    @property
    def parameters(self) -> Mapping[str, float]:
        """All parameters, read only."""
        return self._parameters

    @property
    def instructions(self) -> str:
        """Name of the build of the hot loops that is in use; the widest there is, unless changed.

        ``"baseline"`` runs everywhere; ``"avx2"`` and ``"avx512"`` are there on processors that
        know these instructions.  All give the same bits.  Setting another name raises a
        SpecimenError where it is not there.
        """
        return self.core.instructions()

    @instructions.setter
    def instructions(self, name: str) -> None:
        if not isinstance(name, str):
            raise SpecimenError(f"instructions must be a name, not {name!r}")
        with refusals():
            self.core.instructions(name)

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self._preset

    @property
    def seed(self) -> int:
        """Seed of all random numbers."""
        return self._seed

    def place(
        self,
        s_nm: ArrayLike,
        y_nm: ArrayLike,
        volume_nm3: ArrayLike,
        *,
        fibre: ArrayLike = 0,
        contact_angle_rad: ArrayLike = nan,
        phi: ArrayLike = 0.0,
        feed: ArrayLike = 1.0,
    ) -> NDArray[np.int64]:
        """Put crystals on the fibres; they cost no charge.

        Parameters
        ----------
        s_nm, y_nm
            Where along (0 ... ``fibre_length_nm``) and around the fibre (any y; it wraps), nm.
        volume_nm3
            Volumes, nm3.
        fibre
            Numbers of the fibres.
        contact_angle_rad
            Contact angles; NaN: the advancing angle.  An angle outside receding ... advancing is
            brought to the nearer of the two.
        phi
            Facet order, 0 ... 1.
        feed
            Factors of the transport limits.

        Returns
        -------
        numpy.ndarray
            The uid of each crystal.

        Raises
        ------
        SpecimenError
            A value out of range, or lengths that do not fit; then nothing is placed.
        """
        given = (fibre, s_nm, y_nm, volume_nm3, contact_angle_rad, phi, feed)
        try:
            columns = [np.asarray(column, dtype=np.float64) for column in given]
            rows = np.stack(np.broadcast_arrays(*np.atleast_1d(*columns)), axis=-1)
        except (TypeError, ValueError, OverflowError) as error:
            raise SpecimenError(f"cannot place these crystals: {error}") from None
        if rows.ndim != 2:
            raise SpecimenError("crystals are placed as numbers or lists of numbers")
        with refusals():
            first = self.core.place(rows.tobytes())
        return np.arange(first, first + len(rows), dtype=np.int64)

    @property
    def placed_volume_nm3(self) -> float:
        """Volume of all crystals ever put there by :meth:`place`, nm3.

        At any time ``lithium_volume_nm3 = placed_volume_nm3 + faradaic_charge / charge_per_nm3
        - eroded_volume_nm3``.
        """
        return self._status().placed_volume

    # ---- state -----------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """Return the whole state as bytes, for :meth:`restore`, and write them to a file if asked.

        The first line is JSON: what it is, the version of the layout, preset, seed and parameters;
        then the core's own bytes with a checksum.  Fit for the same version and byte order; a state
        of another one is refused, not misread.

        Parameters
        ----------
        path
            File to write; it is complete or not there.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        state = pack(self._preset, self._seed, self._parameters, bytes(self.core.save()))
        if path is not None:
            write_whole(Path(path), state)
        return state

    @classmethod
    def restore(cls, state: bytes | str | os.PathLike[str]) -> Self:
        """Return a model that goes on from a saved state as the saved one would, to the last bit.

        Parameters
        ----------
        state
            What :meth:`save` returned, or the file that it wrote.

        Raises
        ------
        SpecimenError
            It is no state, one of another version, or damaged.
        OSError
            The file cannot be read.
        """
        preset, seed, parameters, core = unpack(state)
        try:
            model = cls(preset, seed, **parameters)
        except (SpecimenError, TypeError) as error:
            raise SpecimenError(f"cannot restore the state: {error}") from None
        with refusals():
            model.core.load(core)
        return model
