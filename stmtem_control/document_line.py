"""The line to a 0MQ proxy: Bluesky's own publisher, made to say what it cannot deliver."""

import pickle
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import zmq
from bluesky.callbacks.zmq import Publisher
from zmq.utils.monitor import parse_monitor_message

LINK_WAITS = 100  # messages that 0MQ keeps by itself for a proxy that reads slowly
SETTLE_S = 0.1  # a proxy that has just been reached must still say that it wants documents
LINGER_S = 1.0  # that messages under way may take at the end
REACHED = zmq.EVENT_HANDSHAKE_SUCCEEDED


class DocumentLine(Publisher):
    """Bluesky's publisher, with a socket that refuses what it cannot keep, instead of losing it.

    Parameters
    ----------
    address : str
        Where a proxy takes documents.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address, serializer=lambda doc: pickle.dumps(plain(doc)))
        socket = self._socket
        # Connected anew with these, which hold for connections to come.
        socket.disconnect(self.address)
        socket.setsockopt(zmq.SNDHWM, LINK_WAITS)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.setsockopt(zmq.SNDTIMEO, 0)
        socket.setsockopt(zmq.LINGER, int(1e3 * LINGER_S))
        self._monitor = socket.get_monitor_socket(REACHED | zmq.EVENT_DISCONNECTED)
        socket.connect(self.address)
        self._since: float | None = None

    @property
    def reached(self) -> bool:
        """Whether a proxy is there, and has had time to say what it wants."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            self._since = time.monotonic() if event == REACHED else None
        return self._since is not None and time.monotonic() - self._since > SETTLE_S

    def send(self, name: str, doc: dict[str, Any]) -> bool:
        """Hand on a document; False if it is not taken now."""
        try:
            self(name, doc)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Give what is under way :data:`LINGER_S`, and end."""
        self._socket.disable_monitor()
        super().close()


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
