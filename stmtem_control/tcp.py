"""Transport over a plain TCP socket, with reads straight into a caller's memory."""

import contextlib
import os
import socket
import time

from .errors import TransportError, TransportTimeout
from .socket_wire import SEND_S, SocketWire, is_wait_over
from .transport import SLICE_S, BufferedTransport


class TcpTransport(BufferedTransport):
    """A connected TCP socket with Nagle's algorithm off.

    Parameters
    ----------
    host, port : str, int
        Where the instrument listens.
    timeout_s : float
        How long to try to connect, in wall seconds.
    receive_buffer : int
        Size asked of the operating system for incoming bytes; 0 leaves its default.  With it,
        :meth:`read_into` has the system wait until all bytes are there, where it can.

    Raises
    ------
    TransportError
        Nothing listens there, or the host is unknown.
    """

    def __init__(
        self, host: str, port: int, *, timeout_s: float = 2.0, receive_buffer: int = 0
    ) -> None:
        super().__init__(f"{host}:{port}")
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            raise self._broken("cannot connect; is the instrument on?", error) from error
        self._wire = SocketWire(self._socket, longest_s=SEND_S if receive_buffer else SLICE_S)
        self._flags = 0
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if os.name == "posix":
                self._flags = socket.MSG_WAITALL

    def _send(self, data: bytes) -> None:
        self._wire.send(data)

    def _receive(self, seconds: float) -> bytes:
        return self._wire.receive(seconds)

    def wait_readable(self, seconds: float) -> bool:
        """Return whether a byte is there to read, waiting at most `seconds` for it."""
        try:
            return bool(self._buffer) or self._wire.readable(seconds)
        except (OSError, ValueError) as error:
            if isinstance(error, TransportError):
                raise
            raise self._broken("receiving failed", error) from error

    def read_into(self, view: memoryview, deadline: float) -> None:
        """Fill `view` (bytes) with what comes next, without copies on the way.

        Raises
        ------
        TransportTimeout
            The bytes did not all come before `deadline`.
        TransportError
            The connection is broken or closed.
        """
        place, size = 0, len(view)
        if self._buffer:
            place = min(len(self._buffer), size)
            view[:place] = self._buffer[:place]
            del self._buffer[:place]
        try:
            while place < size:
                left, flags = deadline - time.monotonic(), self._flags
                if left <= 0.0:
                    raise TransportTimeout(
                        f"{self.address}: {size - place} of {size} bytes did not come"
                    )
                # The socket itself waits for SEND_S at most: a look before costs a call.
                if left < SEND_S:
                    flags = 0
                    if not self._wire.readable(left):
                        continue
                try:
                    n = self._socket.recv_into(view[place:] if place else view, 0, flags)
                except OSError as error:
                    if is_wait_over(error):
                        continue
                    raise
                if n == 0:
                    raise self._gone()
                place += n
        except TransportError:
            raise
        except (OSError, ValueError) as error:
            raise self._broken("receiving failed", error) from error

    def read_some(self, view: memoryview, deadline: float) -> int:
        """Put what is there into `view`, and return how many bytes that are: one at least.

        Raises as :meth:`read_into` does.
        """
        if self._buffer or not self._flags:
            self.read_into(view[:1], deadline)
            return 1
        try:
            n = self._socket.recv_into(view)
        except (OSError, ValueError):  # nothing there yet, or the connection is broken
            self.read_into(view[:1], deadline)
            return 1
        if n == 0:
            raise self._gone()
        return n

    def give_back(self, data: "bytes | bytearray") -> None:
        """Have these bytes read next: they were read too early."""
        self._buffer[:0] = data

    def interrupt(self) -> None:
        """End the conversation from another thread: a blocked or later read fails at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self._wire.close()
