"""A station clock that a test, or a program of a test, moves by hand."""

from stmtem_control.clock import StationClock


class HandClock(StationClock):
    """Tells what it was told."""

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__(speed)
        self.t = 0.0

    def now(self) -> float:
        """Return what the test says."""
        return self.t
