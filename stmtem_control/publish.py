"""Documents for people at other machines: handed to a 0MQ proxy by a thread of its own.

The proxy and the receiver are Bluesky's (``bluesky-0MQ-proxy``, ``RemoteDispatcher``).  A proxy
that is slow, dead or not there costs documents, never a plan: the run folder has all of them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .station_tables import PublishTable

if TYPE_CHECKING:
    from .document_line import DocumentLine

log = logging.getLogger(__name__)

MOST_WAITING = 1000  # documents; then those that only carry data are left out
LOOK_S = 0.1  # wall seconds between two looks whether the proxy is there, or takes more
MISSED_S = 3.0  # that a document waits for a proxy before somebody is told
CLOSE_S = 1.0  # that the last documents may take at the end of a session
#: Without these a receiver could not read the rest of a run; they wait however many there are.
NEEDED = frozenset({"start", "descriptor", "stream_resource", "stop"})


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
        from .document_line import DocumentLine  # 0MQ only where it is used

        line = DocumentLine(self.address)
        try:
            while self._is_wanted():
                self._hand_on(line)
            end = time.monotonic() + CLOSE_S
            while self._waiting and line.reached and time.monotonic() < end:
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

    def _hand_on(self, line: "DocumentLine") -> None:
        """Hand on what waits, or wait a little for the proxy."""
        since = time.monotonic()
        while not self._over.is_set():
            if line.reached:
                if not self._send(line):
                    self._over.wait(LOOK_S)
                return
            if time.monotonic() - since > MISSED_S:
                self._say_once("no proxy answers there (bluesky-0MQ-proxy); documents wait")
            self._over.wait(LOOK_S)

    def _send(self, line: "DocumentLine") -> bool:
        """Hand on the document that waits longest; False if it is not taken now."""
        with self._changed:
            if not self._waiting:  # a new run has begun, and forgot those before
                return True
            name, doc = first = self._waiting[0]
        if not line.send(name, doc):
            return False
        with self._changed:
            if self._waiting and self._waiting[0] is first:
                self._waiting.popleft()
            self.sent += 1
        return True


def publish_documents(
    table: PublishTable | None,
    RE: Any,  # noqa: N803
    tell: Callable[[str], None],
    opened: ExitStack,
) -> DocumentPublisher | None:
    """Publish what a RunEngine emits, if the station's table says where to.

    Parameters
    ----------
    table : PublishTable, optional
    RE : bluesky.RunEngine
    tell : callable
        Called with a line when documents begin to miss their receivers, from any thread.
    opened : ExitStack
        Ends it.

    Raises
    ------
    ConfigError
        pyzmq is not installed.
    """
    if table is None:
        return None
    if find_spec("zmq") is None:
        raise ConfigError("[publish] needs pyzmq: pip install 'stmtem-control[queue]'")
    publisher = DocumentPublisher(table.address, tell=tell)
    opened.callback(publisher.close)
    RE.subscribe(publisher)
    return publisher
