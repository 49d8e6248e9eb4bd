"""The data port of a Merlin: one sender thread and one bounded queue for each client.

A client that reads too slowly loses frames, and sees it in the sequence numbers; it never holds
up the camera.
"""

import threading
from collections import deque
from collections.abc import Callable

from .server import Channel

QUEUE_BYTES = 64 * 2**20
QUEUE_FRAMES = 4  # at least, however large they are


class _Sender:
    """Sends to one client from a thread of its own."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.header: bytes | None = None  # of the acquisition it was told of
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._open = True
        self._thread = threading.Thread(target=self._run, name="sim-camera-data", daemon=True)
        self._thread.start()

    def tell(self, header: bytes) -> None:
        """Queue the header of an acquisition, unless this client has it."""
        if self.header is not header:
            self.header = header
            self._put(header, must=True)

    def put(self, frame: bytes) -> bool:
        """Queue a frame; False when there is no room for it."""
        return self._put(frame, must=False)

    def _put(self, data: bytes, *, must: bool) -> bool:
        with self._changed:
            full = len(self._queue) >= QUEUE_FRAMES and self._queued_bytes + len(data) > QUEUE_BYTES
            if not self._open or (full and not must):
                return False
            self._queue.append(data)
            self._queued_bytes += len(data)
            self._changed.notify()
            return True

    def drop(self) -> None:
        """Forget what is queued; a message that is being sent is sent to its end."""
        with self._changed:
            self._queue.clear()
            self._queued_bytes = 0

    def close(self) -> None:
        """End the thread, whatever it is sending."""
        with self._changed:
            self._open = False
            self._queue.clear()
            self._changed.notify()
        self.channel.hang_up()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._open and not self._queue:
                    self._changed.wait()
                if not self._open:
                    return
                data = self._queue.popleft()
                self._queued_bytes -= len(data)
            self.channel.send(data)


class DataStream:
    """The data port; a Talker.

    Parameters
    ----------
    welcome : callable
        Called for a new client, before it gets any frame; returns the header of the acquisition
        that is under way, or None.
    joined : callable
        Called after a new client has joined.
    """

    def __init__(self, welcome: Callable[[], bytes | None], joined: Callable[[], None]) -> None:
        self._welcome = welcome
        self._joined = joined
        self._lock = threading.Lock()
        self._senders: dict[Channel, _Sender] = {}
        self.sent = 0
        self.dropped = 0

    def opened(self, channel: Channel) -> None:
        """Take a new client; in the middle of an acquisition it gets the header first."""
        sender = _Sender(channel)
        with self._lock:
            header = self._welcome()
            if header is not None:
                sender.tell(header)
            self._senders[channel] = sender
        self._joined()

    def received(self, channel: Channel, data: bytes) -> None:
        """Ignore what a client says here: this port only sends."""

    def closed(self, channel: Channel) -> None:
        """Forget a client that has gone."""
        with self._lock:
            sender = self._senders.pop(channel, None)
        if sender is not None:
            sender.close()

    def begin(self, header: bytes) -> bool:
        """Send the header of an acquisition to all clients; False when there is none."""
        with self._lock:
            for sender in self._senders.values():
                sender.tell(header)
            return bool(self._senders)

    def send(self, header: bytes, frame: bytes) -> None:
        """Send a frame of that acquisition to all clients that have room for it."""
        with self._lock:
            taken = []
            for sender in self._senders.values():
                sender.tell(header)
                taken.append(sender.put(frame))
            if any(taken):
                self.sent += 1
            if not all(taken):
                self.dropped += 1

    def drop(self) -> None:
        """Forget all frames that are not on their way yet."""
        with self._lock:
            for sender in self._senders.values():
                sender.drop()

    def close(self) -> None:
        """End all sender threads."""
        with self._lock:
            senders = list(self._senders.values())
            self._senders.clear()
        for sender in senders:
            sender.close()
