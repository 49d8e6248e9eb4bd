"""Documents for people at other machines: handed to a 0MQ proxy by a thread of its own.

The proxy and the receiver are Bluesky's (``bluesky-0MQ-proxy``, ``RemoteDispatcher``).  A proxy
that is slow, dead or not there costs documents, never a plan: the run folder has all of them.
"""

import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import zmq
from bluesky.callbacks.zmq import Publisher
from zmq.utils.monitor import parse_monitor_message

log = logging.getLogger(__name__)

MOST_WAITING = 1000  # documents; then those that only carry data are left out
LINK_WAITS = 100  # messages that 0MQ keeps by itself for a proxy that reads slowly
LOOK_S = 0.1  # wall seconds between two looks whether the proxy is there, or takes more
SETTLE_S = 0.1  # a proxy that has just been reached must still say that it wants documents
MISSED_S = 3.0  # that a document waits for a proxy before somebody is told
CLOSE_S = 1.0  # that the last documents may take at the end of a session
#: Without these a receiver could not read the rest of a run; they wait however many there are.
NEEDED = frozenset({"start", "descriptor", "stream_resource", "stop"})


class _Line(Publisher):  # type: ignore[misc]  # bluesky has no types
    """Bluesky's publisher, with a socket that refuses what it cannot keep, instead of losing it."""

    def __init__(self, address: str) -> None:
        super().__init__(address, serializer=lambda doc: pickle.dumps(plain(doc)))
        socket = self._socket
        # Made anew with these, which hold for connections to come.
        socket.disconnect(self.address)
        socket.setsockopt(zmq.SNDHWM, LINK_WAITS)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.setsockopt(zmq.SNDTIMEO, 0)
        socket.setsockopt(zmq.LINGER, int(1e3 * CLOSE_S))
        self._monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        socket.connect(self.address)
        self._since: float | None = None

    def reached(self) -> bool:
        """Tell whether a proxy is there and has had time to say what it wants."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._since = time.monotonic() if up else None
        return self._since is not None and time.monotonic() - self._since > SETTLE_S

    def close(self) -> None:
        """Give what is on its way :data:`CLOSE_S`, and end."""
        self._socket.disable_monitor()
        super().close()


class DocumentPublisher:
    """A subscriber of the RunEngine that never waits, and never fails.

    Parameters
    ----------
    address : str
        Where a proxy takes documents, for example ``127.0.0.1:5577``.
    tell : callable
        Called with a line when documents begin to miss their receivers, from any thread.

    Attributes
    ----------
    sent, dropped : int
        Documents so far that were handed on, and that were not and will not be.

    Notes
    -----
    Documents wait for a proxy that is not there, or slow.  When :data:`MOST_WAITING` do, those that
    only carry data (events, pages, stream datums) are left out, and counted; a receiver can read
    the rest.  Those of runs that nobody came to see are forgotten when another run begins.
    """

    def __init__(self, address: str, *, tell: Callable[[str], None] = lambda _: None) -> None:
        self.address = address
        self.sent = self.dropped = 0
        self._tell = tell
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._told = False  # in this run
        self._left_out = 0  # of this run
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Documents that wait to be handed on."""
        return len(self._waiting)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document; that costs some microseconds, whatever the proxy does."""
        with self._changed:
            if name == "start":
                self._told, self._left_out = False, 0
                if len(self._waiting) >= MOST_WAITING:
                    self.dropped += len(self._waiting)
                    self._waiting.clear()
            fits = name in NEEDED or len(self._waiting) < MOST_WAITING
            if fits:
                self._waiting.append((name, doc))
                self._changed.notify()
            else:
                self.dropped += 1
                self._left_out += 1
        if not fits:
            self._say_once("documents are not taken as fast as they come; some are left out")
        elif name == "stop" and self._left_out:
            self._say(f"{self._left_out} documents of this run were left out")

    def close(self) -> None:
        """Hand on what still waits, if that is quick, and end; harmless when called again."""
        self._over.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(3.0 * CLOSE_S)

    def _say_once(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._say(what)

    def _say(self, what: str) -> None:
        text = f"publishing to {self.address}: {what}; the run folder has all"
        log.warning("%s", text)
        self._tell(text)

    def _run(self) -> None:
        line = _Line(self.address)
        try:
            while self._is_wanted():
                self._hand_on(line)
            end = time.monotonic() + CLOSE_S
            while self._waiting and line.reached() and time.monotonic() < end:
                if not self._send(line):
                    break
            self.dropped += len(self._waiting)
        except Exception:  # whatever it is, it is no plan's business
            log.exception("publishing to %s has ended", self.address)
        finally:
            line.close()

    def _is_wanted(self) -> bool:
        """Wait for a document; False when the session ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._over.is_set())
        return not self._over.is_set()

    def _hand_on(self, line: _Line) -> None:
        """Hand on what waits, or wait a little for the proxy."""
        since = time.monotonic()
        while not self._over.is_set():
            if line.reached():
                if not self._send(line):
                    self._over.wait(LOOK_S)
                return
            if time.monotonic() - since > MISSED_S:
                self._say_once("no proxy answers there (bluesky-0MQ-proxy); documents wait")
            self._over.wait(LOOK_S)

    def _send(self, line: _Line) -> bool:
        """Hand on the document that waits longest; False if it is not taken now."""
        with self._changed:
            if not self._waiting:  # a new run has begun, and forgot those before
                return True
            name, doc = first = self._waiting[0]
        try:
            line(name, doc)
        except zmq.Again:
            return False
        with self._changed:
            if self._waiting and self._waiting[0] is first:
                self._waiting.popleft()
            self.sent += 1
        return True


def plain(value: Any) -> Any:
    """Return a document of plain Python: what any receiver can read, whatever it has installed."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)
