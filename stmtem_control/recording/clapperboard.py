"""The clapperboard: blank the beam in a code, and find the code again in the frames' counts.

The source knows when it blanked the beam, the camera knows which of its exposures were dark, and
how dark those were in which the beam came or went.  From both follows how far the two clocks are
apart, without any wire between the instruments.

The model of one exposure: of the time from ``start`` to ``start + exposure`` a fraction f was lit,
and the mean counts are ``dark + f * lit``, with a noise that grows with f as that of counted
electrons does.  An edge inside an exposure is thus known to ``exposure * noise / lit``; one that
falls in the dead time between two exposures is only known to lie there, which a likelihood over
the offset takes as it comes.  Each edge is moved by its own error, within what the exchange with
the source allows, and all are moved by what they have in common.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import AlignmentError

from .blank_edges import BlankEdge, Blanker, LitTime
from .error_laws import interval, kernel, smeared
from .lit_levels import Levels, find_levels
from .stamped_frames import DatedFrame, stamp_jitter

Floats = NDArray[np.float64]

LEAST_EDGES = 4
LEAST_FRAMES = 8
SEARCH_S = 2.0
# What is stated as an interval of 95 % holds this much of the likelihood: the noise is itself
# estimated, from a dozen frames, and the beam keeps to no law.
HELD = 0.99
RIVAL = 12.0  # in log-likelihood; one of a hundred other places is then wrong once in a thousand
GLITCH = 0.01  # share of frames whose counts may be anything
# By how much, in periods, edges may scatter beyond what their exchanges tell (one standard
# deviation): each is tried, and the counts say how likely it is.  The last is too much to be true.
SCATTER = (0.0, 0.01, 0.02, 0.04, 0.08)
DOUBT = (0.0, 1.0, 2.0, 3.0, 4.0)  # each is so much less likely beforehand (log)
WIDE = 0.75  # periods to each side of the coarse maximum that are looked at closely
POINTS = 800


@dataclass(frozen=True)
class PatternFit:
    """Where a pattern was found.

    Attributes
    ----------
    reference_s : float
        Camera time (s) in the middle of the edges, for which the offset is.
    offset_s : float
        Station time minus camera time, in s.
    half_width_s : float
        The offset is right within so much, + or -, at least 19 times in 20; without what is not
        known of the blanker's delay, which all patterns have in common.
    edges : int
        Edges that told something.
    frames : int
        Frames that were looked at.
    lit_counts, dark_counts, noise_counts : float
        Mean counts in a pixel with the beam on and off, and their scatter from frame to frame.
    stamp_jitter_s : float
        Scatter of the camera's time stamps about an even beat, in s.
    """

    reference_s: float
    offset_s: float
    half_width_s: float
    edges: int
    frames: int
    lit_counts: float
    dark_counts: float
    noise_counts: float
    stamp_jitter_s: float


def fit_pattern(
    frames: Sequence[DatedFrame],
    edges: Sequence[BlankEdge],
    *,
    blanker: Blanker | None = None,
    expected_offset_s: float | None = None,
    search_s: float = SEARCH_S,
) -> PatternFit:
    """Find the offset from the camera's clock to the station's.

    Parameters
    ----------
    frames : sequence of DatedFrame
        In the order in which they were taken; lost ones are missing.  Those around the edges are
        used.
    edges : sequence of BlankEdge
        Every change of the beam from some frames before the pattern to some frames after it.
    blanker : Blanker, optional
        How the beam follows the command; by default at once.
    expected_offset_s : float, optional
        Roughly, for example from the frames' arrivals; without it every place is tried at which
        all edges are among the frames.
    search_s : float
        How wrong `expected_offset_s` may be, in s.

    Returns
    -------
    PatternFit

    Raises
    ------
    AlignmentError
        Too few edges or frames, no difference between beam on and off, counts that do not follow
        the blanking, edges that are not where they are said to be, or a second place that fits
        almost as well.  There is no offset then.
    """
    matcher = _Matcher(frames, edges, blanker or Blanker(), expected_offset_s, search_s)
    return matcher.fit()


class _Matcher:
    """Frames and edges, on one axis whose zero is the expected place of the first."""

    def __init__(
        self,
        frames: Sequence[DatedFrame],
        edges: Sequence[BlankEdge],
        blanker: Blanker,
        expected: float | None,
        search: float,
    ) -> None:
        edges = sorted(edges, key=lambda edge: edge.t)
        edges = [e for n, e in enumerate(edges) if not n or e.blanked != edges[n - 1].blanked]
        if len(edges) < LEAST_EDGES:
            raise AlignmentError(
                f"clapperboard: the beam changed {len(edges)} times, {LEAST_EDGES} are needed; "
                "run the clapperboard while frames are taken"
            )
        if len(frames) < LEAST_FRAMES:
            raise _too_few(len(frames))
        first, last = edges[0].t + blanker.delay_s, edges[-1].t + blanker.delay_s
        stamps = np.array([frame.camera_time_s for frame in frames])
        if expected is None:
            begin, end = float(stamps[0]), float(stamps[-1])
            expected = 0.5 * (first + last) - 0.5 * (begin + end)
            search = 0.5 * abs((end - begin) - (last - first))
        period = float(np.median([frame.period_s for frame in frames]))
        reach = search + 6.0 * period
        near = [
            frame
            for frame, stamp in zip(frames, stamps, strict=True)
            if first - reach <= stamp + expected <= last + reach
        ]
        if len(near) < LEAST_FRAMES:
            raise _too_few(len(near))
        self._jitter = stamp_jitter(near)
        # Small numbers: Unix time has no digits to spare.
        self._zero = near[0].camera_time_s
        self._expected = expected
        self._search = search
        self._starts = np.array([frame.camera_time_s - self._zero for frame in near])
        self._exposures = np.array([frame.exposure_s for frame in near])
        self._counts = np.array([frame.mean_counts for frame in near])
        self._period = period
        origin = self._zero + self._expected - blanker.delay_s
        self._edges = np.array([edge.t - origin for edge in edges])
        self._widths = np.array([edge.uncertainty_s for edge in edges])
        self._lit = LitTime(self._edges, not edges[0].blanked, blanker.rise_s)
        if not np.all(np.isfinite(self._counts)):
            raise AlignmentError(
                "clapperboard: a frame's mean counts are no number; look at the camera's stream"
            )

    def fit(self) -> PatternFit:
        coarse, rivals = self._candidates()
        offset, levels = self._settle(coarse)
        self._check_rivals(offset, rivals, levels)
        posterior, grid, told, scatter = self._posterior(offset, levels)
        low, high = interval(grid, posterior, HELD)
        if high - low > self._period:
            raise AlignmentError(
                f"clapperboard: the offset can be told to {high - low:.2g} s only, more than the "
                "frame period; use more edges, more counts, or a longer exposure"
            )
        middle = 0.5 * (low + high)
        self._check_edges(middle, levels, told, scatter)
        reference = float(np.mean(self._edges[told])) - middle
        return PatternFit(
            reference_s=self._zero + reference,
            offset_s=self._expected + middle,
            half_width_s=0.5 * (high - low),
            edges=int(np.count_nonzero(told)),
            frames=len(self._starts),
            lit_counts=levels.dark + levels.lit,
            dark_counts=levels.dark,
            noise_counts=levels.lit_noise,
            stamp_jitter_s=self._jitter,
        )

    # Where it is, roughly

    def _candidates(self) -> tuple[float, list[float]]:
        """Return the offset with the best correlation, and the next best ones elsewhere."""
        step = min(self._period / 20.0, 0.25 * float(np.min(self._exposures)))
        grid = np.arange(-self._search, self._search + step, step)
        in_order = np.sort(self._counts)
        # Two glitches to each side shall not decide.
        counts = np.clip(self._counts, in_order[2], in_order[-3])
        counts = counts - counts.mean()
        score = np.empty(len(grid))
        for begin in range(0, len(grid), 512):  # no more memory than that at once
            part = slice(begin, begin + 512)
            lit = self._fractions(grid[part])
            lit = lit - lit.mean(axis=1, keepdims=True)
            size = np.einsum("gn,gn->g", lit, lit) * float(counts @ counts)
            score[part] = (lit @ counts) / np.sqrt(np.maximum(size, 1e-300))
        found: list[float] = []
        left = score.copy()
        for _ in range(4):
            place = int(np.argmax(left))
            if not left[place] > 0.0:
                break
            found.append(float(grid[place]))
            left[np.abs(grid - grid[place]) < WIDE * self._period] = -1.0
        if not found:
            raise AlignmentError(
                "clapperboard: the frames' counts do not follow the blanking at all; look whether "
                "the beam reaches the camera"
            )
        return found[0], found[1:]

    def _settle(self, offset: float) -> tuple[float, Levels]:
        """Return the best offset nearby, and the levels there: each is needed for the other."""
        wide = np.linspace(-WIDE, WIDE, 241) * self._period
        levels = self._levels(offset)
        for zoom in (1.0, 0.3, 0.1):
            grid = offset + zoom * wide
            likelihood = self._likelihood(grid, levels).sum(axis=1)
            best = np.flatnonzero(likelihood >= likelihood.max() - 1e-9)
            offset = float(grid[best[len(best) // 2]])
            levels = self._levels(offset)
        return offset, levels

    def _levels(self, offset: float) -> Levels:
        fractions = self._fractions(np.array([offset]))[0]
        return find_levels(fractions, self._starts, self._counts)

    def _check_rivals(self, offset: float, rivals: list[float], levels: Levels) -> None:
        best = float(self._likelihood(np.array([offset]), levels).sum())
        span = np.linspace(-0.5, 0.5, 121) * self._period
        for rival in rivals:
            if abs(rival - offset) < WIDE * self._period:
                continue
            other = float(self._likelihood(rival + span, levels).sum(axis=1).max())
            if other > best - RIVAL:
                raise AlignmentError(
                    f"clapperboard: ambiguous; the pattern fits almost as well "
                    f"{rival - offset:+.3g} s away; run it once more without other blanking "
                    "around it"
                )

    # How well

    def _fractions(self, offsets: Floats) -> Floats:
        starts = self._starts[None, :] + offsets[:, None]
        return np.asarray(self._lit.seconds(starts, starts + self._exposures) / self._exposures)

    def _likelihood(self, offsets: Floats, levels: Levels) -> Floats:
        """Return the log-likelihood of each frame (columns) at each offset (rows)."""
        fractions = self._fractions(offsets)
        expected, variance = levels.predict(fractions, self._starts)
        squares = (self._counts - expected) ** 2 / variance
        inlier = (1.0 - GLITCH) * np.exp(-0.5 * squares) / np.sqrt(2.0 * math.pi * variance)
        return np.asarray(np.log(inlier + GLITCH / (3.0 * levels.lit)))

    def _nearest(self, offset: float) -> NDArray[np.intp]:
        """Return for each frame the edge that it can tell of."""
        middles = self._starts + offset + 0.5 * self._exposures
        return np.asarray(np.argmin(np.abs(middles[:, None] - self._edges), axis=1))

    def _posterior(
        self, offset: float, levels: Levels
    ) -> tuple[Floats, Floats, NDArray[np.bool_], float]:
        """Return the probability of the offset, its grid, which edges told, and their scatter.

        The scatter (s) is the likeliest; the probability is over all of :data:`SCATTER`.
        """
        common = float(np.min(self._widths))
        reach = float(np.max(self._widths)) + 4.0 * self._jitter
        half = WIDE * self._period + reach
        nearest = self._nearest(offset)
        grid = offset + np.linspace(-half, half, POINTS + 1)
        each = self._of_edges(grid, levels, nearest)
        # A whole frame either way must make a difference.
        told = each.max(axis=0) - np.minimum(each[0], each[-1]) > 4.5
        if np.count_nonzero(told) < LEAST_EDGES:
            raise AlignmentError(
                f"clapperboard: {np.count_nonzero(told)} edges are among the frames, "
                f"{LEAST_EDGES} are needed; take frames before, during and after the pattern"
            )
        totals = self._with_errors(grid, each)
        for _ in range(3):  # closer and closer
            step = float(grid[1] - grid[0])
            inside = np.flatnonzero(totals.max(axis=0) > totals.max() - 25.0)
            extent = 0.5 * step * (inside[-1] - inside[0]) + reach + 3.0 * step
            if extent > 0.5 * half:
                break
            half = extent
            grid = float(np.mean(grid[inside[[0, -1]]])) + np.linspace(-half, half, POINTS + 1)
            each = self._of_edges(grid, levels, nearest)
            totals = self._with_errors(grid, each)
        weights = np.exp(totals - totals.max())
        scatter = SCATTER[np.argmax(weights.sum(axis=1))] * self._period
        alike = kernel(common, 0.0, float(grid[1] - grid[0]))
        density = np.convolve(weights.sum(axis=0), alike, mode="same")
        return density / density.sum(), grid, told, scatter

    def _with_errors(self, grid: Floats, each: Floats) -> Floats:
        """Return the log-likelihood of all edges, each moved by its own error.

        In the rows for each of :data:`SCATTER`, in the columns for each offset.
        """
        step = float(grid[1] - grid[0])
        own_widths = self._widths - np.min(self._widths)
        totals = np.zeros((len(SCATTER), len(grid)))
        for row, scatter, doubt in zip(totals, SCATTER, DOUBT, strict=True):
            row -= doubt
            sigma = math.hypot(self._jitter, scatter * self._period)
            for log_likelihood, width in zip(each.T, own_widths, strict=True):
                row += smeared(log_likelihood, kernel(float(width), sigma, step))
        return totals

    def _of_edges(self, grid: Floats, levels: Levels, nearest: NDArray[np.intp]) -> Floats:
        """Return the log-likelihood of each edge (columns) at each offset (rows)."""
        frames = self._likelihood(grid, levels)
        columns = [frames[:, nearest == edge].sum(axis=1) for edge in range(len(self._edges))]
        return np.stack(columns, axis=1)

    def _check_edges(
        self, offset: float, levels: Levels, told: NDArray[np.bool_], scatter: float
    ) -> None:
        """Refuse frames that fit nowhere near, be it what they show or when their edge was."""
        if scatter >= SCATTER[-1] * self._period:
            raise AlignmentError(
                f"clapperboard: the edges scatter by {scatter:.2g} s about where the source says; "
                "its link is slower than it states, or the blanker's delay varies"
            )
        nearest = self._nearest(offset)
        allowed = self._widths + 4.0 * math.hypot(self._jitter, scatter) + 0.01 * self._period
        squares = np.full(len(self._starts), np.inf)
        for part in np.linspace(-1.0, 1.0, 41):
            starts = self._starts + offset + part * allowed[nearest]
            fractions = self._lit.seconds(starts, starts + self._exposures) / self._exposures
            expected, variance = levels.predict(fractions, self._starts)
            now = (self._counts - expected) ** 2 / variance
            squares = np.minimum(squares, now)
        odd = squares > 4.5**2
        middles = self._starts + offset + 0.5 * self._exposures
        away = np.min(np.abs(middles[:, None] - self._edges), axis=1)
        partial = away < 0.5 * self._exposures + np.max(allowed)
        count = int(np.count_nonzero(odd & partial))
        if count > max(1, int(np.count_nonzero(told)) // 4):
            raise AlignmentError(
                f"clapperboard: {count} of {np.count_nonzero(told)} edges are not where the source "
                "says; its link is slower than it states, or the blanker's delay varies"
            )
        if np.count_nonzero(odd) > max(2.0, 0.15 * len(odd)):
            raise AlignmentError(
                f"clapperboard: {np.count_nonzero(odd)} of {len(odd)} frames do not follow the "
                "blanking; something else dims the picture, or these are other frames"
            )


def _too_few(number: int) -> AlignmentError:
    return AlignmentError(
        f"clapperboard: {number} frames around the edges, {LEAST_FRAMES} are needed; take frames "
        "before, during and after the pattern"
    )
