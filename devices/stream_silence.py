"""When a camera's stream is over, and when its silence is an error."""

import time
from collections.abc import Callable
from concurrent.futures import Future

from stmtem_control.clock import StationClock
from stmtem_control.errors import TransportTimeout

from .frame_times import Acquisition

IDLE = "0"  # DETECTORSTATUS
SILENCE_S = 2.0  # wall seconds without a frame that are an error, if five periods are shorter
QUIET_S = 0.05  # wall seconds without a byte, after which a camera that is idle has sent all
LATE_S = 1.0  # the same, while a frame is overdue
ASKING_S = 1.0  # wall seconds in which a silent camera may say that it has taken all its frames


class StreamSilence:
    """Judges a stream on which nothing comes.

    Parameters
    ----------
    clock : StationClock
        Station time.
    ask_status : callable
        Asks the camera for its DETECTORSTATUS; returns a Future.

    Attributes
    ----------
    expecting : bool
        Whether frames are on their way, so that silence is an error.
    ending : bool
        Whether the stream is over when what is under way has come.
    active_at : float
        Monotonic time of the last sign of life.
    """

    def __init__(self, clock: StationClock, ask_status: Callable[[], "Future[str]"]) -> None:
        self.expecting = self.ending = False
        self.active_at = 0.0
        self._clock = clock
        self._ask_status = ask_status
        self._status: Future[str] | None = None  # asked for, and perhaps not answered yet
        self._idle_at: float | None = None  # monotonic time at which the camera was found idle

    def begin(self) -> None:
        """Forget what the camera said of itself: an acquisition is about to be started."""
        self._status = self._idle_at = None

    def _longest_s(self, acquisition: Acquisition | None) -> float:
        """Return the wall seconds until the frame under way has ended."""
        seconds = 2.0 if acquisition is None else acquisition.exposure_s + acquisition.period_s
        return self._clock.wall_seconds(seconds)

    def patience_s(self, acquisition: Acquisition | None) -> float:
        """Return the wall seconds without a byte, or with a part of a frame, that are allowed."""
        period = 1.0 if acquisition is None else acquisition.period_s
        return max(SILENCE_S, 5.0 * self._clock.wall_seconds(period))

    def is_over(self, acquisition: Acquisition | None) -> bool:
        """Return whether all has come.

        Raises
        ------
        TransportTimeout
            Nothing comes, but should.
        """
        now = time.monotonic()
        silence = now - self.active_at
        patience, quiet = self.patience_s(acquisition), QUIET_S
        if self.expecting and silence > patience and not self._has_taken_all(acquisition, now):
            raise TransportTimeout(
                f"no frame for {silence:.1f} s, {patience:.2g} s are allowed; look at the camera"
            )
        if not self.ending or silence < QUIET_S:
            return False
        if acquisition is not None and acquisition.complete:
            return True
        # A stop lets the frame under way end, and it may then be on its way as long as the others.
        if acquisition is not None and acquisition.missing_at_end():
            quiet = LATE_S
        elif acquisition is not None:
            quiet += 2.0 * self._clock.wall_seconds(acquisition.lateness_s)
        idle = self._is_idle(acquisition, now)
        if idle and self._idle_at is not None:
            return now - max(self.active_at, self._idle_at) > quiet
        if idle is None:  # it does not tell
            return silence > self._longest_s(acquisition) + quiet
        return silence > self._longest_s(acquisition) + SILENCE_S

    def _has_taken_all(self, acquisition: Acquisition | None, now: float) -> bool:
        """Return whether a camera that was told how many frames to take has done so.

        Its last frames may have been lost on their way: then it is idle, or still says so.
        """
        if acquisition is None or not acquisition.frames:
            return False
        if acquisition.complete:
            return True
        asking = now - self.active_at < self.patience_s(acquisition) + ASKING_S
        return self._is_idle(acquisition, now) is True or asking

    def _is_idle(self, acquisition: Acquisition | None, now: float) -> bool | None:
        """Return what the camera says of itself, or None if it does not answer; never waits."""
        if self._idle_at is not None:
            return True
        if self._status is None:
            self._status = self._ask_status()
        if not self._status.done():
            return False
        if self._status.exception() is not None:
            return None
        if self._status.result() == IDLE:
            self._idle_at = now
            if acquisition is not None:
                acquisition.found_idle = True
            return True
        self._status = None  # ask again, one tick later
        return False
