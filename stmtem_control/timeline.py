"""What was true when: bias, readings, phase and blanking on the station's time axis.

Devices write here what they know the moment they know it; the camera looks up what held during an
exposure.  It is the one place where a frame meets its bias.
"""

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

START = ""  # the channel under which listeners hear of the start of a run
KEEP = 200_000  # entries a channel keeps: at 20 readings a second, nearly three hours

Listener = Callable[[str, float, Any, float], None]  # channel, station s, value, uncertainty s


@dataclass(frozen=True)
class Cut:
    """A piece of a channel's history: the entry in force at its start, and those after it.

    Attributes
    ----------
    times, values, uncertainties : list
        Station s, what the channel was from then on, and s; oldest first, all equally long.
    """

    times: list[float]
    values: list[Any]
    uncertainties: list[float]


class Timeline:
    """Piecewise-constant histories of named channels, safe to use from any thread.

    Times are station seconds.  A channel holds its value from the time it was recorded until the
    next entry.  Channels in use: ``bias_set_V``, ``voltage_V``, ``current_A``,
    ``compliance`` (bool), ``phase`` (str), ``cycle`` (int), ``blanked`` (bool), ``probe_x_V``,
    ``probe_y_V``, ``probe_z_V``, ``probe_z_steps`` (int), ``mode`` (str), ``camera_length_m``,
    ``beam_energy_keV``, ``site`` (str), ``prior_dose_e_per_A2``.

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
        self._largest: dict[str, float] = defaultdict(float)
        self._listeners: list[Listener] = []
        # Of channels that were asked for it: seconds true before each entry, from the first on.
        self._true_s: dict[str, list[float]] = {}
        # The same at the run's start, once that is forgotten: for default False and True.
        self._true_at_start: dict[str, tuple[float, float]] = {}
        self.run_start = 0.0

    def start_run(self, t: float) -> None:
        """Make `t` (station s) the zero of run time; what was before is kept for the look-back."""
        with self._lock:
            self.run_start = t
            self._true_at_start.clear()
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
            if uncertainty_s > self._largest[channel]:  # never of NaN
                self._largest[channel] = uncertainty_s
            if channel in self._true_s:
                del self._true_s[channel][max(1, place) :]  # the first is the reference
            if self._keep is not None and len(times) > self._keep:
                self._forget(channel, max(1, self._keep // 10))
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

    def mark_at(self, t: float) -> tuple[str, int]:
        """Return phase and cycle at `t` (station s): "" and 0 before the first was marked."""
        return str(self.at("phase", t) or ""), int(self.at("cycle", t) or 0)

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

    def cut(self, channel: str, start: float, stop: float) -> Cut:
        """Return the entries of `channel` with start < t <= stop, and the one in force at start."""
        with self._lock:
            times = self._times[channel]
            first, last = max(0, bisect_right(times, start) - 1), bisect_right(times, stop)
            return Cut(
                times[first:last],
                self._values[channel][first:last],
                self._uncertainties[channel][first:last],
            )

    def largest_uncertainty_s(self, channel: str) -> float:
        """Return the largest uncertainty (s) that an entry of `channel` ever had."""
        with self._lock:
            return self._largest[channel]

    def seconds_true(self, channel: str, start: float, stop: float, *, default: bool) -> float:
        """Return for how many seconds of [start, stop] a boolean channel was true.

        `default` stands for the time before the channel's first entry.
        """
        if stop <= start:
            return 0.0
        with self._lock:
            return self._true_until(channel, stop, default) - self._true_until(
                channel, start, default
            )

    def seconds_true_in_run(
        self, channel: str, moments: Iterable[float], *, default: bool
    ) -> list[float]:
        """Return for how many seconds of the run, up to each moment, a boolean channel was true.

        For a moment (station s) before the run's start it is minus the seconds from there to the
        start.  The cost does not grow with the length of the history.
        """
        with self._lock:
            known = self._true_at_start.get(channel)
            start = known[default] if known else self._true_until(channel, self.run_start, default)
            return [self._true_until(channel, t, default) - start for t in moments]

    # The rest is called with the lock held.

    def _true_until(self, channel: str, t: float, default: bool) -> float:
        """Return the seconds true from the first entry to `t`; negative before it."""
        times, values = self._times[channel], self._values[channel]
        place = bisect_right(times, t) - 1
        if place < 0:
            return (t - times[0] if times else t) if default else 0.0
        sums = self._true_s.setdefault(channel, [0.0])
        for i in range(len(sums), place + 1):
            sums.append(sums[-1] + (times[i] - times[i - 1] if values[i - 1] else 0.0))
        return sums[place] + (t - times[place] if values[place] else 0.0)

    def _forget(self, channel: str, count: int) -> None:
        """Drop the oldest entries of a channel; what they add to the sums stays."""
        times = self._times[channel]
        if channel in self._true_s:
            self._true_until(channel, times[count], False)  # sums up to the first one that stays
            if self.run_start < times[count] and channel not in self._true_at_start:
                self._true_at_start[channel] = (
                    self._true_until(channel, self.run_start, False),
                    self._true_until(channel, self.run_start, True),
                )
            del self._true_s[channel][:count]
        for series in (times, self._values[channel], self._uncertainties[channel]):
            del series[:count]
