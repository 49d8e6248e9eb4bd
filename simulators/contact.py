"""The probe and the fibre: gap, adhesion, oxide skin, and what a blow does to the tip.

From far to near the contact is

open
    More than 1 nm of vacuum; what flows is the leak of the holder.
tunnelling
    A current that falls tenfold with each 0.11 nm of gap: exp(-1.025 sqrt(phi/eV) gap/Angstrom),
    for a work function of about 4 eV (C. J. Chen, *Introduction to Scanning Tunneling
    Microscopy*, ch. 1).
oxide
    The probe touches; lithium ions pass the Li2O skin (20 GOhm in the kinetic model).
ohmic
    The skin is cracked: a film resistance (R. Holm, *Electric Contacts*, par. 6) that falls as the
    contact grows, in parallel with the way of the ions.
short
    Metal on carbon.

On the last half nanometre van der Waals forces pull the probe in: their gradient A R / (3 d^3)
(J. Israelachvili, *Intermolecular and Surface Forces*, ch. 13; A = 2e-19 J, R = 2 um) reaches the
stiffness of probe and fibre, about 1 kN/m, at d = 0.5 nm.  To part again it must be pulled with
3/2 pi w R (Johnson, Kendall, Roberts 1971; w = 0.1 J/m^2), which stretches that stiffness by 1 nm.
"""

import math
from typing import Literal, TypedDict

ContactKind = Literal["open", "tunnelling", "oxide", "ohmic", "short"]

POINT_CONTACT_OHM = 12906.0  # h / 2e^2, of one atom
DECAY_PER_NM = 20.5
OPEN_OHM = 1e13  # further away than this, less flows through the gap than through the insulation
SHORT_OHM = 1e6  # metal on carbon once the oxide is pierced
TIP_RADIUS_NM = 2000.0
START_GAP_NM = 420.0  # some coarse steps away

SNAP_IN_NM = 0.5
SNAP_OUT_NM = 1.0
CRACK_NM = 60.0  # pressed in further than this, the oxide cracks
PIERCE_NM = 150.0  # ... it breaks
CRASH_NM = 150.0  # ... and the tip is flattened for good

# A cracked skin: sigma / (pi a^2) with a^2 = 2 r (d + d0), written as one constant.  Pressed in by
# d = 1 nm beyond the radius d0 that adhesion alone gives, 25 GOhm; before it breaks, 0.16 GOhm.
FILM_OHM_NM = 25e9
FILM_ADHESION_NM = 3.0


class ContactState(TypedDict):
    """Where slider and piezo of each axis are, and what has become of probe and fibre; in nm."""

    slider_nm: list[float]
    bend_nm: list[float]
    drifted_nm: float
    deepest_nm: float
    adheres: bool


class Contact:
    """Where the probe is against the fibre, and what has become of both.

    Parameters
    ----------
    gap_nm : float
        Distance at the start.
    drift_nm_per_s : float
        How fast the gap grows by itself (below zero: shrinks).  0.1 to 10 nm/min are usual.
    crack_nm, pierce_nm, crash_nm : float
        Depth to which the probe may be pressed in before the oxide cracks, before it breaks, and
        before the tip is flattened.
    snap_in_nm, snap_out_nm : float
        Gap at which the probe jumps to contact, and that at which it jumps off.
    """

    def __init__(
        self,
        *,
        gap_nm: float = START_GAP_NM,
        drift_nm_per_s: float = 0.0,
        crack_nm: float = CRACK_NM,
        pierce_nm: float = PIERCE_NM,
        crash_nm: float = CRASH_NM,
        snap_in_nm: float = SNAP_IN_NM,
        snap_out_nm: float = SNAP_OUT_NM,
    ) -> None:
        self.drift_nm_per_s = drift_nm_per_s
        self.crack_nm = crack_nm
        self.pierce_nm = pierce_nm
        self.crash_nm = crash_nm
        self.snap_in_nm = snap_in_nm
        self.snap_out_nm = snap_out_nm
        self._start_nm = gap_nm
        self._drifted_nm = 0.0
        self._slider = [0.0, 0.0, 0.0]
        self._bend = [0.0, 0.0, 0.0]
        self._deepest_nm = 0.0
        self._adheres = False
        self._meet()

    # -- motion -------------------------------------------------------------------------------

    def step(self, axis: int, nm: float) -> None:
        """Shift the slider of an axis (0, 1, 2 = x, y, z) by `nm`; z towards the fibre."""
        self._slider[axis] += nm
        self._meet()

    def bend(self, axis: int, nm: float) -> None:
        """Put the piezo of an axis at a deflection of `nm`."""
        self._bend[axis] = nm
        self._meet()

    def drift(self, seconds: float) -> None:
        """Let the gap drift for `seconds`."""
        if self.drift_nm_per_s:
            self._drifted_nm += self.drift_nm_per_s * seconds
            self._meet()

    def _meet(self) -> None:
        depth = -self.gap_nm
        self._deepest_nm = max(self._deepest_nm, depth)
        self._adheres = depth >= -(self.snap_out_nm if self._adheres else self.snap_in_nm)

    def state(self) -> ContactState:
        """Return what it has become, as :meth:`restore` takes it, and as JSON has it."""
        return {
            "slider_nm": list(self._slider),
            "bend_nm": list(self._bend),
            "drifted_nm": self._drifted_nm,
            "deepest_nm": self._deepest_nm,
            "adheres": self._adheres,
        }

    def restore(self, state: ContactState) -> None:
        """Be as it was once."""
        self._slider, self._bend = list(state["slider_nm"]), list(state["bend_nm"])
        self._drifted_nm, self._deepest_nm = state["drifted_nm"], state["deepest_nm"]
        self._adheres = state["adheres"]

    # -- where it is --------------------------------------------------------------------------

    @property
    def probe_nm(self) -> tuple[float, float, float]:
        """Displacement of the probe from its start, in nm."""
        slider, bend = self._slider, self._bend
        return slider[0] + bend[0], slider[1] + bend[1], slider[2] + bend[2]

    @property
    def gap_nm(self) -> float:
        """Distance from probe to fibre in nm, were it stiff; below zero it is pressed in.

        A probe that is off to the side meets the fibre later, as a sphere does.
        """
        x, y, z = self.probe_nm
        side = (x * x + y * y) / (2.0 * TIP_RADIUS_NM)
        return self._start_nm + self._drifted_nm - z + side

    @property
    def deepest_nm(self) -> float:
        """How far the probe was ever pressed in, in nm."""
        return self._deepest_nm

    @property
    def flattened_nm(self) -> float:
        """By how much the apex was pushed flat when it was pressed in too far, in nm."""
        return max(0.0, self._deepest_nm - self.crash_nm)

    @property
    def touching(self) -> bool:
        """Whether the probe touches the fibre, pressed in or held by adhesion."""
        return self._adheres

    @property
    def cracked(self) -> bool:
        """Whether the skin was cracked: from then on electrons pass where the probe touches."""
        return self._deepest_nm > self.crack_nm

    @property
    def pierced(self) -> bool:
        """Whether the probe was pressed through the oxide: from then on contact is a short."""
        return self._deepest_nm > self.pierce_nm

    @property
    def crashed(self) -> bool:
        """Whether the probe was ever pressed in so far that the tip was flattened."""
        return self._deepest_nm > self.crash_nm

    @property
    def kind(self) -> ContactKind:
        """What the contact is now."""
        if not self.touching:
            return "tunnelling" if self.gap_ohm < OPEN_OHM else "open"
        if self.pierced:
            return "short"
        return "ohmic" if self.cracked else "oxide"

    # -- what it conducts ---------------------------------------------------------------------

    @property
    def shorted(self) -> bool:
        """Whether metal touches carbon now."""
        return self.touching and self.pierced

    @property
    def gap_ohm(self) -> float:
        """Resistance in ohm of the gap, in series with skin and fibre."""
        gap = 0.0 if self.touching else max(self.gap_nm, 0.0)
        return POINT_CONTACT_OHM * math.exp(min(DECAY_PER_NM * gap, 600.0))

    @property
    def film_ohm(self) -> float:
        """Resistance in ohm of a cracked skin to electrons; infinite while it is whole."""
        if not (self.touching and self.cracked):
            return math.inf
        # A flattened apex touches with all of its face at once.
        reach = max(-self.gap_nm, 0.0) + FILM_ADHESION_NM + self.flattened_nm
        return FILM_OHM_NM / reach


class Insulation:
    """The dielectric of holder and cables: it goes on taking charge after a step of bias.

    One Debye term stands for the tail that polymers show: a capacitance that charges through a
    resistance, beside the one of the cable.

    Parameters
    ----------
    absorption_pF : float
        Capacitance that follows late; 0 for an ideal cable.
    absorption_s : float
        Its time constant.
    """

    def __init__(
        self,
        *,
        absorption_pF: float = 0.0,  # noqa: N803
        absorption_s: float = 0.5,
    ) -> None:
        self._farad = 1e-12 * absorption_pF
        self._seconds = absorption_s
        self._charge = 0.0

    def charge(self, volts: float, seconds: float) -> float:
        """Return the charge (C) that goes in while `volts` are on for `seconds`."""
        full = self._farad * volts
        before = self._charge
        self._charge = full + (before - full) * math.exp(-seconds / self._seconds)
        return self._charge - before
