"""Estimates a plan: its own messages, stand-ins for its devices, and what that comes to."""

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from stmtem_control.config import Station, load_station
from stmtem_control.dose.budgets import Phase
from stmtem_control.dose.ledger import Ledger
from stmtem_control.dose.planned import VACUUM, check_planned
from stmtem_control.errors import InterlockError, StmTemError
from stmtem_control.recording.page_layout import ALIGNMENT, padded
from stmtem_control.simulators import START_GAP_NM, resolve
from stmtem_control.station_dose import SITE, SPECIMEN, ledger_path

from .latencies import Latencies, latencies_of
from .recording_limits import free_bytes, refuse_disk, warn_of_disk, warn_of_pace
from .result import Acquisition, Estimate, Refusal, SiteEstimate
from .stand_ins import StandIns, calibration_now
from .tally import Tally
from .walk import Walk
from .walked_legs import WalkedLegs

MakePlan = Callable[[StandIns], Generator[Any, Any, Any]]

UNKNOWN_SHAPE = (512, 512)  # of a Merlin with four chips
PIXEL_BYTES = 2  # of a counter of 12 bits
FRAME_ROW_BYTES = 1000  # of frames.csv and of the documents, as runs on the bench have them
READING_BYTES = 1600
RUN_BYTES = 60_000  # station file, descriptors, start and stop
OWN = "the protocol"  # whose budget it is

#: Of the paper: the burst of nuclei, and when their number is stable, in s.
BURST_S, STABLE_S = 0.2, 0.8
FRAMES_WITHIN = 2.0  # frames that show that something has changed meanwhile
#: Rose's criterion: what is to be seen must differ by five times the noise of its own area.
ROSE, CONTRAST = 5.0, 0.1
SMALLEST_NM = 30.0  # "a few tens of nm", the smaller of the nuclei that fuse in Fig. 2e


def estimate_plan(
    make_plan: MakePlan,
    station: Station | str | Path = "sim",
    *,
    ledger: Ledger | None = None,
    specimen: str = "",
    site: str = "",
    name: str = "",
    budget_e_per_A2: float | None = None,
    first: bool = True,
    memory: WalkedLegs | None = None,
) -> Estimate:
    """Return what a plan would come to at a station; no instrument is asked.

    Parameters
    ----------
    make_plan : callable
        Gets devices by the names of a session (``.bias``, ``.camera``, ``.beam``, ``.probe``) and
        returns the plan: the same function makes it for a session.
    station : Station, str or Path
        A station, the name of one that comes with the package, or a station file.
    ledger : Ledger, optional
        Of the doses; by default the station's, read only.  A bench that is started for the run
        has a new specimen.
    specimen, site : str, optional
        What is in the beam, where the plan does not say.
    name : str, optional
        Of the estimate; by default that of the plan.
    budget_e_per_A2 : float, optional
        A lower limit for every site than the station has.
    first : bool
        Whether it is the first plan of its session: then the recorder has to wake up.
    memory : WalkedLegs, optional
        What approaches and baselines came to that were walked before, at this station: they are
        not walked again.

    Returns
    -------
    Estimate
        With all that would be refused, instead of an error.

    Raises
    ------
    ConfigError
        The station cannot be used.
    SpecimenError
        The simulated bench has no such preset.
    RecordingError
        Ledger or calibration file cannot be read.
    """
    station = station if isinstance(station, Station) else load_station(station)
    if station.bench is not None:
        resolve(station.bench.preset, {})
    latencies, how = latencies_of(station)
    if not first:
        latencies = replace(latencies, first_frames=0.0)
    hard = station.dose.budget().hard
    calibration = calibration_now(station)
    had, fresh = _doses(station, ledger)
    home = (specimen or SPECIMEN, site or SITE)
    stand_ins = StandIns(station, latencies, home=home, had=had, hard=hard, calibration=calibration)
    tally = stand_ins.tally
    tally.assume(how)
    _assume_probe(station, tally.assume)
    if fresh:
        tally.assume("the bench that is started for it has a new specimen, which had no dose")
    walk = Walk(stand_ins, latencies, memory)
    stand_ins.clock.let_pass(latencies.begin * stand_ins.clock.speed)
    _go(walk, make_plan, stand_ins)
    stand_ins.make_safe()
    stand_ins.clock.let_pass(latencies.end * stand_ins.clock.speed)
    tally.finish()
    plan_name = name or stand_ins.plan_name or getattr(make_plan, "__name__", "plan")
    return _summary(plan_name, stand_ins, walk, latencies, budget_e_per_A2)


def _go(walk: Walk, make_plan: MakePlan, stand_ins: StandIns) -> None:
    """Walk; what the plan raises is why it would be refused, or could not end."""
    try:
        walk.go(make_plan(stand_ins))
    except StmTemError as error:
        tally = stand_ins.tally
        # With values that would have been refused, what comes of them says nothing more.
        if not (tally.refusals and tally.runs):
            tally.refuse("", error)


def _doses(station: Station, ledger: Ledger | None) -> tuple[Callable[[str, str], float], bool]:
    """Return what tells the dose of a site, and whether nothing can have had any."""
    if ledger is not None:
        return ledger.dose, False
    path = ledger_path(station)
    if station.bench is not None or not path.exists():
        return lambda specimen, site: 0.0, station.bench is not None

    def dose(specimen: str, site: str) -> float:
        with Ledger(path, readonly=True) as opened:
            return opened.dose(specimen, site)

    return dose, False


def _assume_probe(station: Station, assume: Callable[[str], None]) -> None:
    if station.bench is None:
        assume(
            f"where a plan approaches, the probe stands {START_GAP_NM:g} nm from the fibre, as on "
            "the simulated bench, with steps of 60 nm; each further sweep of the fine offset takes "
            "longer"
        )
    else:
        assume("where a plan approaches, the probe stands where the bench has it at its start")


def _summary(
    name: str,
    stand_ins: StandIns,
    walk: Walk,
    latencies: Latencies,
    budget_e_per_A2: float | None,
) -> Estimate:
    station, tally = stand_ins.station, stand_ins.tally
    speed = stand_ins.clock.speed
    shape = UNKNOWN_SHAPE if station.bench is None else (station.bench.size, station.bench.size)
    sites = _sites(stand_ins, budget_e_per_A2)
    frames = sum(one.frames for one in tally.acquisitions)
    written = bytes_of(shape, frames, tally.readings, tally.runs)
    free = free_bytes(Path(station.station.data))
    found = list(tally.refusals)
    told = any(one.is_dose for one in found)
    for one in sites:
        problem = _over(one, tally, own=budget_e_per_A2, told=told)
        found += [Refusal("", "beam", text) for text in problem]
    found += refuse_disk(written, free, station)
    warnings = [
        *tally.warnings,
        *warn_of(tally.acquisitions, station.camera.pixel_size_nm),
        *warn_of_pace(tally.acquisitions, shape, station),
        *warn_of_disk(written, free, station, tally.acquisitions, shape, speed),
    ]
    for one in sites:
        soft = station.dose.budget().soft
        if one.specimen != VACUUM and one.had_e_per_A2 + one.dose_e_per_A2 > soft.soft_e_per_A2:
            warnings.append(
                f"site {one.site!r} comes to {one.had_e_per_A2 + one.dose_e_per_A2:.4g} e/A^2, "
                f"over the soft limit of {soft.soft_e_per_A2:.4g} for {soft.name}"
            )
    assumptions = [*tally.assumptions]
    if station.bench is None:
        assumptions.append(
            f"images have {shape[0]} x {shape[1]} pixels of {PIXEL_BYTES} bytes; the camera says "
            "when it is connected"
        )
    if station.camera.compression:
        assumptions.append("bytes are those without compression")
    t = stand_ins.clock.t
    return Estimate(
        name=name,
        station=station.station.name,
        wall_s=t / speed,
        station_s=t,
        runs=tally.runs,
        messages=walk.messages,
        acquisitions=tuple(tally.acquisitions),
        image_shape=shape,
        bytes_on_disk=written,
        bytes_free=free,
        readings=tally.readings,
        sites=sites,
        highest_bias_V=tally.highest_bias_V,
        bias_edges=tally.bias_edges,
        biased_s=tally.biased_s,
        charge_limit_C=tally.biased_s * float(stand_ins.bias.compliance.get()),
        typical_charge_C=None if station.bench is None else tally.typical_C,
        refusals=tuple(found),
        warnings=tuple(dict.fromkeys(warnings)),
        assumptions=tuple(assumptions),
        timeline=tuple(tally.points),
    )


def _sites(stand_ins: StandIns, budget_e_per_A2: float | None) -> tuple[SiteEstimate, ...]:
    tally, hard = stand_ins.tally, stand_ins.station.dose.budget().hard
    made = []
    for (specimen, site), one in tally.sites.items():
        if not one.open_s and (specimen, site) == tally.home and len(tally.sites) > 1:
            continue  # the plan says where else it is
        budget, phase = hard.hard_e_per_A2, hard.name
        if budget_e_per_A2 is not None and budget_e_per_A2 < budget:
            budget, phase = budget_e_per_A2, OWN
        if specimen == VACUUM:
            budget, phase = math.inf, VACUUM
        made.append(
            SiteEstimate(
                specimen=specimen,
                site=site,
                open_s=one.open_s,
                dose_e_per_A2=one.open_s * tally.dose_rate_e_per_A2_s,
                had_e_per_A2=one.had_e_per_A2,
                budget_e_per_A2=budget,
                phase=phase,
            )
        )
    return tuple(made)


def _over(one: SiteEstimate, tally: Tally, *, own: float | None, told: bool) -> list[str]:
    """Return why a site may not have so much: its budget, that of the protocol, or both."""
    found = []
    if own is not None and one.dose_e_per_A2 > own and one.specimen != VACUUM:
        found.append(
            f"dose: the protocol would give {one.dose_e_per_A2:.4g} e/A^2, its own budget is "
            f"{own:.4g}; make it shorter, blank more, or raise 'budget' under 'beam'"
        )
    if told or one.phase in (OWN, VACUUM):
        return found
    limit = Phase(one.phase, one.budget_e_per_A2, one.budget_e_per_A2, "", "")
    try:
        check_planned(
            one.open_s,
            tally.dose_rate_e_per_A2_s,
            one.had_e_per_A2,
            limit,
            specimen=one.specimen,
            site=one.site,
        )
    except InterlockError as error:
        found.append(str(error))
    return found


def bytes_of(shape: tuple[int, int], frames: int, readings: int, runs: int) -> int:
    """Return the bytes that runs write: pages with their directories, rows, and documents."""
    page = padded(shape[0] * shape[1] * PIXEL_BYTES) + ALIGNMENT + FRAME_ROW_BYTES
    return frames * page + readings * READING_BYTES + runs * RUN_BYTES


def smallest_nm(electrons_per_pixel: float, pixel_size_nm: float) -> float:
    """Return the diameter (nm) of the smallest disc that a frame shows, by Rose's criterion.

    Its N electrons must make ``CONTRAST * N`` at least ``ROSE * sqrt(N)``.
    """
    needed = (ROSE / CONTRAST) ** 2
    return pixel_size_nm * math.sqrt(4.0 * needed / (math.pi * electrons_per_pixel))


def warn_of(acquisitions: "list[Acquisition]", pixel_size_nm: float) -> list[str]:
    """Return what frames of these timings cannot show."""
    found = []
    for timing in {(one.frame_rate_Hz, one.electrons_per_pixel) for one in acquisitions}:
        rate_Hz, electrons = timing
        for what, lasts_s in (
            ("the burst of nuclei within 0.2 s", BURST_S),
            ("the stable number of nuclei at 0.8 s", STABLE_S),
        ):
            least = FRAMES_WITHIN / lasts_s
            if rate_Hz < least * (1.0 - 1e-9):
                found.append(
                    f"{rate_Hz:g} frames a second do not resolve {what}; take {least:g} or more"
                )
        smallest = smallest_nm(electrons, pixel_size_nm)
        if smallest > SMALLEST_NM:
            found.append(
                f"{electrons:.3g} electrons in a pixel of a frame show nothing smaller than "
                f"{smallest:.0f} nm (contrast 10 %, Rose's criterion); expose longer, or add up "
                "frames"
            )
    return found
