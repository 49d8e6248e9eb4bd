"""What session and recorder say to each other: lines of JSON over a pair of sockets.

From the session come orders, ``{"do": ..., "id": ...}``; one with an id is replied to.  From the
recorder come ``{"say": ...}``: replies, rows, counts, errors, and questions.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any

import orjson

from stmtem_control import errors
from stmtem_control.errors import RecordingError, StmTemError

Message = dict[str, Any]
ROWS = "rows"  # the message with the frames' rows, in which NaN is null
RECEIVE = 1 << 16  # bytes
JOIN_S = 2.0  # wall seconds in which what was posted goes out at the end


class Line:
    """One end of the pair; whoever posts never waits, whatever the other end does.

    Parameters
    ----------
    end : socket
        A connected stream socket, which belongs to this object from now on.
    name : str
        Of the thread that sends.
    """

    def __init__(self, end: socket.socket, name: str) -> None:
        end.settimeout(None)
        self._socket = end
        self._outgoing: SimpleQueue[Message | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._send, name=f"{name} sends", daemon=True)
        self._thread.start()

    def post(self, message: Message) -> None:
        """Send a message some time soon; messages keep their order."""
        self._outgoing.put(message)

    def _send(self) -> None:
        last = False
        try:
            while not last:
                batch = [self._outgoing.get()]
                while not self._outgoing.empty():
                    batch.append(self._outgoing.get())
                last = None in batch
                self._socket.sendall(b"".join(_line(m) for m in batch if m))
        except OSError:
            return  # the other end is gone, which its reader tells

    def messages(self) -> Iterator[Message]:
        """Yield what the other end says, until it is gone."""
        rest = b""
        while True:
            try:
                data = self._socket.recv(RECEIVE)
            except OSError:
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def hang_up(self) -> None:
        """End the conversation; what was posted before still goes out, unless nobody takes it."""
        self._outgoing.put(None)
        self._thread.join(JOIN_S)
        with contextlib.suppress(OSError):  # the other end was quicker
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(JOIN_S)

    def close(self) -> None:
        """Close the socket, when nobody receives any more."""
        self._socket.close()


def _line(message: Message) -> bytes:
    if message.get("say") == ROWS:  # the cells of some hundred rows: what is no number gets null
        return orjson.dumps(message) + b"\n"
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def error_message(error: BaseException) -> Message:
    """Return an error of our family as JSON knows it; another becomes a RecordingError."""
    kind = type(error) if isinstance(error, StmTemError) else RecordingError
    return {"kind": kind.__name__, "text": str(error)}


def error_of(message: Mapping[str, Any]) -> StmTemError:
    """Return the error that :func:`error_message` put into words."""
    kind: Callable[[str], StmTemError] = getattr(errors, str(message["kind"]), RecordingError)
    return kind(str(message["text"]))
