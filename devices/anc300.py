"""Driver for the attocube ANC300 piezo controller's text console.

It knows nothing of ophyd: every method queues a job on a :class:`~stmtem_control.link.Link` and
returns a Future.  The same console answers on USB (a serial port, no password) and on TCP port
7230 (telnet bytes and a password first).

Source: attocube ANC300 User Manual, chapter "Console Commands".
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, TypeVar

from stmtem_control.errors import IdentityError, InstrumentError, LimitError, ProtocolError
from stmtem_control.link import LOOK, SAFE, Link
from stmtem_control.transport import Transport

from .anc300_console import Console, Controller, parse_value
from .anc300_memory import SettingsMemory

T = TypeVar("T")
Mode = Literal["gnd", "inp", "cap", "stp", "off", "stp+", "stp-"]
MODES: tuple[Mode, ...] = ("gnd", "inp", "cap", "stp", "off", "stp+", "stp-")
MAX_OUTPUT_V = 150.0  # of amplitude and of offset
MAX_FREQUENCY_HZ = 10_000


class Anc300:
    """One controller on a link.

    Parameters
    ----------
    link : Link
        Its connection; the driver sets ``resync``, ``identify`` and ``restore``.
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
        self._expected = identity
        self._console = Console(link.name, password, timeout_s)
        self._memory = SettingsMemory(self._console)
        link.resync = lambda transport: self._console.resync(transport, self.controller)
        link.identify = self._identify_again
        link.restore = self._memory.restore

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
            lambda transport: self._console.request(transport, command),
            name=command,
            topic="" if axis is None else f"axis {axis}",
        )

    def _set(self, letter: str, axis: int, value: str) -> "Future[list[str]]":
        return self.link.submit(
            lambda transport: self._memory.set(transport, letter, axis, value),
            name=f"set{letter} {axis} {value}",
            topic=f"axis {axis}",
        )

    def getser(self, axis: int) -> "Future[str]":
        """Read the serial number of an axis's module; it begins with its type."""
        return self._ask(f"getser {axis}", lambda lines: lines[0] if lines else "")

    def setm(self, axis: int, mode: Mode) -> "Future[list[str]]":
        """Set the mode of an axis; ``gnd`` takes the output to ground."""
        if mode not in MODES:
            raise LimitError(f"{self.link.name}: mode {mode!r}; the axes know {', '.join(MODES)}")
        return self._set("m", axis, mode)

    def getm(self, axis: int) -> "Future[str]":
        """Read the mode of an axis."""
        return self._ask(f"getm {axis}", lambda lines: parse_value(lines, "mode"))

    def seta(self, axis: int, volts: float) -> "Future[list[str]]":
        """Set the DC offset of an axis, 0 to 150 V."""
        self._check(volts, MAX_OUTPUT_V, f"an offset of {volts} V on axis {axis}")
        return self._set("a", axis, f"{volts:.6f}")

    def geta(self, axis: int) -> "Future[float]":
        """Read the DC offset of an axis in V."""
        return self._number(f"geta {axis}", "voltage")

    def setf(self, axis: int, hertz: int) -> "Future[list[str]]":
        """Set the step frequency of an axis, 1 to 10 000 Hz."""
        if not 1 <= hertz <= MAX_FREQUENCY_HZ:
            raise LimitError(
                f"{self.link.name}: {hertz} Hz on axis {axis}; the axes take 1 to 10000 Hz"
            )
        return self._set("f", axis, f"{int(hertz)}")

    def getf(self, axis: int) -> "Future[float]":
        """Read the step frequency of an axis in Hz."""
        return self._number(f"getf {axis}", "frequency")

    def setv(self, axis: int, volts: float) -> "Future[list[str]]":
        """Set the step amplitude of an axis, 0 to 150 V."""
        self._check(volts, MAX_OUTPUT_V, f"an amplitude of {volts} V on axis {axis}")
        return self._set("v", axis, f"{volts:.6f}")

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
            lambda transport: self._stop(transport, axes),
            SAFE,
            name="stopping",
            drops=self._topics(axes),
            blind=lambda transport: self._say_stop(transport, axes),
        )

    def ground(self, axes: Sequence[int] | None = None) -> "Future[list[int]]":
        """Stop axes (all by default) and take their outputs to ground, before all that waits."""

        def job(transport: Transport) -> list[int]:
            self._stop(transport, axes)
            return self._try_each(axes, lambda axis: self._memory.set(transport, "m", axis, "gnd"))

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
        if self.controller is not None and self._console.may_speak(transport):
            numbers = self.axes if axes is None else axes
            transport.write("".join(f"stop {axis}\r\n" for axis in numbers).encode("ascii"))

    def _stop(self, transport: Transport, axes: Sequence[int] | None) -> list[int]:
        return self._try_each(axes, lambda axis: self._console.request(transport, f"stop {axis}"))

    def _try_each(self, axes: Sequence[int] | None, action: Callable[[int], object]) -> list[int]:
        done, refused = [], []
        for axis in self.axes if axes is None else axes:
            try:
                action(axis)
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
        lines = self._console.request(transport, f"geto {axis}")
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
            lambda transport: value(self._console.request(transport, command)), name=command
        )

    def _open(self, transport: Transport) -> Controller:
        self._memory.forget()
        self._console.greet(transport)
        version = tuple(self._console.request(transport, "ver"))
        if not any(self._expected in line for line in version):
            raise IdentityError(
                f"{self.link.name}: expected {self._expected!r} at {transport.address}, found "
                f"{' '.join(version)!r}; check address and identity in the station file"
            )
        modules = {}
        for axis in self.axes:
            try:
                modules[axis] = self._console.request(transport, f"getser {axis}")[0]
            except (InstrumentError, IndexError) as error:
                raise IdentityError(
                    f"{self.link.name}: no module for axis {axis} in the ANC300 at "
                    f"{transport.address} ({error}); check the axes in the station file"
                ) from None
        self.controller = Controller(version, modules)
        return self.controller

    def _identify_again(self, transport: Transport) -> None:
        """On a connection that was opened again: log in and make sure who is there."""
        if self.controller is None:
            self._open(transport)
        else:
            self._console.greet(transport)
            self._console.resync(transport, self.controller)
