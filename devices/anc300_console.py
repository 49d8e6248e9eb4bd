"""The text console of an ANC300: log-in, requests and answers, getting back in step.

All of it runs in the worker of a link.  Source: attocube ANC300 User Manual, chapter "Console
Commands".
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    ProtocolError,
    TransportTimeout,
)
from stmtem_control.transport import PADDING, Transport, excerpt

PROMPT = b"> "
VALUE_LINE = re.compile(r"^([A-Za-z]+)\s*=\s*(\S+)(?:\s+(\S+))?$")
LONGEST_ANSWER = 300  # lines; the longest one, a waveform, has 256
QUIET_S = 0.05  # wall seconds without a byte, after which nothing more is expected
WORD = 3  # modules that are asked for their serial numbers to make sure of being in step
_IAC, _SB, _SE = 0xFF, 0xFA, 0xF0


@dataclass(frozen=True)
class Controller:
    """What the console says it is: the lines of ``ver`` and the modules by axis number."""

    version: tuple[str, ...]
    modules: dict[int, str]


def strip_telnet(data: bytes) -> bytes:
    """Return `data` without telnet option negotiation and other bytes that are not ASCII."""
    out = bytearray()
    place = 0
    while place < len(data):
        byte = data[place]
        if byte != _IAC:
            if byte < 0x80:
                out.append(byte)
            place += 1
        elif data[place + 1 : place + 2] == bytes([_SB]):
            end = data.find(bytes([_IAC, _SE]), place)
            place = len(data) if end < 0 else end + 2
        else:
            command = data[place + 1] if place + 1 < len(data) else 0
            place += 3 if 0xFB <= command <= 0xFE else 2
    return bytes(out)


def parse_value(lines: Sequence[str], name: str) -> str:
    """Return what stands behind ``name =`` in an answer.

    Raises
    ------
    ProtocolError
        No line of the answer has that form.
    """
    for line in lines:
        match = VALUE_LINE.match(line)
        if match is not None and match[1] == name:
            return match[2]
    raise ProtocolError(f"expected a line '{name} = ...', received {list(lines)!r}")


class Console:
    """Requests and answers.

    Parameters
    ----------
    name : str
        The instrument's name in the station file; it begins every error message.
    password : str, optional
        For the TCP console; none for a serial port.
    timeout_s : float
        Wall seconds an answer may take.
    """

    def __init__(self, name: str, password: str | None, timeout_s: float) -> None:
        self.name = name
        self._password = password
        self._timeout_s = timeout_s
        self._logged_in: Transport | None = None
        self._words = 0
        self._quiet_console = False  # the echo is known to be off

    def may_speak(self, transport: Transport) -> bool:
        """Whether what is sent is taken for a command; before a log-in it is the password."""
        return self._password is None or self._logged_in is transport

    def greet(self, transport: Transport) -> None:
        """Log in, once on each connection, and switch the echo off.

        Raises
        ------
        IdentityError
            The password is refused.
        """
        if not self.may_speak(transport):
            self._log_in(transport, self._password or "")
            self._logged_in = transport
        transport.drain(QUIET_S)
        self._quiet_console = False
        self.request(transport, "echo off")
        self._quiet_console = True
        transport.drain(0.02)

    def request(self, transport: Transport, command: str) -> list[str]:
        """Send a command and return the lines of its answer.

        Raises
        ------
        InstrumentError
            It was refused.
        ProtocolError
            It echoes again what it is sent: it was switched off and on.
        """
        transport.ask(command.encode("ascii") + b"\r\n")
        lines, final = self._answer(transport, time.monotonic() + self._timeout_s)
        if lines and lines[0] == command:  # the echo, when it is still on
            if self._quiet_console:
                raise ProtocolError(
                    f"{self.name}: {transport.address} echoes {command!r}: the controller was "
                    "switched off and on, or somebody else uses it"
                )
            del lines[0]
        if final == "ERROR":
            text = " ".join(lines) or "ERROR without a text"
            raise InstrumentError(f"{self.name}: {command!r} was refused: {text}")
        return lines

    def resync(self, transport: Transport, controller: Controller | None) -> None:
        """Throw away what is late, until the controller says who it is.

        Nothing in an answer tells which question it belongs to.  So the version is asked for and
        then serial numbers of modules, each time in another order: late answers, even to the same
        questions, do not come in this order.

        Raises
        ------
        IdentityError
            It is another controller now, or has another module.
        TransportTimeout
            It does not answer, or does not stop.
        """
        deadline = time.monotonic() + self._timeout_s
        transport.drain(QUIET_S)
        if controller is None:
            return
        # One that was switched off and on echoes what it is sent, and ends with a prompt.
        transport.write(b"echo off\r\n")
        self._answer(transport, deadline)
        transport.drain(0.02)
        self._quiet_console = True
        while not self._in_step(transport, controller, deadline):
            if time.monotonic() > deadline:
                raise TransportTimeout(f"{self.name}: {transport.address} answers out of step")
            transport.drain(QUIET_S)

    def _in_step(self, transport: Transport, controller: Controller, deadline: float) -> bool:
        axes = list(controller.modules)
        self._words += 1
        digits = [self._words // len(axes) ** i % len(axes) for i in range(WORD)] if axes else []
        if not self._says(transport, "ver", controller.version, controller, deadline):
            return False
        for axis in (axes[digit] for digit in digits):
            serial = (controller.modules[axis],)
            if not self._says(transport, f"getser {axis}", serial, controller, deadline):
                return False
        return not transport.drain(0.0).strip(PADDING + PROMPT)

    def _says(
        self,
        transport: Transport,
        command: str,
        expected: Sequence[str],
        controller: Controller,
        deadline: float,
    ) -> bool:
        transport.write(command.encode("ascii") + b"\r\n")
        lines, _final = self._answer(transport, deadline)
        found = tuple(lines)[-len(expected) :]
        if found == tuple(expected):
            return True
        known = {*controller.version, *controller.modules.values()}
        for line in lines:
            cut = any(one.startswith(line) for one in known)  # the same, without its end
            if not cut and ("controller version" in line or line.startswith("AN")):
                was = expected[0]
                raise IdentityError(
                    f"{self.name}: {transport.address} was {was!r} and is now {line!r}"
                )
        return False

    def _log_in(self, transport: Transport, password: str) -> None:
        deadline = time.monotonic() + 2.0 * self._timeout_s
        # Telnet negotiation comes first; the prompt's text differs between firmwares, so what is
        # waited for is that the console falls silent after having said something.
        banner = transport.read_exactly(1, deadline) + transport.drain(0.1)
        transport.write(password.encode("ascii") + b"\r\n")
        said = strip_telnet(banner)
        while True:
            try:
                line = strip_telnet(transport.read_until(b"\n", deadline)).decode("ascii").strip()
            except TransportTimeout:
                raise IdentityError(
                    f"{self.name}: {transport.address} did not accept the password (it said "
                    f"{excerpt(said)})"
                ) from None
            said += line.encode() + b"\n"
            if "success" in line.lower():
                return
            if any(word in line.lower() for word in ("fail", "denied", "wrong", "error")):
                raise IdentityError(
                    f"{self.name}: {transport.address} refused the password: {line!r}; check "
                    "'password' in the station file"
                )

    def _answer(self, transport: Transport, deadline: float) -> tuple[list[str], str]:
        lines: list[str] = []
        while len(lines) < LONGEST_ANSWER:
            raw = strip_telnet(transport.read_until(b"\n", deadline))
            while raw.startswith(PROMPT):
                raw = raw[len(PROMPT) :]
            line = raw.decode("ascii").strip()
            if line in ("OK", "ERROR"):
                return lines, line
            if line:  # some firmwares send a stray empty line
                lines.append(line)
        raise ProtocolError(f"{self.name}: no OK or ERROR after {LONGEST_ANSWER} lines")
