"""Counts, while a plan is walked through, what it would do to the specimen and to the disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .result import Acquisition, Refusal, TimelinePoint
from .walked_clock import WalkedClock

A2_PER_NM2 = 100.0  # square angstrom in a square nanometre


@dataclass
class _Site:
    """Open seconds of a site in the plan, and what it had before (e/A^2)."""

    had_e_per_A2: float
    open_s: float = 0.0


@dataclass
class Tally:
    """What is true at the station, and what has come of it so far.

    Parameters
    ----------
    clock : WalkedClock
    dose_rate_e_per_A2_s : float
        Of the open beam.
    pixel_size_nm : float
    home : tuple of str
        Specimen and site in the beam, where a run does not say others.
    had : callable
        Returns what a site has had before, in e/A^2.
    """

    clock: WalkedClock
    dose_rate_e_per_A2_s: float
    pixel_size_nm: float
    home: tuple[str, str]
    had: Callable[[str, str], float]
    bias_V: float = 0.0
    beam_open: bool = False
    phase: str = ""
    cycle: int = 0
    runs: int = 0
    readings: int = 0
    bias_edges: int = 0
    highest_bias_V: float = 0.0
    biased_s: float = 0.0
    typical_C: float = 0.0
    siemens: float = 0.0
    sites: dict[tuple[str, str], _Site] = field(default_factory=dict)
    acquisitions: list[Acquisition] = field(default_factory=list)
    points: list[TimelinePoint] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    assumptions: dict[str, None] = field(default_factory=dict)
    running: Callable[[], int] | None = None  # frames of the acquisition under way
    taken: int = 0  # frames of those that have ended

    def __post_init__(self) -> None:
        """Begin at the home site."""
        self._here = self.home
        self._bias_since = self._open_since = 0.0
        self._site()
        self.note()

    # What happens

    def set_bias(self, volts: float) -> None:
        """Take in a level (V) that the source has taken, 0 for the output off."""
        if volts == self.bias_V:
            return
        self._count_bias()
        self.bias_edges += 1
        self.bias_V = volts
        self.highest_bias_V = max(self.highest_bias_V, abs(volts))
        self.note()

    def set_beam(self, is_open: bool) -> None:
        """Take in that the beam is open, or blanked."""
        if is_open == self.beam_open:
            return
        self._count_beam()
        self.beam_open = is_open
        self.note()

    def mark(self, *, phase: str | None = None, cycle: int | None = None) -> None:
        """Take in the phase, or the cycle, from now on."""
        self.phase = self.phase if phase is None else phase
        self.cycle = self.cycle if cycle is None else cycle
        self.note()

    def begin_run(self, start: Mapping[str, Any]) -> None:
        """Take in where a run books its dose, by its start document."""
        self._count_beam()
        specimen, site = self.home
        self._here = (str(start.get("sample") or specimen), str(start.get("site") or site))
        self._site()
        self.runs += 1

    def go_to(self, site: str) -> None:
        """Take in that another place of the specimen is in the beam from now on."""
        self._count_beam()
        self._here = (self._here[0], site)
        self._site()

    def end_run(self) -> None:
        """Book at the home site again."""
        self._count_beam()
        self._here = self.home

    def take(self, acquisition: Acquisition) -> None:
        """Take in frames that have been taken."""
        self.taken += acquisition.frames
        self.running = None
        self.acquisitions.append(acquisition)
        self.note()

    def refuse(self, key: str, error: Exception) -> None:
        """Take in what a device would refuse; the walk goes on."""
        found = Refusal("", key, str(error))
        if found not in self.refusals:
            self.refusals.append(found)

    def warn(self, text: str) -> None:
        """Take in what a person should know; each is told once."""
        self.warnings[text] = None

    def assume(self, text: str) -> None:
        """Take in what the estimate rests on; each is told once."""
        self.assumptions[text] = None

    def settle(self) -> None:
        """Count what is still going on, up to now."""
        self._count_bias()
        self._count_beam()

    def finish(self) -> None:
        """Come to the end."""
        self.settle()
        self.note()

    # What is

    @property
    def specimen(self) -> str:
        """Name of the specimen in the beam."""
        return self._here[0]

    @property
    def site(self) -> str:
        """Name of the site in the beam."""
        return self._here[1]

    def site_had(self, specimen: str, site: str) -> float:
        """Return what a site has had by now, with what the plan gave it, in e/A^2."""
        self._count_beam()
        known = self.sites.get((specimen, site))
        if known is None:
            return self.had(specimen, site)
        return known.had_e_per_A2 + known.open_s * self.dose_rate_e_per_A2_s

    def electrons_per_pixel(self, exposure_s: float) -> float:
        """Return the electrons of an exposure on the specimen in the area of a pixel."""
        area_A2 = A2_PER_NM2 * self.pixel_size_nm**2
        return self.dose_rate_e_per_A2_s * exposure_s * area_A2

    def note(self) -> None:
        """Put a point on the timeline; one at the same time as the last takes its place."""
        now = self.clock.t
        here = self.sites[self._here]
        going_on = now - self._open_since if self.beam_open else 0.0
        point = TimelinePoint(
            t_s=now,
            bias_V=self.bias_V,
            beam_open=self.beam_open,
            recording=self.running is not None,
            phase=self.phase,
            cycle=self.cycle,
            frames=self.taken + (0 if self.running is None else self.running()),
            dose_e_per_A2=here.had_e_per_A2 + (here.open_s + going_on) * self.dose_rate_e_per_A2_s,
        )
        if self.points and self.points[-1].t_s == now:
            self.points[-1] = point
        else:
            self.points.append(point)

    def _site(self) -> _Site:
        if self._here not in self.sites:
            self.sites[self._here] = _Site(self.had(*self._here))
        return self.sites[self._here]

    def _count_bias(self) -> None:
        now = self.clock.t
        if self.bias_V:
            self.biased_s += now - self._bias_since
            self.typical_C += abs(self.bias_V) * self.siemens * (now - self._bias_since)
        self._bias_since = now

    def _count_beam(self) -> None:
        now = self.clock.t
        if self.beam_open:
            self._site().open_s += now - self._open_since
        self._open_since = now
