"""Transport over pyserial: real ports, pseudo-terminals, and ``socket://`` URLs.

A ``socket://`` URL is opened without pyserial, whose own socket throws away a greeting that comes
early, reads byte by byte, and takes 0.3 s to close: too long for a stop on a new connection.
"""

import contextlib
import time
from typing import Any
from urllib.parse import urlsplit

from .errors import TransportError
from .tcp import TcpTransport
from .transport import BufferedTransport, reason_of

POLL_S = 0.02  # how often a port without data is asked again


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
        self._line = self._connect(url) if url.startswith("socket://") else None
        if self._line is None:
            self._open_port(url, baud_rate)

    def _connect(self, url: str) -> TcpTransport:
        try:
            place = urlsplit(url)
            host, port = place.hostname, place.port
        except ValueError as error:
            raise self._broken("cannot open the port", error) from error
        if not host or not port:
            raise TransportError(f"serial port {url}: give it as socket://host:port")
        return TcpTransport(host, port)

    def _open_port(self, url: str, baud_rate: int) -> None:
        import serial

        options: dict[str, Any] = {"timeout": POLL_S, "write_timeout": 1.0}
        is_url = "://" in url
        if not is_url:
            # Without the lock a second program opens the same port and both lose bytes.
            options["exclusive"] = True
        try:
            self._port = serial.serial_for_url(url, baudrate=baud_rate, **options)
        except (OSError, ValueError) as error:
            raise self._broken("cannot open the port; is it free?", error) from error
        self._serial_error = serial.SerialException
        if is_url:
            # pyserial's socket reader returns early only for what is there; one byte is enough.
            self._port.timeout = POLL_S

    def _send(self, data: bytes) -> None:
        if self._line is not None:
            self._line.send(data)
            return
        self._port.write(data)
        self._port.flush()

    def _receive(self, seconds: float) -> bytes:
        if self._line is not None:
            return self._line.receive(seconds)
        end = time.monotonic() + seconds
        while True:
            try:
                # Byte-wise reads are nine times slower than taking what is waiting.
                waiting = self._port.in_waiting
                if waiting or seconds > 0.0:
                    data = bytes(self._port.read(waiting or 1))
                    if data:
                        return data
            except (self._serial_error, TypeError) as error:
                # pyserial raises TypeError when the port is closed under a reader
                raise self._broken("receiving failed", error) from error
            if time.monotonic() >= end:
                return b""

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            return
        with contextlib.suppress(self._serial_error):
            self._port.close()

    def _broken(self, what: str, error: BaseException) -> TransportError:
        return TransportError(f"serial port {self.address}: {what}: {reason_of(error)}")
