"""Transport over pyserial: real ports, pseudo-terminals, and ``socket://`` URLs.

A ``socket://`` URL is opened without pyserial, whose own socket throws away a greeting that comes
early, reads byte by byte, and takes 0.3 s to close: too long for a stop on a new connection.
"""

import contextlib
import os
import select
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from .errors import TransportError
from .socket_wire import CHUNK, SEND_S, SocketWire
from .transport import BufferedTransport, reason_of

POLL_S = 0.02  # how often a port that cannot be waited for is asked again
CONNECT_S = 2.0  # wall seconds that a network port may take to answer


class SerialWire:
    """Bytes over a port that pyserial opened; all errors are OSError.

    Parameters
    ----------
    port : serial.SerialBase
        It is read by its file where it has one that can be waited for: pyserial takes nine times
        as long for a line when asked for one byte after the other.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        port.timeout = POLL_S
        port.write_timeout = SEND_S
        self._poll: Any = None
        if os.name == "posix" and hasattr(select, "poll"):
            with contextlib.suppress(OSError, AttributeError):
                self._file = int(port.fileno())
                self._poll = select.poll()
                self._poll.register(self._file, select.POLLIN)

    def send(self, data: bytes) -> None:
        """Send all of `data`; a port that takes nothing for :data:`.SEND_S` is an error.

        It is not waited for the last bit: with an instrument that is off, and a handshake by
        hardware, that would never end.
        """
        self._port.write(data)

    def receive(self, seconds: float) -> bytes:
        """Return what comes within `seconds`, b"" for nothing."""
        if self._poll is None:
            return self._ask_again(seconds)
        if not self._port.is_open:
            raise OSError("the port is closed")
        if not self._poll.poll(max(0.0, 1e3 * seconds)):
            return b""
        try:
            data = os.read(self._file, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError("the port is gone; was the adapter pulled out?")
        return data

    def _ask_again(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        while True:
            try:
                waiting = self._port.in_waiting
                if waiting or seconds > 0.0:
                    data = bytes(self._port.read(waiting or 1))
                    if data:
                        return data
            except TypeError:
                # pyserial raises it when the port is closed under a reader
                raise OSError("the port is closed") from None
            if time.monotonic() >= end:
                return b""

    def close(self) -> None:
        """Close; safe to call again."""
        self._port.close()


class SerialTransport(BufferedTransport):
    """An open serial port.

    Parameters
    ----------
    url : str
        A port (``/dev/ttyUSB0``, ``COM3``, a pseudo-terminal) or any URL that
        ``serial.serial_for_url`` takes, such as ``socket://127.0.0.1:7230``.
    baud_rate : int
        8 data bits, no parity, 1 stop bit.

    Raises
    ------
    TransportError
        The port does not exist, or another program holds it.
    """

    def __init__(self, url: str, *, baud_rate: int = 38400) -> None:
        super().__init__(url)
        self._wire: SocketWire | SerialWire
        if url.startswith("socket://"):
            self._wire = self._connect(url)
        else:
            self._wire = self._open_port(url, baud_rate)

    def _connect(self, url: str) -> SocketWire:
        try:
            place = urlsplit(url)
            host, port = place.hostname, place.port
        except ValueError as error:
            raise self._broken("cannot open the port", error) from error
        if not host or not port:
            raise TransportError(f"serial port {url}: give it as socket://host:port")
        try:
            return SocketWire(socket.create_connection((host, port), CONNECT_S))
        except OSError as error:
            raise self._broken("cannot connect; is the instrument on?", error) from error

    def _open_port(self, url: str, baud_rate: int) -> SerialWire:
        import serial

        options: dict[str, Any] = {}
        if "://" not in url:
            # Without the lock a second program opens the same port and both lose bytes.
            options["exclusive"] = True
        try:
            return SerialWire(serial.serial_for_url(url, baudrate=baud_rate, **options))
        except (OSError, ValueError) as error:
            raise self._broken("cannot open the port; is it free?", error) from error

    def _send(self, data: bytes) -> None:
        self._wire.send(data)

    def _receive(self, seconds: float) -> bytes:
        return self._wire.receive(seconds)

    def _close(self) -> None:
        self._wire.close()

    def _broken(self, what: str, error: BaseException) -> TransportError:
        return TransportError(f"serial port {self.address}: {what}: {reason_of(error)}")
