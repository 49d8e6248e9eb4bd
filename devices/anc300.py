"""Driver for the attocube ANC300 piezo controller's text console.

It knows nothing of ophyd: every method queues a job on a :class:`~stmtem_control.link.Link` and
returns a Future.  The same console answers on USB (a serial port, no password) and on TCP port
7230 (telnet bytes and a password first).

Source: attocube ANC300 User Manual, chapter "Console Commands".
"""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeVar

from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from stmtem_control.link import LOOK, SAFE, Link
from stmtem_control.transport import Transport, excerpt

T = TypeVar("T")
Mode = Literal["gnd", "inp", "cap", "stp", "off", "stp+", "stp-"]
MODES: tuple[Mode, ...] = ("gnd", "inp", "cap", "stp", "off", "stp+", "stp-")
MAX_OUTPUT_V = 150.0  # of amplitude and of offset
MAX_FREQUENCY_HZ = 10_000
PROMPT = b"> "
VALUE_LINE = re.compile(r"^([A-Za-z]+)\s*=\s*(\S+)(?:\s+(\S+))?$")
LONGEST_ANSWER = 300  # lines; the longest one, a waveform, has 256
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


class Anc300:
    """One controller on a link.

    Parameters
    ----------
    link : Link
        Its connection; the driver sets ``link.resync``.
    axes : sequence of int
        The axis numbers (module slots) in use.
    identity : str
        What the answer to ``ver`` must contain.
    password : str, optional
        For the TCP console; none for a serial port.
    timeout_s : float
        Wall seconds an answer may take.
    """

    def __init__(
        self,
        link: Link,
        *,
        axes: Sequence[int] = (1, 2, 3),
        identity: str = "ANC300",
        password: str | None = None,
        timeout_s: float = 1.0,
    ) -> None:
        self.link = link
        self.axes = tuple(axes)
        self.controller: Controller | None = None
        self._logged_in: Transport | None = None
        self._expected = identity
        self._password = password
        self._timeout_s = timeout_s
        link.resync = self._resync
        link.identify = self._identify_again

    # Everything public returns a Future; what it does runs in the link's worker.

    def open(self) -> "Future[Controller]":
        """Log in, switch the echo off, and find out which modules there are.

        The Future fails with IdentityError when it is no ANC300, when the password is refused, or
        when an axis has no module.
        """
        return self.link.submit(self._open, name="identification")

    def request(self, command: str, axis: int | None = None) -> "Future[list[str]]":
        """Send one console command; the Future gives the lines before its ``OK``.

        It fails with InstrumentError, with the controller's text, on ``ERROR``.  A stop of `axis`
        drops the command while it waits.
        """
        return self.link.submit(
            lambda transport: self._request(transport, command),
            name=command,
            topic="" if axis is None else f"axis {axis}",
        )

    def getser(self, axis: int) -> "Future[str]":
        """Read the serial number of an axis's module; it begins with its type."""
        return self._ask(f"getser {axis}", lambda lines: lines[0] if lines else "")

    def setm(self, axis: int, mode: Mode) -> "Future[list[str]]":
        """Set the mode of an axis; ``gnd`` takes the output to ground."""
        if mode not in MODES:
            raise LimitError(f"{self.link.name}: mode {mode!r}; the axes know {', '.join(MODES)}")
        return self.request(f"setm {axis} {mode}", axis)

    def getm(self, axis: int) -> "Future[str]":
        """Read the mode of an axis."""
        return self._ask(f"getm {axis}", lambda lines: parse_value(lines, "mode"))

    def seta(self, axis: int, volts: float) -> "Future[list[str]]":
        """Set the DC offset of an axis, 0 to 150 V."""
        self._check(volts, MAX_OUTPUT_V, f"an offset of {volts} V on axis {axis}")
        return self.request(f"seta {axis} {volts:.6f}", axis)

    def geta(self, axis: int) -> "Future[float]":
        """Read the DC offset of an axis in V."""
        return self._number(f"geta {axis}", "voltage")

    def setf(self, axis: int, hertz: int) -> "Future[list[str]]":
        """Set the step frequency of an axis, 1 to 10 000 Hz."""
        if not 1 <= hertz <= MAX_FREQUENCY_HZ:
            raise LimitError(
                f"{self.link.name}: {hertz} Hz on axis {axis}; the axes take 1 to 10000 Hz"
            )
        return self.request(f"setf {axis} {int(hertz)}", axis)

    def getf(self, axis: int) -> "Future[float]":
        """Read the step frequency of an axis in Hz."""
        return self._number(f"getf {axis}", "frequency")

    def setv(self, axis: int, volts: float) -> "Future[list[str]]":
        """Set the step amplitude of an axis, 0 to 150 V."""
        self._check(volts, MAX_OUTPUT_V, f"an amplitude of {volts} V on axis {axis}")
        return self.request(f"setv {axis} {volts:.6f}", axis)

    def getv(self, axis: int) -> "Future[float]":
        """Read the step amplitude of an axis in V."""
        return self._number(f"getv {axis}", "voltage")

    def step(self, axis: int, steps: int) -> "Future[list[str]]":
        """Start a train of steps, upward if positive; the console answers before it ends."""
        command = "stepu" if steps > 0 else "stepd"
        return self.request(f"{command} {axis} {abs(steps)}", axis)

    def geto(self, axis: int, *, delay_s: float = 0.0) -> "Future[float]":
        """Read the live output of an axis in V, not before `delay_s` wall seconds from now.

        When a train of steps has ended it is back at its resting value.
        """
        return self.link.submit(
            lambda transport: self._read_output(transport, axis),
            LOOK,
            name=f"geto {axis}",
            topic=f"axis {axis}",
            delay_s=delay_s,
        )

    def getc(self, axis: int) -> "Future[float | None]":
        """Read the capacitance of an axis in nF; None before it was measured (``setm n cap``)."""

        def value(lines: list[str]) -> float | None:
            text = parse_value(lines, "capacitance")
            return None if text == "?" else self._to_float(text, lines)

        return self._ask(f"getc {axis}", value)

    def stop(self, axes: Sequence[int] | None = None) -> "Future[list[int]]":
        """Stop axes (all by default) before all that waits; the Future gives those stopped.

        Every axis is tried even if one refuses, and the stops are sent at once, ahead of
        everything, when the controller does not answer.
        """
        return self.link.submit(
            lambda transport: self._try_each(transport, "stop {}", axes),
            SAFE,
            name="stopping",
            drops=self._topics(axes),
            blind=lambda transport: self._say_stop(transport, axes),
        )

    def ground(self, axes: Sequence[int] | None = None) -> "Future[list[int]]":
        """Stop axes (all by default) and take their outputs to ground, before all that waits."""

        def job(transport: Transport) -> list[int]:
            self._try_each(transport, "stop {}", axes)
            return self._try_each(transport, "setm {} gnd", axes)

        return self.link.submit(
            job,
            SAFE,
            name="grounding",
            drops=self._topics(axes),
            blind=lambda transport: self._say_stop(transport, axes),
        )

    # The rest runs in the worker.

    def _topics(self, axes: Sequence[int] | None) -> list[str]:
        return [f"axis {axis}" for axis in (self.axes if axes is None else axes)]

    def _say_stop(self, transport: Transport, axes: Sequence[int] | None) -> None:
        """Stop axes without waiting for answers; not before a log-in, it would be the password."""
        may_speak = self._password is None or self._logged_in is transport
        if self.controller is not None and may_speak:
            numbers = self.axes if axes is None else axes
            transport.write("".join(f"stop {axis}\r\n" for axis in numbers).encode("ascii"))

    def _try_each(
        self, transport: Transport, template: str, axes: Sequence[int] | None
    ) -> list[int]:
        done, refused = [], []
        for axis in self.axes if axes is None else axes:
            try:
                self._request(transport, template.format(axis))
                done.append(axis)
            except InstrumentError as error:
                refused.append(str(error))
        if refused:
            raise InstrumentError("; ".join(refused))
        return done

    def _check(self, volts: float, highest: float, what: str) -> None:
        if not 0.0 <= volts <= highest:
            raise LimitError(f"{self.link.name}: {what}; the controller takes 0 to {highest:g} V")

    def _read_output(self, transport: Transport, axis: int) -> float:
        lines = self._request(transport, f"geto {axis}")
        return self._to_float(parse_value(lines, "voltage"), lines)

    def _number(self, command: str, name: str) -> "Future[float]":
        return self._ask(command, lambda lines: self._to_float(parse_value(lines, name), lines))

    def _to_float(self, text: str, lines: list[str]) -> float:
        try:
            return float(text)
        except ValueError:
            raise ProtocolError(f"{self.link.name}: no number in {lines!r}") from None

    def _ask(self, command: str, value: Callable[[list[str]], T]) -> "Future[T]":
        return self.link.submit(
            lambda transport: value(self._request(transport, command)), name=command
        )

    def _open(self, transport: Transport) -> Controller:
        self._greet(transport)
        version = tuple(self._request(transport, "ver"))
        if not any(self._expected in line for line in version):
            raise IdentityError(
                f"{self.link.name}: expected {self._expected!r} at {transport.address}, found "
                f"{' '.join(version)!r}; check address and identity in the station file"
            )
        modules = {}
        for axis in self.axes:
            try:
                modules[axis] = self._request(transport, f"getser {axis}")[0]
            except (InstrumentError, IndexError) as error:
                raise IdentityError(
                    f"{self.link.name}: no module for axis {axis} in the ANC300 at "
                    f"{transport.address} ({error}); check the axes in the station file"
                ) from None
        self.controller = Controller(version, modules)
        return self.controller

    def _greet(self, transport: Transport) -> None:
        """Log in, once on each connection, and switch the echo off."""
        if self._password is not None and self._logged_in is not transport:
            self._log_in(transport, self._password)
            self._logged_in = transport
        transport.drain(0.05)
        self._request(transport, "echo off")
        transport.drain(0.02)

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
                    f"{self.link.name}: {transport.address} did not accept the password (it said "
                    f"{excerpt(said)})"
                ) from None
            said += line.encode() + b"\n"
            if "success" in line.lower():
                return
            if any(word in line.lower() for word in ("fail", "denied", "wrong", "error")):
                raise IdentityError(
                    f"{self.link.name}: {transport.address} refused the password: {line!r}; check "
                    "'password' in the station file"
                )

    def _request(self, transport: Transport, command: str) -> list[str]:
        transport.write(command.encode("ascii") + b"\r\n")
        lines, final = self._answer(transport, time.monotonic() + self._timeout_s)
        if lines and lines[0] == command:  # the echo, when it is still on
            del lines[0]
        if final == "ERROR":
            text = " ".join(lines) or "ERROR without a text"
            raise InstrumentError(f"{self.link.name}: {command!r} was refused: {text}")
        return lines

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
        raise ProtocolError(f"{self.link.name}: no OK or ERROR after {LONGEST_ANSWER} lines")

    def _resync(self, transport: Transport) -> None:
        """Throw away what is late, until the controller gives its version again."""
        deadline = time.monotonic() + self._timeout_s
        transport.drain(0.05)
        if self.controller is None:
            return
        transport.write(b"ver\r\n")
        for _ in range(10):
            lines, _final = self._answer(transport, deadline)
            found = tuple(lines)[-len(self.controller.version) :]
            if found == self.controller.version:
                late = transport.drain(0.0)
                if late.strip(b"> \r\n"):
                    raise TransportTimeout(f"{self.link.name}: late answers: {excerpt(late)}")
                return
            if any("controller version" in line for line in lines):
                raise IdentityError(
                    f"{self.link.name}: {transport.address} was {self.controller.version[0]!r} "
                    f"and is now {lines[0]!r}"
                )
        raise TransportError(f"{self.link.name}: {transport.address} answers out of step")

    def _identify_again(self, transport: Transport) -> None:
        """On a connection that was opened again: log in and make sure who is there."""
        if self.controller is None:
            self._open(transport)
        else:
            self._greet(transport)
            self._resync(transport)
