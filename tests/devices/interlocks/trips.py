"""What tests of interlocks share: who takes the trips, and what makes one."""

import threading
from collections.abc import Callable
from typing import Any

from stmtem_control.devices import BiasSource, Interlocks, Trip

W = 5.0  # wall seconds that a test waits at most

Make = Callable[..., Interlocks]


class Told:
    """Takes the trips that are told, and lets a test wait for one."""

    def __init__(self) -> None:
        self.trips: list[Trip] = []
        self._come = threading.Condition()

    def __call__(self, trip: Trip) -> None:
        with self._come:
            self.trips.append(trip)
            self._come.notify_all()

    def wait(self, count: int = 1) -> Trip:
        with self._come:
            assert self._come.wait_for(lambda: len(self.trips) >= count, W)
            return self.trips[count - 1]


def hold(bias: BiasSource, clock: Any, volts: float = -5.0) -> None:
    """Set a level, and let the time pass in which no reading is judged."""
    bias.set(volts).wait(W)
    clock.t += 1.0


def short(bias: BiasSource, smu: Any) -> None:
    """Take a reading of a short."""
    smu.current, smu.status = -9e-9, 1 << 3
    bias.trigger().wait(W)
    smu.status = 0
