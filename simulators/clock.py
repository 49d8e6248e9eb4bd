"""Simulated time: real, accelerated or advanced by hand.

Instruments never sleep and no thread ticks.  They ask for the time, wait until a time, or ask to
be called at a time; the physical model is integrated up to *now* when somebody looks.
"""

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

Callback = Callable[[], None]
FASTEST = 1e5


class ClockClosed(RuntimeError):  # noqa: N818 - it is a state, not a mistake
    """The clock was closed while somebody waited for it."""


class Alarm:
    """A call that is due at a time; :meth:`cancel` takes it back."""

    def __init__(self, t: float, function: Callback) -> None:
        self.t = t
        self.function: Callback | None = function

    def cancel(self) -> None:
        """Do not call; harmless after the call."""
        self.function = None


class Clock(Protocol):
    """What an instrument needs to know of time; seconds since the bench was started."""

    speed: float

    def now(self) -> float:
        """Return the time in seconds."""
        ...

    def wait_until(self, t: float) -> None:
        """Return when the time `t` (s) has come.

        Never call it while holding a lock that an alarm takes.
        """
        ...

    def call_at(self, t: float, function: Callback) -> Alarm:
        """Have `function` called when the time `t` (s) has come, in order of time."""
        ...

    def at(self, t: float) -> contextlib.AbstractContextManager[None]:
        """Let this thread, in the block, see the time `t` (s) as now.

        For what an alarm does that may ring late: instruments that are wired together then act at
        the time at which they were due, whatever else the computer does.
        """
        ...

    def close(self) -> None:
        """Wake all who wait and drop all alarms."""
        ...


class WallClock:
    """The wall's time, times `speed`.  Alarms run in one thread, made with the first of them.

    Parameters
    ----------
    speed : float
        Simulated seconds in one second of wall time.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not 0.0 < speed <= FASTEST:
            raise ValueError(
                f"speed is {speed}; give a positive number up to {FASTEST:g}, 1 for real time"
            )
        self.speed = float(speed)
        self._origin = time.monotonic()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = threading.local()
        self.failure: BaseException | None = None

    def now(self) -> float:
        """Return the simulated time in seconds."""
        due: float | None = getattr(self._due, "t", None)
        return (time.monotonic() - self._origin) * self.speed if due is None else due

    @contextlib.contextmanager
    def at(self, t: float) -> Iterator[None]:
        """Let this thread, in the block, see the time `t` (s) as now."""
        before, self._due.t = getattr(self._due, "t", None), t
        try:
            yield
        finally:
            self._due.t = before

    def wait_until(self, t: float) -> None:
        """Sleep until the simulated time `t` (s)."""
        if self._closed.wait(max(0.0, (t - self.now()) / self.speed)):
            raise ClockClosed("the simulated clock was closed")

    def call_at(self, t: float, function: Callback) -> Alarm:
        """Have `function` called at the simulated time `t` (s), in the clock's thread."""
        alarm = Alarm(t, function)
        with self._changed:
            if self._closed.is_set():
                alarm.cancel()
                return alarm
            heapq.heappush(self._alarms, (t, next(self._order), alarm))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sim-clock", daemon=True)
                self._thread.start()
            self._changed.notify()
        return alarm

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed.is_set():
                    if not self._alarms:
                        self._changed.wait()
                        continue
                    wait = (self._alarms[0][0] - self.now()) / self.speed
                    if wait <= 0.0:
                        break
                    self._changed.wait(wait)
                if self._closed.is_set():
                    return
                alarm = heapq.heappop(self._alarms)[2]
            try:
                if alarm.function is not None:
                    alarm.function()
            except ClockClosed:
                return
            except Exception as error:
                # One instrument's failure must not stop the others; the bench tells at its end.
                self.failure = self.failure or error

    def close(self) -> None:
        """Wake all who wait, drop all alarms and end the thread."""
        self._closed.set()
        with self._changed:
            self._alarms.clear()
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()


class HandClock:
    """Time that moves only when it is told to; the tests' clock.

    Waiting moves it too: who must wait for a time advances the clock to it, and all alarms on the
    way run first, in order, in the caller's thread.  Nothing sleeps.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._heap = threading.Lock()
        self._advancing = threading.RLock()
        self.speed = float("inf")

    def now(self) -> float:
        """Return the time in seconds."""
        return self._now

    def at(self, t: float) -> contextlib.AbstractContextManager[None]:
        """Do nothing: alarms ring at their time here."""
        return contextlib.nullcontext()

    def advance(self, seconds: float) -> None:
        """Move the time on by `seconds`."""
        if not seconds >= 0.0:
            raise ValueError(f"time cannot be advanced by {seconds} s")
        self.wait_until(self._now + seconds)

    def wait_until(self, t: float) -> None:
        """Move the time to `t` (s) and run the alarms on the way."""
        with self._advancing:
            while True:
                with self._heap:
                    if not self._alarms or self._alarms[0][0] > t:
                        break
                    due, _, alarm = heapq.heappop(self._alarms)
                self._now = max(self._now, due)
                if alarm.function is not None:
                    alarm.function()
            self._now = max(self._now, t)

    def call_at(self, t: float, function: Callback) -> Alarm:
        """Have `function` called when the time is moved to or past `t` (s)."""
        alarm = Alarm(t, function)
        with self._heap:
            heapq.heappush(self._alarms, (t, next(self._order), alarm))
        return alarm

    def close(self) -> None:
        """Drop all alarms."""
        with self._heap:
            self._alarms.clear()
