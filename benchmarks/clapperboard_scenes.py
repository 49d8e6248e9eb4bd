"""A clapperboard that is known: beam, blanker, camera and both clocks, with all that is random."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stmtem_control.recording.blank_edges import BlankEdge, Blanker, coded_pattern
from stmtem_control.recording.facts import FrameFacts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What is chosen; see :func:`take`."""

    rate_Hz: float = 25.0
    exposure_s: float = 0.035
    electrons: float = 2e4  # in a frame, beam on
    flicker: float = 0.01  # of the beam from frame to frame
    readout: float = 0.0  # in electrons, of the whole frame
    dark: float = 0.0  # in electrons
    growth: float = 0.0  # of the lit counts in a second
    lost: float = 0.0  # share of the frames
    trip_s: float = 0.4e-3  # a typical exchange with the source
    delay: Blanker = field(default_factory=Blanker)
    stamp_jitter_s: float = 0.0
    drift: float = 0.0
    rough_s: float = 1.0  # how wrong the expected offset may be
    late_s: float = 2e-3  # of the plan's timing


@dataclass(frozen=True)
class Taken:
    """Frames and edges, and the truth about them."""

    frames: list[FrameFacts]
    edges: list[BlankEdge]
    offset_s: float  # at camera_zero_s
    camera_zero_s: float
    drift: float
    expected_offset_s: float
    acted_s: list[float]  # when the beam's line really changed, station s

    def truth(self, camera_time_s: float) -> float:
        """Return station time minus camera time, in s, at a camera time."""
        return self.offset_s + self.drift * (camera_time_s - self.camera_zero_s)


def take(
    scene: Scene, seed: int | np.random.Generator, *, at_s: float = 0.0, camera_s: float = 1.79e9
) -> Taken:
    """Blank in a code from the station time `at_s` + 1 s on, and take frames around it."""
    random = np.random.default_rng(seed)
    period = 1.0 / scene.rate_Hz
    pattern = coded_pattern(period, scene.exposure_s, shortest_s=5e-3)
    # When the beam really changes, and what the station knows of it.
    asked = at_s + 6.0 * period + np.concatenate([[0.0], np.cumsum(pattern)])
    asked = asked + np.cumsum(random.exponential(scene.late_s, len(asked)))
    place = random.uniform(0.05, 0.95)  # where in the shortest exchange the source acts
    edges, truth = [], []
    blanked = True
    for sent in asked:
        before, after = random.exponential(0.3 * scene.trip_s, 2)
        acted = sent + before + place * 0.5 * scene.trip_s
        answered = sent + before + 0.5 * scene.trip_s + after
        edges.append(BlankEdge(0.5 * (sent + answered), 0.5 * (answered - sent), blanked))
        truth.append(acted)
        blanked = not blanked
    delay = scene.delay.delay_s + random.uniform(-0.95, 0.95) * scene.delay.delay_uncertainty_s
    beam = _Beam(np.array(truth) + delay, scene.delay.rise_s)
    number = int((asked[-1] - at_s) / period) + 14
    starts: Floats = at_s + period * (np.arange(float(number)) + random.uniform())
    lit = beam.seconds(starts, starts + scene.exposure_s) / scene.exposure_s
    mean = scene.dark + scene.electrons * lit * (1.0 + scene.growth * (starts - at_s))
    mean = mean * (1.0 + scene.flicker * random.standard_normal(number))
    counts = random.poisson(np.maximum(mean, 0.0)) + scene.readout * random.standard_normal(number)
    offset = random.uniform(-1e4, 1e4) - camera_s + at_s
    stamps = (starts - at_s - offset + at_s) - scene.drift * (starts - at_s)
    seen = stamps + scene.stamp_jitter_s * random.standard_normal(number)
    frames = [
        FrameFacts(
            number=int(n),
            sequence=int(n) + 1,
            dropped_before=0,
            camera_time_s=float(seen[n]),
            host_monotonic_s=float(starts[n]) + 0.05,
            start_s=float(starts[n]),
            uncertainty_s=float("nan"),
            time_source="arrival",
            exposure_s=scene.exposure_s,
            period_s=period,
            mean_counts=float(counts[n]) / 65536.0,
        )
        for n in np.flatnonzero(random.uniform(size=number) >= scene.lost)
    ]
    return Taken(
        frames,
        edges,
        offset_s=offset,
        camera_zero_s=at_s - offset,
        drift=scene.drift,
        expected_offset_s=offset + scene.rough_s * random.uniform(-1.0, 1.0),
        acted_s=[float(t) for t in truth],
    )


class _Beam:
    """The beam, integrated piece by piece: not the way of the code that is tested."""

    def __init__(self, edges: Floats, rise_s: float) -> None:
        self._edges = edges
        self._rise_s = rise_s

    def seconds(self, start: Floats, stop: Floats) -> Floats:
        lit = stop - start  # it is on before the first edge
        sign = -1.0
        for edge in self._edges:
            lit = lit + sign * (self._after(stop - edge) - self._after(start - edge))
            sign = -sign
        return lit

    def _after(self, t: Floats) -> Floats:
        """Return the integral of a ramp from 0 to 1, centred at 0."""
        if self._rise_s == 0.0:
            return np.maximum(t, 0.0)
        x = np.clip(t + 0.5 * self._rise_s, 0.0, self._rise_s)
        return 0.5 * x * x / self._rise_s + np.maximum(t - 0.5 * self._rise_s, 0.0)
