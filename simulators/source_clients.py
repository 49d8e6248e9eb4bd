"""The clients of a SourceMeter: their messages, and what is sent once no lock is held."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .scpi import Deferred, Program, Reply
from .server import Channel


class Outbox:
    """Calls to be made in order once no lock is held, by whichever thread comes first."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._emptying = False

    def post(self, call: Callable[[], None]) -> None:
        """Add a call."""
        with self._lock:
            self._waiting.append(call)

    def empty(self) -> None:
        """Make the calls, unless another thread is at it: that one makes ours too."""
        with self._lock:
            if self._emptying:
                return
            self._emptying = True
        while True:
            with self._lock:
                if not self._waiting:
                    self._emptying = False
                    return
                call = self._waiting.popleft()
            try:
                call()
            except BaseException:
                with self._lock:
                    self._emptying = False
                raise


@dataclass
class Client:
    """One attached client: its bytes, its messages in order, and the reply it waits for."""

    channel: Channel
    terminator: bytes
    buffer: bytes = b""
    overrun: bool = False
    programs: deque[Program] = field(default_factory=deque)
    replies: list[Reply] = field(default_factory=list)
    pending: Deferred | None = None
    outbox: Outbox = field(default_factory=Outbox)

    @property
    def expectant(self) -> bool:
        """True while an answer is owed."""
        waiting = any(unit.query for program in self.programs for unit in program.units)
        return self.pending is not None or waiting
