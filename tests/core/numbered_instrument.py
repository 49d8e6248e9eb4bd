"""A small instrument that numbers its answers, on wires that do everything that wires can do.

The number is for the test, which knows from the instrument's own log which question an answer
belongs to; the driver sees it but cannot use it, as with real instruments.
"""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from stmtem_control.errors import IdentityError, InstrumentError, ProtocolError
from stmtem_control.link import SAFE, Link
from stmtem_control.transport import Transport

Kind = Literal[
    "none", "drop", "delay", "cut", "shorten", "corrupt", "drip", "twice", "late_twice",
    "noise", "close_before", "close_during", "power_off",
]  # fmt: skip


class Event(NamedTuple):
    """After so many seconds these bytes come, or None: the connection is closed.

    An instrument answers one question after the other; only what `floats` can come before what
    was sent earlier.
    """

    seconds: float
    what: bytes | None
    floats: bool = False


@dataclass(frozen=True)
class Fault:
    """What befalls one answer."""

    kind: Kind = "none"
    seconds: float = 0.0


def sealed(text: str) -> bytes:
    """Return an answer's bytes; the seal shows whether they are whole."""
    return f"{text} {zlib.crc32(text.encode()) & 0xFFFF:04x}\n".encode()


def unsealed(line: bytes) -> str:
    """Return what an answer says; raise ProtocolError unless it is whole."""
    text = line[:-1].decode("latin-1").rpartition(" ")[0]
    if sealed(text) != line:
        raise ProtocolError(f"wire: {line!r} is damaged")
    return text


@dataclass
class NumberedInstrument:
    """Answers ``ask``, ``get``, ``who`` and ``echo``; takes ``set`` and ``halt``.

    Parameters
    ----------
    faults : iterator
        What befalls the answers, one after the other; then nothing does.
    names : bool
        Whether an answer names its question, as Merlin's do; SCPI's do not.
    """

    faults: Iterator[Fault]
    names: bool = False
    serial: int = 1
    setting: str = "lost"
    asked: list[tuple[str, bool]] = field(default_factory=list)  # by number: what, and set?
    halts: int = 0
    strangers_asked: int = 0
    _partial: bytes = b""

    def received(self, data: bytes) -> list[Event]:
        """Take bytes; return what comes of them."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        events: list[Event] = []
        for line in lines:
            command, _, value = line.decode().partition(" ")
            if command == "set":
                self.setting = value
            elif command == "halt":
                self.halts += 1
            else:
                events += self._befallen(line.decode(), self._answer(command, value))
        return events

    def hung_up(self) -> None:
        """Forget half a question."""
        self._partial = b""

    def _answer(self, command: str, value: str) -> bytes:
        name = f"{command} {value} " if self.names else ""
        if command == "ask":
            self.strangers_asked += self.serial != 1
            self.asked.append((value, self.setting == "right"))
            return sealed(f"{name}{len(self.asked) - 1}")
        says = {"who": str(self.serial), "get": self.setting, "echo": f"echo{value}"}
        return sealed(name + says[command])

    def _befallen(self, question: str, answer: bytes) -> list[Event]:
        fault = next(self.faults, Fault())
        half = len(answer) // 2
        match fault.kind:
            case "drop":
                return []
            case "delay":
                return [Event(fault.seconds, answer)]
            case "cut":
                return [Event(0.0, answer[:half])]
            case "shorten":
                return [Event(0.0, answer[:half] + b"\n")]
            case "corrupt":
                return [Event(0.0, bytes([answer[0] ^ 0x1F]) + answer[1:])]
            case "drip":
                return [
                    Event((i + 1) * fault.seconds, answer[i : i + 1]) for i in range(len(answer))
                ]
            case "twice":
                return [Event(0.0, answer + answer)]
            case "late_twice":
                return [Event(0.0, answer), Event(fault.seconds, answer, floats=True)]
            case "noise":
                noise = b"\xff\x00noise\n"
                return [Event(0.0, answer), Event(fault.seconds, noise, floats=True)]
            case "close_before":
                return [Event(0.0, None)]
            case "close_during":
                return [Event(0.0, answer[:half]), Event(0.0, None)]
            case "power_off":
                self.setting = "lost"
                return []
        return [Event(0.0, answer)]


class NumberedDriver:
    """What a driver does on a link, with the seconds of a clock that the test chooses."""

    def __init__(
        self,
        link: Link,
        clock: Callable[[], float],
        *,
        names: bool,
        timeout_s: float,
        quiet_s: float,
    ) -> None:
        self.link = link
        self._clock = clock
        self._names = names
        self._timeout_s = timeout_s
        self._quiet_s = quiet_s
        self._echoes = 0
        link.resync, link.identify, link.restore = self.resync, self.identify, self.restore

    def question(self, transport: Transport, command: str, value: str) -> str:
        """Ask and return what the answer says."""
        transport.ask(f"{command} {value}\n".encode())
        answer = unsealed(transport.read_until(b"\n", self._clock() + self._timeout_s))
        return self.without_name(answer, f"{command} {value} ")

    def without_name(self, answer: str, name: str) -> str:
        """Return an answer without the name of its question, which must be there."""
        if not self._names:
            return answer
        if not answer.startswith(name):
            raise ProtocolError(f"wire: {name!r} was answered {answer!r}")
        return answer[len(name) :]

    def resync(self, transport: Transport) -> None:
        """Ask for an echo that was not asked for before; it may not be followed by anything.

        No other answer looks like it, as with a source's name behind a number.
        """
        transport.drain(self._quiet_s)
        deadline = self._clock() + self._timeout_s
        while True:
            self._echoes += 1
            transport.write(f"echo {self._echoes}\n".encode())
            name = f"echo {self._echoes} " if self._names else ""
            while transport.read_until(b"\n", deadline) != sealed(f"{name}echo{self._echoes}"):
                pass
            if not transport.drain(0.0):
                return

    def identify(self, transport: Transport) -> None:
        """Make sure that it is number 1."""
        self.resync(transport)
        who = self.question(transport, "who", "are you")
        if who != "1":
            raise IdentityError(f"wire: it was number 1 and is now number {who}")

    def restore(self, transport: Transport) -> None:
        """Set what is not set any more."""
        if self.question(transport, "get", "it") != "right":
            transport.write(b"set right\n")
            if self.question(transport, "get", "it") != "right":
                raise InstrumentError("wire: it does not take its setting")

    def submit(self, ident: int) -> "tuple[int, Future[str]]":
        """Ask a question with a number of its own."""
        job = lambda transport: self.question(transport, "ask", str(ident))  # noqa: E731
        return ident, self.link.submit(job, name=f"question {ident}", topic="ask")

    def stop(self, ident: int) -> "tuple[int, Future[str]]":
        """Halt, ahead of all that waits, and ask whether it was heard."""

        def job(transport: Transport) -> str:
            transport.write(b"halt\n")
            return self.question(transport, "ask", str(ident))

        blind = lambda transport: transport.write(b"halt\n")  # noqa: E731
        return ident, self.link.submit(job, SAFE, name="stop", drops=("ask",), blind=blind)
