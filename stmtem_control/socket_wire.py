"""A connected TCP socket as transports use it: bytes out, bytes in, and an end that is noticed."""

import contextlib
import errno
import os
import select
import socket
import struct
from typing import Any

from .transport import SLICE_S

CHUNK = 65536
LOOK = 4096  # bytes that one look takes at most
SEND_S = 1.0  # a request is short: if it cannot be sent in this time the peer is not reading
# A cable that was pulled out sends nothing.  The system asks the peer after so many quiet seconds,
# then every second, and gives the connection up when it owes an answer for so long.
QUIET_S = 2
ASK_S = 1
OWED_S = 5


class SocketWire:
    """Bytes over a connected TCP socket; its errors are OSError, and EOFError for its end.

    Parameters
    ----------
    connected : socket
        It is made blocking, with Nagle's algorithm off and keep-alive on.
    longest_s : float
        Wall seconds that the system waits for bytes at most.
    """

    def __init__(self, connected: socket.socket, *, longest_s: float = SLICE_S) -> None:
        self.socket = connected
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watch_peer(connected)
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(connected, select.POLLIN)
        # The system's own time limits instead of Python's, which look before each call: every
        # call gives up the interpreter, and a busy thread gives it back late.
        self._system_waits_s = longest_s if os.name == "posix" else 0.0
        if self._system_waits_s:
            connected.settimeout(None)
            _limit(connected, socket.SO_RCVTIMEO, longest_s)
            _limit(connected, socket.SO_SNDTIMEO, SEND_S)
        else:
            connected.settimeout(SEND_S)
        self._look = None if os.name != "posix" else _Look()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def receive(self, seconds: float) -> bytes:
        """Return what comes within `seconds`, b"" for nothing.

        Raises
        ------
        EOFError
            The other end closed the connection.
        """
        if seconds <= 0.0 and self._look is not None:
            return self._look(self.socket.fileno())
        if seconds != self._system_waits_s and not self.readable(seconds):
            return b""
        try:
            data = self.socket.recv(CHUNK)
        except OSError as error:
            if is_wait_over(error):
                return b""
            raise
        if not data:
            raise EOFError
        return data

    def readable(self, seconds: float) -> bool:
        """Return whether there is something to receive, waiting at most `seconds` for it."""
        if self.socket.fileno() < 0:
            raise OSError("the connection is closed")
        if self._poll is not None:
            return bool(self._poll.poll(max(0.0, 1e3 * seconds)))
        return bool(select.select([self.socket], [], [], max(0.0, seconds))[0])

    def close(self) -> None:
        """Close; safe to call again."""
        self.socket.close()


class _Look:
    """Takes what is there without waiting, and so need not give up the interpreter meanwhile.

    Python's own socket gives it up for every call; while another thread computes it comes back
    after that thread's turn only (5 ms), and this is asked before each question.
    """

    def __init__(self) -> None:
        import ctypes

        library = ctypes.PyDLL(None, use_errno=True)  # unlike CDLL: the interpreter is kept
        self._recv = library.recv
        self._recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._recv.restype = ctypes.c_ssize_t
        self._room: Any = ctypes.create_string_buffer(LOOK)
        self._errno = ctypes.get_errno

    def __call__(self, descriptor: int) -> bytes:
        """Return what is there, b"" for nothing; raises EOFError when the other end closed."""
        got = self._recv(descriptor, self._room, LOOK, socket.MSG_DONTWAIT)
        if got == 0:
            raise EOFError
        if got > 0:
            return bytes(self._room[:got])
        code = self._errno()
        if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR):
            return b""
        raise OSError(code, os.strerror(code))


def is_wait_over(error: OSError) -> bool:
    """Whether a call only waited in vain; not that the system gave the connection up."""
    return isinstance(error, BlockingIOError) or (
        isinstance(error, TimeoutError) and error.errno is None
    )


def watch_peer(connected: socket.socket) -> None:
    """Have the system notice a peer that is gone without a word, where it can."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": QUIET_S,
        "TCP_KEEPALIVE": QUIET_S,  # the same, of macOS
        "TCP_KEEPINTVL": ASK_S,
        "TCP_KEEPCNT": OWED_S - QUIET_S,
        "TCP_USER_TIMEOUT": round(1e3 * OWED_S),
    }
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, option, value)


def _limit(connected: socket.socket, option: int, seconds: float) -> None:
    whole = int(seconds)
    microseconds = round(1e6 * (seconds - whole))
    connected.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, microseconds))
