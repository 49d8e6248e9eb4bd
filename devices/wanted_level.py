"""The level that a biasing source is wanted at, through stops and pauses."""

import time

from stmtem_control.clock import StationClock

PAUSE_FOLLOWS_S = 10.0  # Bluesky stops before it pauses; a stop longer ago was another one


class WantedLevel:
    """What was set last, what a stop or a pause took away, and how long pauses have lasted.

    Whoever uses it from several threads holds a lock.

    Parameters
    ----------
    clock : StationClock
        The station's.

    Attributes
    ----------
    volts : float or None
        The level in V; None while the output is off.
    """

    def __init__(self, clock: StationClock) -> None:
        self.volts: float | None = None
        self._clock = clock
        self._interrupted: tuple[float, float] | None = None  # level, monotonic time of the stop
        self._to_resume: float | None = None
        self._paused_since: float | None = None
        self._paused_s = 0.0

    @property
    def resting(self) -> bool:
        """Whether nobody has set a level since it was staged or made safe."""
        return self.volts is None and self._interrupted is None

    @property
    def paused_s(self) -> float:
        """How long it has been paused so far, in seconds of station time."""
        now = 0.0 if self._paused_since is None else self._clock.now() - self._paused_since
        return self._paused_s + now

    def set(self, volts: float) -> None:
        """Take note of a level (V) that is wanted."""
        self.end_pause()
        self._interrupted = None
        self.volts = volts

    def stop(self) -> None:
        """Take note of a stop; a pause that follows at once knows what it took away."""
        self._to_resume = None
        if self.volts is not None:
            self._interrupted = (self.volts, time.monotonic())
        self.volts = None

    def forget_stop(self) -> None:
        """Take the last stop for one that is over."""
        self._interrupted = None

    def pause(self) -> float | None:
        """Begin a pause; return the level (V) that it takes away."""
        level = self.volts
        if level is None and self._interrupted is not None:
            # Bluesky calls stop() on what was set just before it calls pause().
            recent = time.monotonic() - self._interrupted[1] < PAUSE_FOLLOWS_S
            level = self._interrupted[0] if recent else None
        if self._paused_since is None:
            self._paused_since = self._clock.now()
        return level

    def keep(self, level: float | None) -> None:
        """Remember the level (V) that comes back after the pause."""
        self._interrupted = None
        self._to_resume = level

    def resume(self) -> float | None:
        """End the pause; return the level (V) that comes back, or None."""
        level = self._to_resume
        self.end_pause()
        return level

    def end_pause(self) -> None:
        """End the pause, and let nothing come back."""
        self._to_resume = None
        if self._paused_since is not None:
            self._paused_s += self._clock.now() - self._paused_since
            self._paused_since = None
