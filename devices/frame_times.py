"""When a frame was exposed, on the station's clock, though only the camera's clock has seen it."""

import math

from stmtem_control.clock_model import LARGEST_DRIFT
from stmtem_control.exchanges import Exchange

from .merlin_stream import FrameHeader


class Acquisition:
    """What happens between a STARTACQUISITION and its STOPACQUISITION; dates its frames.

    Every frame carries the stamp of the camera's clock.  The offset from that clock to the
    station's is taken once for each acquisition, so that the frames' times can never run backwards
    in it; what the two clocks may have drifted apart since adds to the uncertainty of each frame:

    - With the internal trigger the first exposure begins while STARTACQUISITION is being answered:
      the offset is taken for the middle of that exchange, and is uncertain by half of its length.
      If the first frame was lost, the place of the next is known from the period and its arrival
      only.
    - No byte of a frame can arrive before its exposure has ended: an upper bound, and no more,
      because rendering, readout and transfer make every arrival late.
    - With an external trigger only that bound holds here: the exchange starts no exposure.  When
      all is over, :mod:`.trigger_tie` dates the frames by what sent the triggers.

    Parameters
    ----------
    exposure_s, period_s : float
        As asked for; the camera never takes a shorter period.
    started : Exchange, optional
        Of STARTACQUISITION, in station time; may be put in when it is known.
    previous : Acquisition, optional
        Lends its offset if the answer to the start was lost.

    Attributes
    ----------
    stopped : Exchange or None
        Of STOPACQUISITION, in station time.
    answer_lost : bool
        The times of the start will never be known.
    frames : int
        How many the camera was told to take; 0: until it is stopped.
    found_idle : bool
        The camera said that it was idle: all that it was told to take was taken.
    """

    def __init__(
        self,
        exposure_s: float,
        period_s: float,
        started: Exchange | None = None,
        previous: "Acquisition | None" = None,
        frames: int = 0,
    ) -> None:
        self.frames = frames
        self.found_idle = False
        self.exposure_s = exposure_s
        self.period_s = period_s
        self.started = started
        self.stopped: Exchange | None = None
        self.answer_lost = False
        self._previous = previous
        self._first: tuple[FrameHeader, float] | None = None
        self._last: tuple[FrameHeader, float] | None = None
        self._offset: tuple[float, float, float] | None = None
        self._latest = -math.inf  # largest of arrival minus end of exposure, each on its clock

    @property
    def offset(self) -> tuple[float, float, float] | None:
        """What to add to the camera's time, the uncertainty, and the stamp for which they hold.

        None before the first frame.
        """
        return None if self._first is None else self._known_offset()

    @property
    def known(self) -> bool:
        """Whether all is known that its frames' times rest on; before, they are guesses."""
        return self.started is not None or self.answer_lost

    @property
    def time_source(self) -> str:
        """What the times rest on: "start", or "arrival" where nothing but that is known."""
        return "arrival" if math.isnan(self._known_offset()[1]) else "start"

    @property
    def lateness_s(self) -> float:
        """The longest time from the end of an exposure to the first byte of its frame, so far."""
        return 0.0 if self._first is None else max(0.0, self._latest - self._known_offset()[0])

    @property
    def complete(self) -> bool:
        """Whether the last of the frames that the camera was told to take has come."""
        return self._last is not None and 0 < self.frames <= self._last[0].sequence

    def came_before(self, header: FrameHeader) -> bool:
        """Tell whether this is the frame before once more: its number and its stamp are the same.

        Another frame under the same number has another stamp, and is one of its own.
        """
        if self._last is None:
            return False
        last = self._last[0]
        return (header.sequence, header.unix_time_s) == (last.sequence, last.unix_time_s)

    def receive(self, header: FrameHeader, arrival: float) -> int:
        """Note a frame whose first byte came at `arrival` (station s); return how many are missing.

        Those are the frames between this one and the one before, by the camera's numbers.
        """
        expected = 1 if self._last is None else self._last[0].sequence + 1
        self._last = (header, arrival)
        self._first = self._first or self._last
        self._latest = max(self._latest, arrival - header.exposure_s - header.unix_time_s)
        return max(0, header.sequence - expected)

    def date(self, header: FrameHeader, arrival: float) -> tuple[float, float]:
        """Return the start of a frame's exposure in station s, and the uncertainty (+-) of that.

        The uncertainty grows as clocks may drift, and where the time would be later than the
        arrival allows.  It is NaN if nothing but the arrival is known.
        """
        offset, uncertainty, reference = self._known_offset()
        uncertainty += LARGEST_DRIFT * abs(header.unix_time_s - reference)
        start = header.unix_time_s + offset
        too_late = start + header.exposure_s - arrival
        return start, too_late if too_late > uncertainty else uncertainty

    def missing_at_end(self) -> int:
        """Return how many frames the camera must have taken after the last one that came.

        A frame counts when its exposure had surely ended before the stop was sent, by more than
        the camera was ever late; of a camera that was told how many, and has ended, all do.
        """
        if not self.frames:
            return self._missing_before_the_stop()
        left = max(0, self.frames - (0 if self._last is None else self._last[0].sequence))
        if self.stopped is None:
            return left if self.found_idle else 0
        return min(left, self._missing_before_the_stop())

    def _missing_before_the_stop(self) -> int:
        if self.started is None or self.stopped is None:
            return 0
        period, following = self.period_s, self.started.answered + self.exposure_s
        if self._first is not None and self._last is not None:
            (first, _), (last, arrival) = self._first, self._last
            number = last.sequence - first.sequence
            if number > 0:
                period = max(period, (last.unix_time_s - first.unix_time_s) / number)
            start, uncertainty = self.date(last, arrival)
            latest = arrival - last.exposure_s
            if not math.isnan(uncertainty):
                latest = min(latest, start + uncertainty)
            following = latest + period + last.exposure_s + self.lateness_s
        return max(0, math.ceil((self.stopped.sent - following) / period - 1e-6))

    def _known_offset(self) -> tuple[float, float, float]:
        if self._offset is not None:
            return self._offset
        found = self._find_offset()
        # Frames may come before the session has told when it started.
        if self._first is not None and self.known:
            self._offset = found
        return found

    def _find_offset(self) -> tuple[float, float, float]:
        """Return what to add to the camera's time, how sure that is, and for which stamp."""
        if self._first is None:
            return 0.0, math.nan, 0.0
        first, arrival = self._first
        stamp = first.unix_time_s
        upper = arrival - first.exposure_s - stamp
        if self.started is None:
            lent = None if self._previous is None else self._previous.offset
            return lent or (upper, math.nan, stamp)
        lower = self.started.sent + (first.sequence - 1) * self.period_s - stamp
        if first.sequence == 1:
            upper = min(upper, self.started.answered - stamp)
        if upper < lower:  # the arrival is certain, the place of the stamp is what is assumed
            return upper, lower - upper, stamp
        return 0.5 * (lower + upper), 0.5 * (upper - lower), stamp
