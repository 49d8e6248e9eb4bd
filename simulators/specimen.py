"""The one physical world that all simulated instruments look at.

A carbon fibre on one terminal of the source, lithium with its oxide skin on the STM probe at the
other, an electron beam that a line can blank, and a camera's view of it all.  Everything is
brought up to *now* when somebody looks; nothing runs in between.
"""

import math
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .beam_times import BeamTimes
from .clock import Clock
from .contact import OPEN_OHM, SHORT_OHM, START_GAP_NM, Contact, ContactKind, Insulation
from .lines import Line
from .mishaps import Mishaps
from .model import KineticModel
from .open_exposures import OpenExposures
from .optics import IMAGING, Optics
from .truth_log import TruthLog

SLEW_V_PER_S = 5000.0  # a source-meter steps 5 V in about 1 ms

BOLTZMANN_J_PER_K = 1.380649e-23
ELEMENTARY_CHARGE_C = 1.602176634e-19


class Specimen:
    """Fibre, probe and beam; it is the terminals, the mount and the view of the instruments.

    Parameters
    ----------
    clock : Clock
        Whose time it follows.
    preset : str
        Preset of the kinetic model: "fig2", "fig3b", "fig3c", ...
    seed : int
        Fixes nucleation sites, motion and image noise.
    gap_nm : float
        Distance of the probe from the fibre at the start.
    field_nm : float
        Width of the camera's field of view.
    dose_rate_e_per_A2_s : float
        Of the beam at the specimen while it is not blanked.
    leak_GOhm : float, optional
        Insulation of holder and cables, when it is not the preset's.
    contact : Contact, optional
        Another start of the probe; `gap_nm` is then ignored.
    insulation : Insulation, optional
        Of the cables, when it is not ideal.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        preset: str = "fig2",
        seed: int = 1,
        gap_nm: float = START_GAP_NM,
        field_nm: float = 1024.0,
        dose_rate_e_per_A2_s: float = 20.0,
        leak_GOhm: float | None = None,
        contact: Contact | None = None,
        insulation: Insulation | None = None,
    ) -> None:
        self.clock = clock
        changes = {} if leak_GOhm is None else {"leak_resistance_GOhm": leak_GOhm}
        self.model = KineticModel(preset=preset, seed=seed, **changes)
        self.contact = Contact(gap_nm=gap_nm) if contact is None else contact
        self.insulation = Insulation() if insulation is None else insulation
        circuit = self.model.parameters
        self._cable_F = 1e-12 * circuit["stray_pF"]
        self._leak_ohm = 1e9 * circuit["leak_resistance_GOhm"]
        # Oxide, contact and the carbon path: what a steady current meets without lithium.
        self._path_ohm = 1e9 * (
            circuit["series_resistance_GOhm"] + circuit["parallel_resistance_GOhm"]
        )
        self.field_nm = field_nm
        self.dose_rate_e_per_A2_s = dose_rate_e_per_A2_s
        self.blank = Line("blank", level=True)
        self.blank.listen(self._note_blank)
        self._lock = threading.RLock()
        self._t = clock.now()
        self._level: float | None = None
        self._compliance = 0.0
        self._applied = 0.0
        self._limiting = False
        self._charge = 0.0
        #: Where the ground truth of each image goes, if anywhere.
        self.truth: TruthLog | None = None
        #: What has gone wrong; change it with :meth:`mishap`.
        self.mishaps = Mishaps()
        # Told of the state of the beam, each time the blanking line changes.
        self.on_blank: Callable[[bool], None] = lambda blanked: None
        #: What the column shows the camera; change it with :meth:`turn`.
        self.optics = Optics()
        self._exposures = OpenExposures(self.model, field_nm)
        # Whoever moves the probe without being asked brings it up to now here.
        self.before_looking: Callable[[], None] = lambda: None
        self._beam = BeamTimes()

    # -- the probe --------------------------------------------------------------------------

    def step(self, axis: int, nm: float) -> None:
        """Shift the slider of an axis (0, 1, 2 = x, y, z) by `nm`; z towards the fibre."""
        with self._lock:
            self._catch_up()
            self.contact.step(axis, nm)
            self.mishaps.pulled(self.gap_nm)

    def bend(self, axis: int, nm: float) -> None:
        """Put the piezo of an axis at a deflection of `nm`."""
        with self._lock:
            self._catch_up()
            self.contact.bend(axis, nm)
            self.mishaps.pulled(self.gap_nm)

    def capacitance_nF(self, axis: int) -> float:
        """Return the capacitance of the actuator of `axis` in nF (typical of 1 uF stacks)."""
        return (1020.173401, 1013.442100, 987.551300)[axis]

    @property
    def probe_nm(self) -> tuple[float, float, float]:
        """Displacement of the probe from its start, in nm."""
        return self.contact.probe_nm

    @property
    def gap_nm(self) -> float:
        """Distance from probe to fibre in nm; below zero the probe is pressed in."""
        return self.contact.gap_nm

    @property
    def pierced(self) -> bool:
        """True once the probe was pressed through the oxide: from then on contact is a short."""
        return self.contact.pierced

    @property
    def crashed(self) -> bool:
        """True once the probe was pressed in so far that its tip was flattened."""
        return self.contact.crashed

    @property
    def deepest_nm(self) -> float:
        """How far the probe was ever pressed in, in nm."""
        return self.contact.deepest_nm

    def contact_kind(self) -> ContactKind:
        """Return what the contact is now: open, tunnelling, oxide, ohmic or short."""
        self.before_looking()
        with self._lock:
            self._catch_up()
            return self.contact.kind

    def _gap_ohm(self) -> float:
        return self.contact.gap_ohm + self.mishaps.series_ohm

    def mishap(self, **changes: float | bool | tuple[float, float]) -> None:
        """Let something go wrong from now on; `changes` are those of :class:`.mishaps.Mishaps`."""
        with self._lock:
            self._catch_up()
            for name, value in changes.items():
                setattr(self.mishaps, name, value)
            if "blanker_stuck" in changes and not self.mishaps.blanker_stuck:
                self._note_blank(self.blank.level)

    def _beside(self) -> float:
        """Return the conductance (S) of all paths beside the specimen."""
        if not self.mishaps.paths:
            return 0.0
        return self.mishaps.siemens(self.gap_nm, self._in_circuit())

    # -- the circuit ------------------------------------------------------------------------

    def drive(self, volts: float | None, compliance_A: float) -> None:
        """Apply `volts` with a current limit; None opens the circuit."""
        with self._lock:
            self._catch_up()
            self._level, self._compliance = volts, abs(compliance_A)
            if volts is None:
                self._limiting = False

    def charge(self) -> float:
        """Return the charge (C) that has flowed from the source, up to now."""
        self.before_looking()
        with self._lock:
            self._catch_up()
            return self._charge

    def voltage(self) -> float:
        """Return the voltage (V) across the terminals now."""
        self.before_looking()
        with self._lock:
            self._catch_up()
            return self._applied

    def limiting(self) -> bool:
        """Tell whether the source is in compliance now."""
        with self._lock:
            self._catch_up()
            return self._limiting

    def noise(self, bandwidth_Hz: float) -> float:
        """Return thermal and shot noise of the contact, in A rms, in that bandwidth."""
        with self._lock:
            if self._level is None:
                return 0.0
            ohm = self._contact_ohm()
            thermal = 4.0 * BOLTZMANN_J_PER_K * 298.0 / ohm
            thermal += 4.0 * BOLTZMANN_J_PER_K * 298.0 * self._beside()
            shot = 2.0 * ELEMENTARY_CHARGE_C * abs(self.model.current)
            return math.sqrt((thermal + shot) * bandwidth_Hz)

    def _catch_up(self) -> None:
        """Bring the specimen up to now, by way of the instants that an exposure samples."""
        now = self.clock.now()
        for begin, end in self._exposures.parts_until(now):
            self._go_to(end)  # what is there at its end stands for the part
            self._expose(begin, end)
        self._go_to(now)

    def _go_to(self, now: float) -> None:
        left = now - self._t
        if left <= 0.0:
            return
        self._t = now
        self.contact.drift(left)
        if self._level is None:
            self.insulation.charge(0.0, left)
            self._applied = 0.0
            self._run(left, None, None)
            return
        target = self._reachable(self._level)
        slew = (
            min(SLEW_V_PER_S, self._compliance / self._cable_F)
            if self._compliance
            else SLEW_V_PER_S
        )
        ramp = abs(target - self._applied) / slew
        self._limiting = target != self._level or (ramp > 0.0 and slew < SLEW_V_PER_S)
        if ramp > 0.0:
            part = min(left, ramp)
            end = self._applied + math.copysign(slew * part, target - self._applied)
            end = target if part == ramp else end
            self._run(part, self._applied, end)
            self._applied = end
            left -= part
            if left > 0.0:
                self._limiting = target != self._level
        if left > 0.0:
            self._run(left, self._applied, self._applied)

    def _reachable(self, level: float) -> float:
        """Return the voltage at which the present load draws no more than the compliance."""
        ohm = self._contact_ohm() if self._in_circuit() else self._leak_ohm
        beside = self._beside()
        if beside > 0.0:
            ohm = 1.0 / (1.0 / ohm + beside)
        return math.copysign(min(abs(level), self._compliance * ohm), level)

    def _contact_ohm(self) -> float:
        if self.contact.shorted:
            return SHORT_OHM
        ohm = self._path_ohm + self._gap_ohm()
        return 1.0 / (1.0 / ohm + 1.0 / self.contact.film_ohm)

    def _in_circuit(self) -> bool:
        return self._gap_ohm() < OPEN_OHM

    def _run(self, seconds: float, start: float | None, stop: float | None) -> None:
        """Advance the model and count the charge, for a bias from `start` to `stop` (V)."""
        if start is None or stop is None:
            self.model.advance(seconds, None)
            return
        mean = 0.5 * (start + stop)
        self._charge += mean * self._beside() * seconds
        self._charge += self.insulation.charge(mean, seconds)
        if self.contact.shorted:
            self.model.advance(seconds, None)
            self._charge += mean / SHORT_OHM * seconds + self._cable_F * (stop - start)
        elif self._in_circuit():
            before = self.model.charge
            series = self._gap_ohm() * 1e-9
            self.model.advance(seconds, start, bias_end=stop, series_GOhm=series)
            self._charge += self.model.charge - before + mean / self.contact.film_ohm * seconds
        else:
            self.model.advance(seconds, None)
            self._charge += mean / self._leak_ohm * seconds + self._cable_F * (stop - start)

    def turn(self, optics: Optics) -> None:
        """Turn the column to another mode; what is being exposed shows the new one."""
        with self._lock:
            self._catch_up()
            self._exposures.leave()
            self.optics = optics

    # -- the beam and the view --------------------------------------------------------------

    def force_blank(self, blanked: bool) -> None:
        """Switch the beam off (True) or on, whatever the blanking line says."""
        with self._lock:
            self._beam.switch(self.clock.now(), blanked)
        self.on_blank(blanked)

    def _note_blank(self, blanked: bool) -> None:
        if not self.mishaps.blanker_stuck:
            self.force_blank(blanked)

    @property
    def blanked(self) -> bool:
        """True while the beam is off the specimen."""
        return self._beam.blanked

    def exposed(self, start: float, stop: float) -> float:
        """Return for how many seconds of [start, stop] the beam was on the specimen."""
        with self._lock:
            return self._beam.open_s(start, stop)

    def shutter(self, start: float, stop: float, shape: tuple[int, int]) -> None:
        """Take in that an exposure runs from `start` to `stop` (s): it is sampled on the way."""
        with self._lock:
            self._catch_up()  # the exposure before ends here
            self._exposures.leave()
            if start >= self._t and self.optics.mode == IMAGING:
                self._exposures.begin(start, stop, shape)

    def _expose(self, begin: float, end: float) -> None:
        """Add to the open exposure what reached the camera from `begin` to `end` (s)."""
        dose = self.dose_rate_e_per_A2_s * self.exposed(begin, end)
        if dose > 0.0:
            origin, probe = self._scene()
            self._exposures.add(dose, origin_nm=origin, probe_nm=probe)

    def _scene(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the middle of the picture on the specimen, and the probe's apex in the picture."""
        x, y, _ = self.probe_nm
        across, down = self.mishaps.displaced_nm(self._t)
        # In view: the fibre's free end, and the probe before it.
        end = -0.36 * self.field_nm
        probe = (end - max(self.gap_nm, -20.0) + x + across, y + down)
        return (-0.5 * self.model.parameters["fibre_length_nm"] - end - across, -down), probe

    def image(
        self, start: float, stop: float, shape: tuple[int, int], index: int
    ) -> NDArray[np.uint16]:
        """Return the counts of an exposure from `start` to `stop` (s), top row first."""
        self.before_looking()
        with self._lock:
            self._catch_up()
            origin, probe = self._scene()
            exposure = self._exposures.of(start, stop, shape)
            pixel_nm = self.field_nm / shape[1]
            dose = self.dose_rate_e_per_A2_s * self.exposed(start, stop)
            if self.truth is not None:
                shown = self.model.ground_truth(shape, pixel_nm, origin)
                self.truth.note(index, start, stop, dose, shown)
            optics = self.optics
            if optics.mode != IMAGING:
                lit_s = self.exposed(start, stop)
                return optics.picture(
                    self.model, shape, rate=self.dose_rate_e_per_A2_s, lit_s=lit_s,
                    origin_nm=origin, probe_nm=probe, index=index,
                )  # fmt: skip
        if exposure is not None:
            return exposure.counts(index=index)
        return self.model.frame(
            shape=shape,
            pixel_size_nm=pixel_nm,
            origin_nm=origin,
            electrons_per_A2=dose,
            index=index,
            probe_nm=probe,
        )

    def settle(self) -> None:
        """Bring the specimen up to now."""
        self.before_looking()
        with self._lock:
            self._catch_up()
