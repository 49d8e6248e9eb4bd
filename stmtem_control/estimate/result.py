"""What a plan would come to: time, frames, bytes, dose, charge, and why it would be refused."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """Why a plan would be refused, or could not end.

    Attributes
    ----------
    where : str
        File and line of the step, as ``file.yaml:12``; empty where there is no file.
    key : str
        The key in the file, or the device that refuses.
    message : str
        What is wrong, and what to do.
    """

    where: str
    key: str
    message: str

    def one_line(self) -> str:
        """Return all of it in one line."""
        known = self.message.startswith(f"{self.key}:")
        place = ": ".join(part for part in (self.where, "" if known else self.key) if part)
        return f"{place}: {self.message}" if place else self.message

    @property
    def is_dose(self) -> bool:
        """Whether it is for the dose of a site."""
        return self.message.startswith("dose:")


@dataclass(frozen=True)
class TimelinePoint:
    """What is true from a time on, until the next point.

    Attributes
    ----------
    t_s : float
        Station time in s since the plan began.
    bias_V : float
        Level of the source; 0 with the output off.
    beam_open : bool
    recording : bool
        Whether the camera takes frames.
    phase : str
    cycle : int
    frames : int
        Taken so far.
    dose_e_per_A2 : float
        What the site in the beam has had by then, with what it had before.
    """

    t_s: float
    bias_V: float
    beam_open: bool
    recording: bool
    phase: str
    cycle: int
    frames: int
    dose_e_per_A2: float


@dataclass(frozen=True)
class SiteEstimate:
    """The dose of one site.

    Attributes
    ----------
    specimen, site : str
    open_s : float
        Seconds of open beam in this plan.
    dose_e_per_A2, had_e_per_A2 : float
        What the plan gives, and what the site has had before, by the ledger.
    budget_e_per_A2 : float
        The hard limit; infinite in vacuum.
    phase : str
        The phase of the specimen that it is for, or "protocol".
    """

    specimen: str
    site: str
    open_s: float
    dose_e_per_A2: float
    had_e_per_A2: float
    budget_e_per_A2: float
    phase: str

    @property
    def left_e_per_A2(self) -> float:
        """What is left after the plan, in e/A^2; below zero: too much."""
        return self.budget_e_per_A2 - self.had_e_per_A2 - self.dose_e_per_A2


@dataclass(frozen=True)
class Acquisition:
    """Frames that are taken one after the other, with one timing.

    Attributes
    ----------
    begun_s, ended_s : float
        Station time since the plan began.
    frames : int
    exact : bool
        Whether their number is decided beforehand; otherwise it may differ by one or two, with
        what the instruments take to answer.
    exposure_s, frame_rate_Hz : float
    electrons_per_pixel : float
        That hit the specimen in the area of a pixel while a frame is exposed, beam open.
    """

    begun_s: float
    ended_s: float
    frames: int
    exact: bool
    exposure_s: float
    frame_rate_Hz: float
    electrons_per_pixel: float


@dataclass(frozen=True)
class Estimate:
    """What a plan would come to.

    Attributes
    ----------
    name, station : str
        Of the plan or protocol, and of the station.
    wall_s, station_s : float
        From the first message to the end in the safe state, on the wall and by the station's
        clock, which a simulated bench may run faster.
    runs, messages : int
        How many runs it makes, and how many messages were walked through.
    acquisitions : tuple of Acquisition
    image_shape : tuple of int
        Rows and columns of a frame.
    bytes_on_disk, bytes_free : int
        What it writes, uncompressed, and what the disk of the data folder has.
    readings : int
        Of the source, that come to ``bias.csv``.
    sites : tuple of SiteEstimate
    highest_bias_V : float
        The largest magnitude.
    bias_edges : int
        Changes of the level, the last one to 0 V too.
    biased_s : float
        Station seconds at a level other than 0 V.
    charge_limit_C : float
        What can flow at most: the compliance for all of that time.
    typical_charge_C : float or None
        Of the steady current that the simulated specimen lets pass, counted without sign; None
        where nothing is known of the specimen.
    refusals : tuple of Refusal
        All that would be refused; empty if it can run.
    warnings, assumptions : tuple of str
    timeline : tuple of TimelinePoint
    """

    name: str
    station: str
    wall_s: float
    station_s: float
    runs: int
    messages: int
    acquisitions: tuple[Acquisition, ...]
    image_shape: tuple[int, int]
    bytes_on_disk: int
    bytes_free: int
    readings: int
    sites: tuple[SiteEstimate, ...]
    highest_bias_V: float
    bias_edges: int
    biased_s: float
    charge_limit_C: float
    typical_charge_C: float | None
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    timeline: tuple[TimelinePoint, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is refused."""
        return not self.refusals

    @property
    def frames(self) -> int:
        """How many frames are taken."""
        return sum(one.frames for one in self.acquisitions)

    @property
    def frames_exact(self) -> bool:
        """Whether that number is decided beforehand."""
        return all(one.exact for one in self.acquisitions)

    @property
    def open_s(self) -> float:
        """Station seconds with the beam open."""
        return sum(one.open_s for one in self.sites)

    @property
    def dose_e_per_A2(self) -> float:
        """Dose of the plan over all sites, in e/A^2."""
        return sum(one.dose_e_per_A2 for one in self.sites)

    @property
    def electrons_per_pixel(self) -> float:
        """The fewest electrons of all acquisitions in a pixel of a frame; 0 without any."""
        return min((one.electrons_per_pixel for one in self.acquisitions), default=0.0)

    def with_refusals(self, refusals: tuple[Refusal, ...]) -> "Estimate":
        """Return the same with other refusals."""
        return replace(self, refusals=refusals)

    def left_s(self, station_s: float) -> float:
        """Return how many wall seconds are left, `station_s` after the plan began."""
        share = 1.0 - station_s / self.station_s if self.station_s else 0.0
        return max(0.0, share * self.wall_s)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        found = asdict(self)
        found["ok"], found["frames"] = self.ok, self.frames
        found["frames_exact"], found["open_s"] = self.frames_exact, self.open_s
        found["dose_e_per_A2"] = self.dose_e_per_A2
        found["electrons_per_pixel"] = self.electrons_per_pixel
        for site, one in zip(found["sites"], self.sites, strict=True):
            # JSON knows no infinity: vacuum has no budget.
            endless = one.budget_e_per_A2 == float("inf")
            site["budget_e_per_A2"] = None if endless else one.budget_e_per_A2
            site["left_e_per_A2"] = None if endless else one.left_e_per_A2
        return found
