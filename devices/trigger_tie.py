"""Which frame belongs to which level of a sequence, where a trigger line ties one to the other.

The source is the master when each of its levels starts a burst of frames: the edge falls on the
start of the first.  The camera is the master when the end of each exposure steps the source: the
edge falls behind that exposure, in the time that its frame owns.  Counting tells which; the time
stamps of both must agree with it, or a trigger was lost on the way.
"""

import contextlib
import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stmtem_control.clock_model import LARGEST_DRIFT, Z95, ClockModel, StampedExchange, fit_clock
from stmtem_control.errors import InstrumentError, StmTemError
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.edges import BY_TRIGGER
from stmtem_control.timeline import Timeline

from .frame_samples import Sample
from .keithley_sequence import SequenceRun

LATENCY_S = 1e-3  # from an edge at one instrument's output to what the other does, at most
WINDOW = 32  # levels whose median is taken for what is usual
SOURCE = "trigger: edges of the source"


@dataclass(frozen=True)
class Tie:
    """Frames and levels, tied.

    Attributes
    ----------
    model : ClockModel
        Station time of the camera's stamps.
    frames : tuple of int
        For each level the index in the samples of the frame that its edge falls into; -1 if that
        frame was lost.
    times : tuple of (float, float)
        For each level the station time of its edge in s, and how sure that is.
    """

    model: ClockModel
    frames: tuple[int, ...]
    times: tuple[tuple[float, float], ...]


def tie(
    samples: Sequence[Sample],
    run: SequenceRun,
    *,
    master: str,
    frames_per_step: int = 1,
    started: Exchange | None = None,
) -> Tie:
    """Tie the frames of an acquisition to the levels of a sequence.

    Parameters
    ----------
    samples : sequence of Sample
        All frames of the acquisition.
    run : SequenceRun
        What came of the sequence.
    master : {"source", "camera"}
        Who triggered whom.
    frames_per_step : int
        Frames that each level starts; 1 with the camera as the master.
    started : Exchange, optional
        In which the first exposure began, if the camera's start began it; in station time.

    Raises
    ------
    InstrumentError
        Levels, triggers and frames are not as many as they must be, or their times do not agree.
    """
    steps = len(run.sequence.levels)
    if not run.complete:
        raise InstrumentError(
            f"the source went through {len(run.points)} of {steps} levels, so its edges cannot be "
            "counted to frames"
        )
    of_sequence = {sample.sequence: place for place, sample in enumerate(samples)}
    last = samples[-1].sequence if samples else 0
    wanted = steps * frames_per_step
    if last < wanted or (master == "source" and last > wanted):
        raise InstrumentError(
            f"the source went through {steps} levels with {frames_per_step} "
            f"frame{'s' * (frames_per_step > 1)} each, but the camera's last frame is number "
            f"{last}; look at the trigger cable, and whether the "
            "exposures leave time for the next trigger"
        )
    numbers = [1 + i * frames_per_step for i in range(steps)]
    frames = tuple(of_sequence.get(number, -1) for number in numbers)
    stamps = _stamps(samples, frames, numbers)
    behind = 0.0 if master == "source" else samples[0].exposure_s
    late = [p.edge_t - s - behind for s, p in zip(stamps, run.points, strict=True)]
    _check_shifts(late, min((b - a for a, b in pairwise(stamps)), default=math.inf))
    model = _model(samples, run, stamps, late, behind, started)
    times = tuple(model.station_time(stamp + behind) for stamp in stamps)
    return Tie(model, frames, times)


def record_edges(timeline: Timeline, run: SequenceRun, tied: Tie, first_number: int) -> None:
    """Put the levels of a sequence into the timeline, at the edges that its frames tell.

    Parameters
    ----------
    timeline : Timeline
        Where what was planned, or is known from the source's coarser clock, gives way.
    run, tied : SequenceRun, Tie
        What came of the sequence, and what its frames tell.
    first_number : int
        Number in the run of the first frame of the acquisition.
    """
    # A later entry for a time is the one that holds.
    first, last = run.started.sent, max(run.started.answered, tied.times[-1][0])
    edges = [t for t, _ in tied.times]
    levels = [point.level_V for point in run.points]
    for t in timeline.entries("bias_set_V")[0]:
        if first <= t <= last:
            place = bisect_right(edges, t)
            timeline.record("bias_set_V", t, levels[place - 1] if place else 0.0)
    for (t, sure), level, frame in zip(tied.times, levels, tied.frames, strict=True):
        timeline.record("bias_set_V", t, level, sure)
        timeline.record(BY_TRIGGER, t, first_number + frame if frame >= 0 else -1)


def mark_levels(
    timeline: Timeline, marks: Sequence[tuple[int, str, int]], edges: Sequence[float]
) -> None:
    """Note phases and cycles from the levels on that were reached, at these times (station s)."""
    for index, phase, cycle in marks:
        if index < len(edges):
            timeline.record("phase", edges[index], phase)
            timeline.record("cycle", edges[index], cycle)


def _agreeing(bounds: list[StampedExchange], late: Sequence[float]) -> list[StampedExchange]:
    """Return the bounds that have room for what is usual around them."""
    usual = [
        statistics.median(late[max(0, place - WINDOW // 2) : place + WINDOW // 2 + 1])
        for place in range(len(late))
    ]
    return [
        bound
        for bound, own, around in zip(bounds, late, usual, strict=True)
        if abs(own - around) <= 0.5 * (bound.answered - bound.sent)
    ]


def _check_shifts(late: Sequence[float], step_s: float) -> None:
    """Raise when from some level on all come a step later, or earlier, than those before.

    A trigger that was lost, or came twice, would leave the number of frames right.  A level that
    is late alone tells nothing: its time is that of a reading, which may wait.

    Parameters
    ----------
    late : sequence of float
        For each level the source's time of it less the camera's, in s.
    step_s : float
        The shortest time between two levels.
    """
    latest = earliest = late[-1]
    found: tuple[int, float] | None = None
    for place in range(len(late) - 1, 0, -1):
        latest, earliest = max(latest, late[place]), min(earliest, late[place])
        usual = statistics.median(late[max(0, place - WINDOW) : place])
        if earliest - usual > 0.5 * step_s or latest - usual < -0.5 * step_s:
            found = place, late[place] - usual
    if found is not None:
        raise InstrumentError(
            f"from level {found[0]} of the sequence on all come {found[1]:+.4g} s from their "
            "frames: a trigger was lost, or came twice; look at the trigger cable"
        )


def _stamps(
    samples: Sequence[Sample], frames: Sequence[int], numbers: Sequence[int]
) -> list[float]:
    """Return the camera's stamp of each frame; of a lost one, from those around it."""
    known = [(n, samples[f].camera_time_s) for n, f in zip(numbers, frames, strict=True) if f >= 0]
    if not known:
        raise InstrumentError("no frame that a level of the sequence began has come")
    if len(known) == 1:
        (first, stamp), period = known[0], samples[0].period_s
        return [stamp + (n - first) * period for n in numbers]
    stamps: list[float] = []
    place = 0
    for n in numbers:
        while place < len(known) - 2 and known[place + 1][0] <= n:
            place += 1
        (n0, t0), (n1, t1) = known[place], known[place + 1]
        stamps.append(t0 + (n - n0) * (t1 - t0) / (n1 - n0))
    return stamps


def _model(
    samples: Sequence[Sample],
    run: SequenceRun,
    stamps: Sequence[float],
    late: Sequence[float],
    behind: float,
    started: Exchange | None,
) -> ClockModel:
    """Return the station time of the camera's stamps, from all that bounds it."""
    bounds: list[StampedExchange] = []
    for stamp, point in zip(stamps, run.points, strict=True):
        sure = point.edge_uncertainty_s + LATENCY_S
        bounds.append(StampedExchange(point.edge_t - sure, point.edge_t + sure, stamp + behind))
    begun: list[StampedExchange] = []
    if started is not None and samples[0].sequence == 1:
        begun.append(StampedExchange(started.sent, started.answered, samples[0].camera_time_s))
    # Single levels may contradict the others: a reading that was late makes its edge look late, an
    # exposure that began late makes it look early.  Then those that agree with their neighbours.
    for some in (bounds, _agreeing(bounds, late)):
        with contextlib.suppress(StmTemError):
            return fit_clock([*some, *begun], source=SOURCE)
    # What is known best is the start of the camera, or the level that is least late.
    if started is not None and samples[0].sequence == 1:
        moment, offset, unsure = samples[0].camera_time_s, started.t, started.uncertainty_s
        offset -= moment
    else:
        offset, moment = min(
            (p.edge_t - s - behind, s) for s, p in zip(stamps, run.points, strict=True)
        )
        unsure = LATENCY_S + max(point.edge_uncertainty_s for point in run.points)
    rate = (LARGEST_DRIFT / Z95) ** 2
    return ClockModel(moment, offset, 0.0, (((unsure / Z95) ** 2, 0.0), (0.0, rate)), SOURCE)
