"""Digital lines between the instruments of the bench: levels, pulses, and wires."""

import threading
from collections.abc import Callable

Listener = Callable[[bool], None]


class Line:
    """One TTL line: a level that one output drives and any number of inputs watch.

    Listeners are called in the driver's thread, once for each change of level.
    """

    def __init__(self, name: str, level: bool = False) -> None:
        self.name = name
        self._level = level
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []

    @property
    def level(self) -> bool:
        """True while the line is high."""
        return self._level

    def drive(self, level: bool) -> None:
        """Set the level; who listens is told when it changes."""
        with self._lock:
            if level == self._level:
                return
            self._level = level
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(level)

    def pulse(self) -> None:
        """Leave the present level and come back: one edge of each kind."""
        rest = self._level
        self.drive(not rest)
        self.drive(rest)

    def listen(self, listener: Listener) -> None:
        """Have `listener(level)` called at each change."""
        with self._lock:
            self._listeners.append(listener)


def wire(output: Line, *inputs: Line) -> None:
    """Connect an output to inputs: they take its level now and follow it from then on."""
    for line in inputs:
        line.drive(output.level)
        output.listen(line.drive)
