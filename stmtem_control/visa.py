"""Transport over VISA: sockets, serial ports and GPIB by their resource strings.

With pyvisa-py the bytes go through the socket or the serial port inside its session: its own read
never times out while bytes drip, and takes a peer that hung up for silence.
"""

import contextlib
import socket
from typing import Any

from .errors import TransportError
from .serial_port import SerialWire
from .socket_wire import CHUNK, SocketWire
from .transport import BufferedTransport


class VisaTransport(BufferedTransport):
    """An open VISA resource.

    Parameters
    ----------
    resource : str
        For example ``TCPIP::192.168.0.7::5025::SOCKET``, ``ASRL/dev/ttyUSB0::INSTR`` or
        ``GPIB0::24::INSTR``.
    library : str
        The VISA library: ``@py`` (pyvisa-py), ``@ivi`` (NI, Keysight), or a path.
    baud_rate : int
        For serial resources.
    timeout_s : float
        How long opening may take, in wall seconds.

    Raises
    ------
    TransportError
        The resource string is wrong, the library is missing, or nothing answers there.
    """

    def __init__(
        self,
        resource: str,
        *,
        library: str = "@py",
        baud_rate: int = 9600,
        timeout_s: float = 2.0,
    ) -> None:
        import pyvisa
        from pyvisa import constants

        super().__init__(resource)
        self._errors = (pyvisa.errors.Error, OSError, ValueError)
        self._timeout_code = constants.StatusCode.error_timeout
        try:
            self._manager = pyvisa.ResourceManager(library)
        except self._errors as error:
            raise self._broken(f"cannot load the VISA library {library!r}", error) from error
        try:
            self._resource: Any = self._manager.open_resource(
                resource, open_timeout=int(1e3 * timeout_s)
            )
        except Exception as error:
            # pyvisa-py raises bare Exception for a host that does not resolve.
            self._close_manager()
            raise self._broken("cannot open", error) from error
        try:
            self._resource.timeout = int(1e3 * timeout_s)
            if resource.upper().startswith("ASRL"):
                self._resource.baud_rate = baud_rate
            interface = self._find_interface()
            self._wire: SocketWire | SerialWire | None = None
            if interface is None:
                # Other libraries lose the bytes of a read that timed out: one long read instead
                # of slices.  Their own time-outs hold for the whole read.
                self.slice_s = 3600.0
                self._resource.read_termination = "\n"
            elif isinstance(interface, socket.socket):
                self._check_connected(interface)
                self._wire = SocketWire(interface)
            else:
                self._wire = SerialWire(interface)
        except BaseException as error:
            self.close()
            if isinstance(error, TransportError) or not isinstance(error, Exception):
                raise
            raise self._broken("cannot open", error) from error

    def _find_interface(self) -> Any:
        """Return the socket or the serial port inside a pyvisa-py session, else None."""
        sessions = getattr(self._resource.visalib, "sessions", None)
        if not isinstance(sessions, dict):
            return None
        interface = getattr(sessions.get(self._resource.session), "interface", None)
        is_port = hasattr(interface, "in_waiting")
        return interface if is_port or isinstance(interface, socket.socket) else None

    def _check_connected(self, interface: socket.socket) -> None:
        """Ask the socket: opening a closed port succeeds in pyvisa-py."""
        code = interface.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            interface.getpeername()
        except OSError as error:
            code = code or error.errno or 1
        if code:
            raise self._broken(
                "cannot connect; is the instrument on?", OSError(code, _os_text(code))
            )

    def _send(self, data: bytes) -> None:
        if self._wire is not None:
            self._wire.send(data)
            return
        try:
            self._resource.write_raw(data)
        except self._errors as error:
            raise self._broken("sending failed", error) from error

    def _receive(self, seconds: float) -> bytes:
        if self._wire is not None:
            return self._wire.receive(seconds)
        try:
            return self._receive_from_library(seconds)
        except self._errors as error:
            raise self._broken("receiving failed", error) from error

    def _at_hand(self) -> bytes:
        # Through another library, on GPIB say, a read without a question is an error.
        return b"" if self._wire is None else super()._at_hand()

    def _receive_from_library(self, seconds: float) -> bytes:
        from pyvisa import constants, errors

        self._resource.timeout = max(1, int(1e3 * seconds))
        try:
            with self._resource.ignore_warning(
                constants.StatusCode.success_max_count_read,
                constants.StatusCode.success_termination_character_read,
            ):
                data, _ = self._resource.visalib.read(self._resource.session, CHUNK)
            return bytes(data)
        except errors.VisaIOError as error:
            if error.error_code == self._timeout_code:
                return b""
            raise

    def _close(self) -> None:
        with contextlib.suppress(*self._errors):
            self._resource.close()
        self._close_manager()

    def _close_manager(self) -> None:
        # pyvisa hands out one manager a library: it may still serve another link.
        with contextlib.suppress(*self._errors):
            if not self._manager.list_opened_resources():
                self._manager.close()


def _os_text(code: int) -> str:
    import os

    return os.strerror(code)
