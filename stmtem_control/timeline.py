"""What was true when: bias, readings, phase and blanking on the station's time axis.

Devices write here what they know the moment they know it; the camera looks up what held during an
exposure.  It is the one place where a frame meets its bias.
"""

import math
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from typing import Any

READINGS = ("voltage_V", "current_A", "compliance")  # of the source; true of one run only
START = ""  # the channel under which listeners hear of the start of a run
KEEP = 200_000  # entries a channel keeps: at 20 readings a second, nearly three hours

Listener = Callable[[str, float, Any, float], None]  # channel, station s, value, uncertainty s


class Timeline:
    """Piecewise-constant histories of named channels, safe to use from any thread.

    Times are station seconds.  A channel holds its value from the time it was recorded until the
    next entry.  Channels in use: ``bias_set_V``, ``voltage_V``, ``current_A``,
    ``compliance`` (bool), ``phase`` (str), ``cycle`` (int), ``blanked`` (bool).

    Parameters
    ----------
    keep : int, optional
        Entries that a channel keeps at most; None for all.
    """

    def __init__(self, keep: int | None = KEEP) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._times: dict[str, list[float]] = defaultdict(list)
        self._values: dict[str, list[Any]] = defaultdict(list)
        self._uncertainties: dict[str, list[float]] = defaultdict(list)
        self._listeners: list[Listener] = []
        self.run_start = 0.0

    def start_run(self, t: float) -> None:
        """Make `t` (station s) the zero of run time; readings of what was before are forgotten."""
        with self._lock:
            self.run_start = t
            for channel in READINGS:
                self._times.pop(channel, None)
                self._values.pop(channel, None)
                self._uncertainties.pop(channel, None)
            for listener in self._listeners:
                listener(START, t, None, 0.0)

    def run_time(self, t: float) -> float:
        """Return the run time (s) of the station time `t` (s)."""
        return t - self.run_start

    def record(self, channel: str, t: float, value: Any, uncertainty_s: float = 0.0) -> None:
        """Note that `channel` has `value` from the station time `t` (s), +- `uncertainty_s`, on.

        Entries that arrive out of order are put in their place.  Who listens is told, in the
        calling thread.
        """
        with self._lock:
            times, values = self._times[channel], self._values[channel]
            sure = self._uncertainties[channel]
            place = bisect_right(times, t)
            times.insert(place, t)
            values.insert(place, value)
            sure.insert(place, uncertainty_s)
            if self._keep is not None and len(times) > self._keep:
                old = slice(max(1, self._keep // 10))
                del times[old], values[old], sure[old]
            # Under the lock, so that all listeners hear the same order.
            for listener in self._listeners:
                listener(channel, t, value, uncertainty_s)

    def listen(self, listener: Listener, *, since: float | None = None) -> Callable[[], None]:
        """Have `listener` called with every entry from now on; call what is returned to end that.

        It must be quick, and must not call the timeline.  With `since` (station s) it first hears
        what was true then, and all entries after it, a channel at a time.
        """
        with self._lock:
            for channel, times in self._times.items():
                first = len(times) if since is None else max(0, bisect_right(times, since) - 1)
                values, sure = self._values[channel], self._uncertainties[channel]
                for place in range(first, len(times)):
                    listener(channel, times[place], values[place], sure[place])
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return end

    def entries(self, channel: str) -> tuple[list[float], list[Any], list[float]]:
        """Return copies of the times (s), the values and the uncertainties (s) of a channel."""
        with self._lock:
            return (
                list(self._times[channel]),
                list(self._values[channel]),
                list(self._uncertainties[channel]),
            )

    def at(self, channel: str, t: float) -> Any:
        """Return what `channel` was at `t` (station s), or None before its first entry."""
        with self._lock:
            place = bisect_right(self._times[channel], t)
            return self._values[channel][place - 1] if place else None

    def last(self, channel: str) -> Any:
        """Return the newest value of `channel`, or None."""
        with self._lock:
            values = self._values[channel]
            return values[-1] if values else None

    def between(self, channel: str, start: float, stop: float) -> list[tuple[float, Any]]:
        """Return the entries of `channel` with start < t <= stop, oldest first."""
        with self._lock:
            times = self._times[channel]
            first, last = bisect_right(times, start), bisect_right(times, stop)
            return list(zip(times[first:last], self._values[channel][first:last], strict=True))

    def mean(self, channel: str, start: float, stop: float) -> tuple[float, int]:
        """Return the mean of the numbers read in (start, stop] and how many they are.

        With no reading in the interval, the newest one before it stands in, and the count is 0.
        It does not where the bias was set since, up to the middle of the interval, nor of course
        where there is none: then the mean is NaN.
        """
        inside = [float(value) for _, value in self.between(channel, start, stop)]
        if inside:
            return math.fsum(inside) / len(inside), len(inside)
        with self._lock:
            times = self._times[channel]
            place = bisect_right(times, start) - 1
            if place < 0:
                return math.nan, 0
            read_at, value = times[place], self._values[channel][place]
        if self.between("bias_set_V", read_at, 0.5 * (start + stop)):
            return math.nan, 0
        return float(value), 0

    def seconds_true(self, channel: str, start: float, stop: float, *, default: bool) -> float:
        """Return for how many seconds of [start, stop] a boolean channel was true.

        `default` stands for the time before the channel's first entry.
        """
        if stop <= start:
            return 0.0
        value = self.at(channel, start)
        state = default if value is None else bool(value)
        total, since = 0.0, start
        for t, new in self.between(channel, start, stop):
            if state:
                total += t - since
            state, since = bool(new), t
        return total + (stop - since if state else 0.0)
