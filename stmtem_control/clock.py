"""The station's clock: all waiting of plans and devices goes through it.

On hardware it is the wall clock.  On the simulated bench it runs at the bench's speed, so that
"hold for one second" means one second of the specimen's time, however fast the bench runs.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Self

from .errors import ConfigError

READING_PERIOD_S = 0.05  # wall time between a plan's readings: the RunEngine needs 5 ms of it


class StationClock:
    """Seconds of station time since the clock was made.

    Parameters
    ----------
    speed : float
        Station seconds in one second of wall time; 1 on hardware.

    Attributes
    ----------
    pace : float
        How many times longer than it could a plan waits from one reading to the next while nothing
        else happens: 1, but for an estimate, to which they tell nothing.

    Raises
    ------
    ConfigError
        The speed is not a positive, finite number.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not 0.0 < speed < float("inf"):
            raise ConfigError(f"clock: speed is {speed}; give a positive number, 1 on hardware")
        self.speed = float(speed)
        self.pace = 1.0
        self._monotonic0 = time.monotonic()
        self._wall0 = time.time()
        self._rehearsal = threading.local()

    @classmethod
    def restored(cls, mapping: Mapping[str, float]) -> Self:
        """Return a clock that tells the time as the one whose :meth:`mapping` this is.

        On another day, or another computer, only its conversions mean something.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no such mapping.
        """
        clock = cls(float(mapping["speed"]))
        clock._monotonic0 = float(mapping["monotonic0"])
        clock._wall0 = float(mapping["wall0"])
        return clock

    def mapping(self) -> dict[str, float]:
        """Return how station time maps to the computer's: speed, monotonic and wall s at zero."""
        return {"speed": self.speed, "monotonic0": self._monotonic0, "wall0": self._wall0}

    def now(self) -> float:
        """Return the station time in seconds; that of the rehearsal in a thread that is in one."""
        rehearsed: float | None = getattr(self._rehearsal, "t", None)
        if rehearsed is not None:
            return rehearsed
        return (time.monotonic() - self._monotonic0) * self.speed

    def wall_time(self, t: float) -> float:
        """Return the Unix time (s) at which the station time `t` (s) is, or was, reached.

        It follows the monotonic clock from the moment the station clock was made, so that a step
        of the computer's clock cannot bend a run.
        """
        return self._wall0 + t / self.speed

    def unix_time(self, monotonic_s: float) -> float:
        """Return the Unix time (s), as :meth:`wall_time` counts it, of a ``time.monotonic()``."""
        return self._wall0 + (monotonic_s - self._monotonic0)

    def station_time(self, wall_time: float) -> float:
        """Return the station time (s) of a Unix time (s); undoes :meth:`wall_time`."""
        return (wall_time - self._wall0) * self.speed

    def wall_seconds(self, seconds: float) -> float:
        """Return how long `seconds` of station time last on the wall, in seconds."""
        return seconds / self.speed

    @contextlib.contextmanager
    def rehearsal(self) -> Iterator[Callable[[float], None]]:
        """Let this thread, in the block, be told another time: to see how long a plan takes.

        Yields a function that lets so many station seconds pass at once.  Other threads see the
        time as it is.
        """
        self._rehearsal.t = self.now()

        def let_pass(seconds: float) -> None:
            self._rehearsal.t += seconds

        try:
            yield let_pass
        finally:
            self._rehearsal.t = None

    def sleep(self, seconds: float) -> Generator[Any, Any, None]:
        """Plan stub: wait `seconds` of station time without blocking the RunEngine."""
        from bluesky import Msg

        yield Msg("sleep", None, max(0.0, self.wall_seconds(seconds)))

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait in a worker thread for `event`, at most `seconds` of station time."""
        return event.wait(max(0.0, self.wall_seconds(seconds)))
