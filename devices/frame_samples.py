"""What the camera says of each frame, for who needs no more than that: times and brightness."""

from typing import NamedTuple


class Sample(NamedTuple):
    """What the camera said of a frame, recorded or not.

    Attributes
    ----------
    camera_time_s : float
        Start of the exposure by the camera's own clock, Unix time.
    exposure_s, period_s : float
        Exposure, and time to the next one as asked for.
    mean_counts : float
        Mean counts in a pixel.
    sequence : int
        The camera's own number, from 1 at each start.
    dropped_before : int
        Frames between the one before and this that did not come.
    host_monotonic_s : float
        Arrival of its first byte, on ``time.monotonic()``.
    """

    camera_time_s: float
    exposure_s: float
    period_s: float
    mean_counts: float
    sequence: int
    dropped_before: int
    host_monotonic_s: float
