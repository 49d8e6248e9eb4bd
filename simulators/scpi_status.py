"""IEEE 488.2 and SCPI status reporting: error queue, register sets and the status byte."""

from collections import deque
from collections.abc import Mapping

Intervals = list[tuple[int, int]]

# Which bit of the standard event register an error sets, by its number.
_CLASSES = (
    (-199, -100, 5),
    (-299, -200, 4),
    (-399, -300, 3),
    (-499, -400, 2),
    (500, 799, 3),
    (800, 899, 4),
    (900, 999, 3),
)


class RegisterSet:
    """A condition register, the event register that latches its rises, and an enable mask."""

    def __init__(self) -> None:
        self.condition = 0
        self.event = 0
        self.enable = 0

    def hold(self, bit: int, state: bool) -> None:
        """Set a condition bit to a state; a rise is latched."""
        mask = 1 << bit
        if state and not self.condition & mask:
            self.event |= mask
        self.condition = self.condition | mask if state else self.condition & ~mask

    def strike(self, bit: int) -> None:
        """Latch an event that has no lasting condition."""
        self.event |= 1 << bit

    def read(self) -> int:
        """Return the event register and clear it."""
        event, self.event = self.event, 0
        return event

    @property
    def summary(self) -> bool:
        """True while an enabled event is latched."""
        return bool(self.event & self.enable)


class ErrorQueue:
    """First in, first out; the last place of a full queue tells of the overflow.

    Parameters
    ----------
    messages : Mapping[int, str]
        The text of every number.
    size : int
        How many entries the queue holds.
    """

    def __init__(self, messages: Mapping[int, str], size: int) -> None:
        self._messages = messages
        self._entries: deque[int] = deque()
        self._size = size
        self.enabled: Intervals = []
        self.preset()

    def preset(self) -> None:
        """Let errors in and keep status messages out, as after power-on."""
        self.enabled = [(-999, -1), (500, 999)]

    def enable(self, intervals: Intervals) -> None:
        """Let only these numbers in."""
        self.enabled = list(intervals)

    def disable(self, intervals: Intervals) -> None:
        """Keep these numbers out."""
        for low, high in intervals:
            kept: Intervals = []
            for first, last in self.enabled:
                if first < low:
                    kept.append((first, min(last, low - 1)))
                if last > high:
                    kept.append((max(first, high + 1), last))
            self.enabled = kept

    def put(self, code: int) -> None:
        """Enter an error or message, if its number is let in."""
        if not any(low <= code <= high for low, high in self.enabled):
            return
        if len(self._entries) < self._size:
            self._entries.append(code)
        else:
            self._entries[-1] = -350

    def next(self) -> str:
        """Return the oldest entry as ``code,"text"`` and remove it."""
        return self.text(self._entries.popleft()) if self._entries else self.text(0)

    def next_code(self) -> str:
        """Return the number of the oldest entry and remove it."""
        return f"{self._entries.popleft():d}" if self._entries else "0"

    def text(self, code: int) -> str:
        """Return an entry as the instrument sends it."""
        if code == 0:
            return '0,"No error"'
        return f'{code:+d},"{self._messages.get(code, "Device specific error")}"'

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)


class StatusModel:
    """The registers behind ``*STB?`` and the queue that errors go into."""

    def __init__(self, messages: Mapping[int, str], queue_size: int = 10) -> None:
        self.errors = ErrorQueue(messages, queue_size)
        self.standard = RegisterSet()
        self.standard.strike(7)  # power on
        self.measurement = RegisterSet()
        self.operation = RegisterSet()
        self.questionable = RegisterSet()
        self.service_enable = 0

    def error(self, code: int) -> None:
        """Enter an error: the queue and its bit of the standard event register."""
        for low, high, bit in _CLASSES:
            if low <= code <= high:
                self.standard.strike(bit)
        self.errors.put(code)

    def byte(self, message_available: bool = False) -> int:
        """Return the status byte, with the master summary in bit 6."""
        bits = (
            self.measurement.summary << 0
            | (len(self.errors) > 0) << 2
            | self.questionable.summary << 3
            | message_available << 4
            | self.standard.summary << 5
            | self.operation.summary << 7
        )
        return bits | (bool(bits & self.service_enable) << 6)

    def clear(self) -> None:
        """Clear the event registers and the error queue (``*CLS``)."""
        for registers in (self.standard, self.measurement, self.operation, self.questionable):
            registers.event = 0
        self.errors.clear()

    def preset(self) -> None:
        """Put the enable masks and the queue's filter back (``:STATus:PRESet``)."""
        for registers in (self.measurement, self.operation, self.questionable):
            registers.enable = 0
        self.errors.preset()
