"""Exchanges in SCPI: commands, questions, and the error queue that tells what was refused."""

import time
from collections.abc import Callable, Iterable

from stmtem_control.errors import InstrumentError, ProtocolError
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import Transport, excerpt

from .keithley_answers import parse_error

LONGEST_QUEUE = 12  # the error queue holds ten, and one for "Queue overflow"
ERRORS = ":SYST:ERR?"


class Scpi:
    """How one instrument is spoken to; all of it runs in the worker of its link.

    Parameters
    ----------
    name : str
        The instrument's name in the station file; it begins every error message.
    timeout_s : float
        Wall seconds an answer may take beyond the time of the measurement itself.
    now : callable
        Returns the time in s that exchanges are stamped with.
    """

    def __init__(self, name: str, timeout_s: float, now: Callable[[], float]) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.now = now

    def write(self, transport: Transport, *commands: str) -> None:
        """Send commands, each a message of its own, at once; nothing is read."""
        transport.write(_messages(commands))

    def ask(
        self, transport: Transport, command: str, measuring_s: float = 0.0
    ) -> tuple[str, Exchange]:
        """Send a question; return its answer, which may take `measuring_s` longer, and when."""
        sent = self.now()
        transport.ask(_messages([command]))
        answer = self.answer(transport, command, measuring_s)
        return answer, Exchange(sent, self.now())

    def query(self, transport: Transport, command: str, measuring_s: float = 0.0) -> str:
        """Send a question and return its answer, which may take `measuring_s` longer."""
        return self.ask(transport, command, measuring_s)[0]

    def answer(self, transport: Transport, command: str, measuring_s: float = 0.0) -> str:
        """Return the answer to a question that was sent."""
        deadline = time.monotonic() + self.timeout_s + measuring_s
        line = transport.read_until(b"\n", deadline)
        try:
            return line.decode("ascii").strip()
        except UnicodeDecodeError:
            raise ProtocolError(f"{self.name}: {command} was answered {excerpt(line)}") from None

    def number(self, transport: Transport, command: str) -> float:
        """Send a question whose answer is a number."""
        answer = self.query(transport, command)
        try:
            return float(answer)
        except ValueError:
            raise ProtocolError(
                f"{self.name}: {command} was answered {answer!r}, not a number"
            ) from None

    def set(self, transport: Transport, command: str) -> Exchange:
        """Send a command and look for an error; return the exchange, in which it took effect.

        The question goes out in the same packet, as a message of its own: one round trip, which
        no delayed acknowledgement can prolong, and a command that the instrument discards cannot
        take the question with it.

        Raises
        ------
        InstrumentError
            The instrument refused the command.
        """
        sent = self.now()
        transport.ask(_messages([command, ERRORS]))
        first = self.answer(transport, ERRORS)
        exchange = Exchange(sent, self.now())
        code, text = parse_error(first)
        if code:
            errors = [f"{code:+d} {text}", *self.errors(transport)]
            raise InstrumentError(f"{self.name}: {command} was refused: {'; '.join(errors)}")
        return exchange

    def errors(self, transport: Transport) -> list[str]:
        """Empty the error queue and return what was in it."""
        errors: list[str] = []
        for _ in range(LONGEST_QUEUE):
            code, text = parse_error(self.query(transport, ERRORS))
            if code == 0:
                break
            errors.append(f"{code:+d} {text}")
        return errors


def _messages(commands: Iterable[str]) -> bytes:
    return "".join(command + "\n" for command in commands).encode("ascii")
