"""In which frame an edge of the bias falls, and whether that is certain.

The rule: frame k owns the time from the start of its exposure to the start of the next frame's,
the first moment included and the last not.  A frame that nothing follows directly (the last one,
one before lost frames or before a pause) owns one period.  An edge in lost frames is in no
recorded one.

An edge is certain when it is at least as far from every border as the times of the edge and of
that border may be wrong together.  Where a trigger line ties edge and frame to each other, no time
is needed: the channel :data:`BY_TRIGGER` then names the frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmtem_control.errors import RecordingError
from stmtem_control.timeline import Timeline

from .facts import FrameFacts
from .frame_table import TABLE, read_table
from .journal import read_journal

LEVEL = "bias_set_V"
#: Channel of a timeline: at the very time of an entry of ``bias_set_V``, the number of the frame
#: that this edge falls into, which a trigger line tells; -1 for none that is recorded.
BY_TRIGGER = "bias_edge_frame"
#: A time that is a guess, such as the start of a frame that is dated by its arrival alone, is taken
#: to be right within so much, in s.
GUESS_S = 1.0

Floats = NDArray[np.float64]
_Entries = tuple[Sequence[float], Sequence[Any], Sequence[float]]


class Edge(NamedTuple):
    """A change of the bias, and where it is.

    Attributes
    ----------
    t : float
        When, in run time, s.
    from_V, to_V : float
        Levels before and after.
    frame : int or None
        Number of the frame that owns it; None when it falls between recorded frames.
    certain : bool
        Whether the times, or a trigger, leave no other choice.
    """

    t: float
    from_V: float
    to_V: float
    frame: int | None
    certain: bool


@dataclass(frozen=True)
class Changes:
    """The changes of the bias: arrays of one length, oldest first.

    Attributes
    ----------
    t, uncertainty_s : array
        Station time in s, right within +- the uncertainty.
    from_V, to_V : array
        Levels before and after.
    frame : array of int
        Number of the frame that a trigger names, -1 for none that is recorded; -2 where the times
        must tell.
    """

    t: Floats
    uncertainty_s: Floats
    from_V: Floats
    to_V: Floats
    frame: NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """What frames own: arrays of one length, in order of time.

    Attributes
    ----------
    start, stop : array
        Borders in station s.
    start_first, start_last, stop_first, stop_last : array
        Between what times each border lies for certain.
    """

    start: Floats
    stop: Floats
    start_first: Floats
    start_last: Floats
    stop_first: Floats
    stop_last: Floats


def bias_changes(
    entries: _Entries, triggered: _Entries = ((), (), ()), *, run_start: float = -math.inf
) -> Changes:
    """Return the changes in the entries of the channel ``bias_set_V``.

    Parameters
    ----------
    entries : tuple of sequences
        Its times (s), levels (V) and uncertainties (s), as :meth:`.Timeline.entries` gives them.
        The first sets a level; only others can change it.  The last entry for a time holds.
    triggered : tuple of sequences
        The same for the channel :data:`BY_TRIGGER`.
    run_start : float, optional
        Station s: what triggers told before is about the frames of another run.
    """
    times, values, uncertainties = _that_hold(entries)
    unsure = _doubt(uncertainties)
    levels = np.asarray(values, np.float64)
    where = 1 + np.flatnonzero(np.diff(levels) != 0.0)  # NaN too: it is not known to be equal
    told = zip(triggered[0], triggered[1], strict=True)
    named = {moment: frame for moment, frame in told if moment >= run_start}
    t = np.asarray(times, np.float64)[where]
    return Changes(
        t=t,
        uncertainty_s=unsure[where],
        from_V=levels[where - 1],
        to_V=levels[where],
        frame=np.asarray([named.get(float(moment), -2) for moment in t], np.int64),
    )


def _doubt(uncertainty_s: ArrayLike) -> Floats:
    return np.nan_to_num(np.asarray(uncertainty_s, np.float64), nan=GUESS_S, posinf=math.inf)


def _that_hold(entries: _Entries) -> _Entries:
    """Leave out entries that a later one for the same time has replaced."""
    times, values, uncertainties = entries
    kept = [i for i, t in enumerate(times) if i + 1 == len(times) or times[i + 1] != t]
    if len(kept) == len(times):
        return entries
    return [times[i] for i in kept], [values[i] for i in kept], [uncertainties[i] for i in kept]


def spans(
    start_s: ArrayLike,
    uncertainty_s: ArrayLike,
    period_s: ArrayLike,
    sequence: ArrayLike,
    *,
    following: tuple[float, float] | None = None,
) -> Spans:
    """Return what the frames own.

    Parameters
    ----------
    start_s, uncertainty_s : array
        Start of each exposure in station s, in order, and how sure that is (+-); NaN for a guess,
        see :data:`GUESS_S`.
    period_s : array
        Time to the next start, for frames that none follows directly.
    sequence : array of int
        The camera's numbers: a frame follows directly when its number is the next.
    following : (float, float), optional
        Start and uncertainty of the frame that directly follows the last, if it is known.
    """
    start = np.maximum.accumulate(np.asarray(start_s, np.float64))
    unsure = _doubt(uncertainty_s)
    end = start + np.asarray(period_s, np.float64)
    # Frames follow one another: what is sure of one limits all after it, or before it.
    first = np.maximum.accumulate(start - unsure)
    last = np.minimum.accumulate((start + unsure)[::-1])[::-1]
    stop = end.copy()
    stop_first, stop_last = np.maximum(end - unsure, first), end + unsure
    if len(start) > 1:
        direct = np.diff(np.asarray(sequence, np.int64)) == 1
        stop[:-1] = np.where(direct, start[1:], np.minimum(end[:-1], start[1:]))
        early, late = np.minimum(stop_first[:-1], first[1:]), np.minimum(stop_last[:-1], last[1:])
        stop_first[:-1] = np.where(direct, first[1:], early)
        stop_last[:-1] = np.where(direct, last[1:], late)
    if following is not None and len(start):
        t, wrong = following[0], float(_doubt(following[1]))
        stop[-1] = max(t, start[-1])
        stop_first[-1], stop_last[-1] = max(t - wrong, first[-1]), max(t + wrong, last[-1])
    return Spans(start, stop, first, last, stop_first, stop_last)


def owners(
    t: ArrayLike, uncertainty_s: ArrayLike, owned: Spans
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each edge the index of the frame that owns it, -1 for none, and if it is certain.

    Parameters
    ----------
    t, uncertainty_s : array
        Station time of each edge in s, and how sure that is, +- s.
    owned : Spans
        What the frames own.
    """
    edge = np.asarray(t, np.float64)
    unsure = np.asarray(uncertainty_s, np.float64)
    index = np.searchsorted(owned.start, edge, "right").astype(np.int64) - 1
    if not len(owned.start):
        return index, np.ones(edge.shape, np.bool_)
    # A guess at an edge before all frames would index the last frame; it is taken back below.
    index = np.where((index >= 0) & (edge < owned.stop[index]), index, -1)
    inside = (edge - unsure >= owned.start_last[index]) & (edge + unsure < owned.stop_first[index])
    # How many frames may have it: those that may begin before it ends, less those that surely end
    # before it begins.  An edge outside all frames is certain when that is none.
    candidates = np.searchsorted(owned.start_first, edge + unsure, "right") - np.searchsorted(
        np.sort(owned.stop_last), edge - unsure, "right"
    )
    return index, np.where(index >= 0, inside, candidates == 0)


def marks(changes: Changes, numbers: ArrayLike, owned: Spans) -> list[str]:
    """Return for each frame "edge" if one surely falls into it, "ambiguous" if one may, or "".

    Parameters
    ----------
    changes : Changes
        Of the bias.
    numbers : array of int
        The frames' numbers in the run.
    owned : Spans
        What the frames own.
    """
    number = np.asarray(numbers, np.int64)
    timed = changes.frame == -2
    edge, unsure = changes.t[timed], changes.uncertainty_s[timed]
    index, certain = owners(edge, unsure, owned)
    sure = np.isin(number, changes.frame[~timed])
    sure[index[certain & (index >= 0)]] = True
    # Edges that may have begun before the frame ends, less those that surely ended before it.
    earliest, latest = np.sort(edge - unsure), np.sort(edge + unsure)
    may = np.searchsorted(earliest, owned.stop_last, "left") > (
        np.searchsorted(latest, owned.start_first, "left")
    )
    return np.where(sure, "edge", np.where(may, "ambiguous", "")).tolist()  # type: ignore[no-any-return]


def bias_edges(
    timeline: Timeline, facts: Sequence[FrameFacts], *, following: FrameFacts | None = None
) -> list[str]:
    """Return the column ``bias_edge`` for frames in order: "", "edge" or "ambiguous".

    Parameters
    ----------
    timeline : Timeline
        What was true when.
    facts : sequence of FrameFacts
        The frames.
    following : FrameFacts, optional
        The frame after the last of them, if it is known: it says where that one ends.
    """
    if not facts:
        return []
    after = None
    if following is not None and following.sequence == facts[-1].sequence + 1:
        after = (following.start_s, following.uncertainty_s)
    owned = spans(
        [frame.start_s for frame in facts],
        [frame.uncertainty_s for frame in facts],
        [frame.period_s for frame in facts],
        [frame.sequence for frame in facts],
        following=after,
    )
    # Only what may be near: a run has many edges, and rows are made a few at a time.
    reach = max(GUESS_S, timeline.largest_uncertainty_s(LEVEL))
    first = float(np.min(owned.start_first)) - reach
    last = float(np.max(owned.stop_last)) + reach
    level = timeline.cut(LEVEL, first, last)
    told = timeline.cut(BY_TRIGGER, first, last)
    changes = bias_changes(
        (level.times, level.values, level.uncertainties),
        (told.times, told.values, told.uncertainties),
        run_start=timeline.run_start,
    )
    return marks(changes, [frame.number for frame in facts], owned)


def edge_frames(run_folder: Path | str) -> list[Edge]:
    """Return every edge of the bias in a run, with the frame that it falls into.

    Parameters
    ----------
    run_folder : path
        With ``timeline.jsonl`` and ``frames.csv``.

    Returns
    -------
    list of Edge
        Those since the run's start, or since its first frame if that is earlier, oldest first.

    Raises
    ------
    RecordingError
        A file is missing or is not what its name says.
    """
    folder = Path(run_folder)
    timeline, _, _ = read_journal(folder)
    run_start = timeline.run_start
    changes = bias_changes(
        timeline.entries(LEVEL), timeline.entries(BY_TRIGGER), run_start=run_start
    )
    number, owned = _frames(folder / TABLE)
    # What the look-back kept lies before the run's start.
    begin = run_start + min(0.0, float(np.min(owned.start_first, initial=0.0)))
    inside = changes.t + changes.uncertainty_s >= begin
    index, certain = owners(changes.t - run_start, changes.uncertainty_s, owned)
    known = set(number.tolist())
    edges: list[Edge] = []
    for place in np.flatnonzero(inside).tolist():
        told = int(changes.frame[place])
        if told == -2:
            found = int(number[index[place]]) if index[place] >= 0 else None
        else:
            found = told if told in known else None
        edges.append(
            Edge(
                t=float(changes.t[place]) - run_start,
                from_V=float(changes.from_V[place]),
                to_V=float(changes.to_V[place]),
                frame=found,
                certain=told != -2 or bool(certain[place]),
            )
        )
    return edges


def _frames(path: Path) -> tuple[NDArray[np.int64], Spans]:
    """Return the numbers of a table's frames and what they own, in run time."""
    rows = read_table(path)
    names = ("frame", "sequence", "run_time_s", "time_uncertainty_s")
    try:
        number, sequence, start, unsure = (
            np.array([row[name] for row in rows], np.float64) for name in names
        )
    except (KeyError, TypeError) as error:
        raise RecordingError(f"{path}: a table of frames without {error}") from None
    steps = np.diff(start)[np.diff(sequence) == 1.0]
    period = float(np.median(steps)) if len(steps) else 0.0
    owned = spans(start, unsure, np.full(len(start), period), sequence)
    return number.astype(np.int64), owned
