"""The blanked beam in time: its edges, how it follows a command, and a code to blank it in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)
# Whole periods between one edge and the next, beside the golden part.  Of all such sequences of
# ones and twos this is one that stays furthest from itself, shifted or with an edge lost; see
# tests/core/test_blank_edges.py.
WHOLE_PERIODS = (1, 1, 2, 1, 2, 2, 1, 1, 1, 2, 2, 2, 1, 2, 1)
FEWEST, MOST = 8, 16
EDGE_S = 0.01  # wall seconds that a command to the blanker takes in a plan


@dataclass(frozen=True)
class BlankEdge:
    """A change of the beam.

    Attributes
    ----------
    t, uncertainty_s : float
        Station time (s) of the command, and within how much of it, + or -, the source acted.
    blanked : bool
        Whether the beam is off from then on.
    """

    t: float
    uncertainty_s: float
    blanked: bool


@dataclass(frozen=True)
class Blanker:
    """How the beam follows the source's line.

    Attributes
    ----------
    delay_s : float
        From the line to half of the beam, in s.  Frames cannot tell it from an offset of the
        clocks; it has to be measured, for example with a photodiode at the screen.
    delay_uncertainty_s : float
        95 % half width of that, in s; it is part of every offset found.
    rise_s : float
        From no beam to all of it, in s, in a straight line.
    """

    delay_s: float = 0.0
    delay_uncertainty_s: float = 0.0
    rise_s: float = 0.0


class LitTime:
    """The time that the beam was on, added up.

    Parameters
    ----------
    edges : array of float
        Times of the changes in s, in order.
    lit_first : bool
        Whether the beam is on after the first of them.
    rise_s : float
        Length of each change.
    """

    def __init__(self, edges: Floats, lit_first: bool, rise_s: float = 0.0) -> None:
        self._edges = edges
        self._rise_s = rise_s
        lit = np.arange(len(edges) + 1) % 2 == (1 if lit_first else 0)
        self._level = lit.astype(float)  # before the first edge, after it, ...
        # Up to each edge, from the first one on, and the integral of that.
        steps = np.diff(edges)
        self._seconds = np.concatenate([[0.0], np.cumsum(self._level[1:-1] * steps)])
        area = self._seconds[:-1] * steps + 0.5 * self._level[1:-1] * steps**2
        self._area = np.concatenate([[0.0], np.cumsum(area)])

    def seconds(self, start: Floats, stop: Floats) -> Floats:
        """Return for how many seconds from `start` to `stop` (arrays, s) the beam was on."""
        return self._until(stop) - self._until(start)

    def _until(self, t: Floats) -> Floats:
        if self._rise_s == 0.0:
            level, edge, since = self._place(t)
            return np.asarray(self._seconds[edge] + level * since)
        half = 0.5 * self._rise_s
        return (self._integral(t + half) - self._integral(t - half)) / self._rise_s

    def _integral(self, t: Floats) -> Floats:
        level, edge, since = self._place(t)
        grown = self._seconds[edge] + 0.5 * level * since
        return np.asarray(self._area[edge] + since * grown)

    def _place(self, t: Floats) -> tuple[Floats, NDArray[np.intp], Floats]:
        """Return the beam at `t`, the edge before, and the time since (below 0 at the first)."""
        place = np.searchsorted(self._edges, t, side="right")
        edge = np.maximum(place - 1, 0)
        return self._level[place], edge, t - self._edges[edge]


def coded_pattern(
    period_s: float, exposure_s: float, *, shortest_s: float = 0.0
) -> tuple[float, ...]:
    """Return how long the beam is dark, lit, dark, ... and dark at last, in s.

    The edges advance by the golden section of the frame period, so that they spread over its
    phases as evenly as any number of them can: whatever the offset is, most fall into exposures
    and the rest cut the dead time into pieces.  The whole periods between them are a code.  There
    are as many edges as it takes to have some inside exposures, eight at least: at 25 frames in a
    second and an exposure of 35 ms the pattern takes 0.6 s, half of it dark.

    Parameters
    ----------
    period_s, exposure_s : float
        Of the camera, in s.
    shortest_s : float
        No interval is shorter: how long a command to the blanker may take.
    """
    wanted = 2 * math.ceil(1.5 * period_s / min(exposure_s, period_s))
    edges = min(max(FEWEST, wanted), MOST)
    times = max(1, math.ceil((shortest_s / period_s - GOLDEN) / WHOLE_PERIODS[0]))
    return tuple((times * whole + GOLDEN) * period_s for whole in WHOLE_PERIODS[: edges - 1])


def edges_between(
    history: tuple[Sequence[float], Sequence[bool], Sequence[float]], start: float, stop: float
) -> list[BlankEdge]:
    """Return the changes of the beam from `start` to `stop` (station s).

    Parameters
    ----------
    history : tuple
        Times (s), states and uncertainties (s) as :meth:`.timeline.Timeline.entries` gives them;
        entries that change nothing are left out.
    start, stop : float
        Station s.
    """
    found: list[BlankEdge] = []
    before: bool | None = None
    for t, blanked, uncertainty in zip(*history, strict=True):
        if bool(blanked) != before and before is not None and start <= t <= stop:
            found.append(BlankEdge(t, uncertainty, bool(blanked)))
        before = bool(blanked)
    return found
