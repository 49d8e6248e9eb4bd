"""Exchanges in SCPI: commands, questions, and the error queue that tells what was refused."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from stmtem_control.errors import InstrumentError, ProtocolError
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import Transport, excerpt

from .keithley_answers import parse_error

LONGEST_QUEUE = 12  # the error queue holds ten, and one for "Queue overflow"
ERRORS = ":SYST:ERR?"


class Hold(Protocol):
    """An operation of the instrument in which commands must be embedded, see ``keithley_hold``."""

    running: bool

    def frame(self, transport: Transport, command: str) -> str:
        """Return the message that has `command` carried out."""
        ...

    def confirm(self, transport: Transport, output: str) -> bool:
        """Take an answer to ``:OUTP?``; return whether the output was on."""
        ...


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

    Attributes
    ----------
    hold : Hold or None
        While it runs, questions and commands go out as it says.
    """

    def __init__(self, name: str, timeout_s: float, now: Callable[[], float]) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.now = now
        self.hold: Hold | None = None

    def write(self, transport: Transport, *commands: str) -> None:
        """Send commands, each a message of its own, at once; nothing is read."""
        transport.write(_messages(commands))

    def ask(
        self, transport: Transport, command: str, measuring_s: float = 0.0
    ) -> tuple[str, Exchange]:
        """Send a question; return its answer, which may take `measuring_s` longer, and when."""
        sent = self.now()
        message, embedded = self._embedded(transport, command)
        transport.ask(_messages([message]))
        answer = self.answer(transport, command, measuring_s)
        if embedded and self.hold is not None:
            output, _, answer = answer.partition(";")
            self.hold.confirm(transport, output)
        return answer, Exchange(sent, self.now())

    def say(self, transport: Transport, command: str) -> bool:
        """Send a command or a question; nothing is read.

        Returns whether it went out in a hold: then the answer begins with that to ``:OUTP?`` and
        a semicolon.
        """
        message, embedded = self._embedded(transport, command)
        self.write(transport, message)
        return embedded

    def _embedded(self, transport: Transport, command: str) -> tuple[str, bool]:
        """Return the message that has `command` carried out, and whether it is one of a hold."""
        if self.hold is None or not self.hold.running:
            return command, False
        message = self.hold.frame(transport, command)
        return message, self.hold.running

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
        return self.timed_number(transport, command)[0]

    def timed_number(self, transport: Transport, command: str) -> tuple[float, Exchange]:
        """Send a question whose answer is a number; return that, and when."""
        answer, exchange = self.ask(transport, command)
        try:
            number = float(answer)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ProtocolError(f"{self.name}: {command} was answered {answer!r}, not a number")
        return number, exchange

    def set(
        self, transport: Transport, command: str, taken: "Callable[[str], bool] | None" = None
    ) -> Exchange:
        """Send a command and look for an error; return the exchange, in which it took effect.

        The question goes out in the same packet, as a message of its own: one round trip, which
        no delayed acknowledgement can prolong, and a command that the instrument discards cannot
        take the question with it.

        Parameters
        ----------
        transport : Transport
        command : str
            A header and a value.
        taken : callable, optional
            Judges what is read back, in the same exchange: a message that was lost on its way
            leaves no error behind.  See :func:`near` and :func:`says`.

        Raises
        ------
        InstrumentError
            The instrument refused the command, or reads back something else.
        """
        sent = self.now()
        message, embedded = self._embedded(transport, command)
        question = ERRORS if taken is None else f"{ERRORS};{command.partition(' ')[0]}?"
        # In a hold, the second starts it again even if the first was discarded.
        transport.ask(_messages([message, f":ABOR;{question};:INIT" if embedded else question]))
        output = self.answer(transport, command) if embedded else ""
        first = self.answer(transport, question)
        if embedded and self.hold is not None:
            self.hold.confirm(transport, output)
        exchange = Exchange(sent, self.now())
        found = ""
        if taken is not None:
            first, _, found = first.rpartition(";")
        code, text = parse_error(first)
        if code:
            errors = [f"{code:+d} {text}", *self.errors(transport)]
            raise InstrumentError(f"{self.name}: {command} was refused: {'; '.join(errors)}")
        if taken is not None and not taken(found):
            raise InstrumentError(
                f"{self.name}: {command} was sent, but it reads back {found!r}: the message was "
                "lost on its way, or somebody else uses the instrument; look at the cable"
            )
        return exchange

    def carry_out(
        self, transport: Transport, commands: Iterable[str], *questions: str, first: str = ""
    ) -> tuple[Exchange, list[str], list[str]]:
        """Send commands and questions in one packet: one round trip, all is tried.

        `first` stands before the questions, in their message.

        Returns
        -------
        tuple
            The exchange, the errors that were in the queue, and an answer to each question.

        Raises
        ------
        ProtocolError
            There are not as many answers as questions.
        """
        sent = self.now()
        asked = ";".join((*([first] if first else []), ERRORS, *questions))
        transport.ask(_messages([*commands, asked]))
        answers = self.answer(transport, asked).rsplit(";", len(questions))
        exchange = Exchange(sent, self.now())
        if len(answers) != 1 + len(questions):
            raise ProtocolError(f"{self.name}: {asked} was answered {answers!r}")
        code, text = parse_error(answers[0])
        errors = [f"{code:+d} {text}", *self.errors(transport)] if code else []
        return exchange, errors, answers[1:]

    def errors(self, transport: Transport) -> list[str]:
        """Empty the error queue and return what was in it."""
        errors: list[str] = []
        for _ in range(LONGEST_QUEUE):
            code, text = parse_error(self.query(transport, ERRORS))
            if code == 0:
                break
            errors.append(f"{code:+d} {text}")
        return errors


def near(value: float, slack: float = 0.0) -> Callable[[str], bool]:
    """Return what judges an answer: a number that is `value`, +- `slack` and a thousandth."""

    def judge(answer: str) -> bool:
        try:
            return math.isclose(float(answer), value, rel_tol=1e-3, abs_tol=slack)
        except ValueError:
            return False

    return judge


def says(word: str) -> Callable[[str], bool]:
    """Return what judges an answer: this word, in its short or long form; ON is 1, OFF is 0."""
    accepted = {"ON": ("ON", "1"), "OFF": ("OFF", "0")}.get(word, (word,))
    return lambda answer: answer.upper().startswith(accepted)


def _messages(commands: Iterable[str]) -> bytes:
    return "".join(command + "\n" for command in commands).encode("ascii")
