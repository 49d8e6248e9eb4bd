"""Frames as the camera dates them: what a search for a pattern needs of each, and their beat."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class DatedFrame(Protocol):
    """What is needed of a frame; :class:`.facts.FrameFacts` has it."""

    @property
    def sequence(self) -> int:
        """The camera's own number, from 1 at each start."""
        ...

    @property
    def camera_time_s(self) -> float:
        """Start of the exposure by the camera's own clock, Unix time."""
        ...

    @property
    def exposure_s(self) -> float:
        """Exposure in s."""
        ...

    @property
    def period_s(self) -> float:
        """Time to the next exposure in s."""
        ...

    @property
    def mean_counts(self) -> float:
        """Mean counts in a pixel."""
        ...


def stamp_jitter(frames: Sequence[DatedFrame]) -> float:
    """Return the scatter (s, one standard deviation) of the camera's stamps about an even beat."""
    numbers = np.array([frame.sequence for frame in frames])
    stamps = np.array([frame.camera_time_s - frames[0].camera_time_s for frame in frames])
    steps, times = np.diff(numbers), np.diff(stamps)
    usable = steps > 0
    if np.count_nonzero(usable) < 4:
        return 0.0
    steps, times = steps[usable], times[usable]
    beat = float(np.median(times / steps))
    spread = float(np.median(np.abs(times - steps * beat)))
    return 1.4826 * spread / math.sqrt(2.0)
