"""The console of the piezo controller as a terminal sees it: lines, echo, prompt, login.

A request is a line; the reply is any number of text lines and then ``OK`` or ``ERROR``.  With
the echo on (as after power-up) what is typed comes back and the prompt ``> `` follows each
reply.  Over the network the console is a telnet service that asks for a password first.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from .clock import ClockClosed
from .server import Channel

VERSION = (
    "attocube ANC300 controller version 1.1.0-1304 2013-10-17 08:16",
    "ANC150 compatibillity console",  # the instrument's spelling
)
PROMPT = b"> "
ATTEMPTS = 3

# Telnet: IAC introduces a command; WILL/WONT/DO/DONT carry an option, SB..SE a block.
IAC, SE, SB, WILL, DONT = 255, 240, 250, 251, 254
ECHO, SUPPRESS_GO_AHEAD = 1, 3
NEGOTIATION = bytes([IAC, WILL, ECHO, IAC, WILL, SUPPRESS_GO_AHEAD])


class RefusedError(Exception):
    """The controller does not carry out a request; the text is the reply's message."""


class Interpreter(Protocol):
    """Who carries out the requests."""

    def execute(self, line: str, before_waiting: Callable[[], None]) -> str:
        """Carry out a request and return its text with line ends, empty for none.

        Raises
        ------
        RefusedError
            It is not carried out.
        """
        ...


class TelnetFilter:
    """Takes the telnet commands out of a stream that may be cut anywhere."""

    def __init__(self) -> None:
        self._state = "data"

    def strip(self, data: bytes) -> bytes:
        """Return what of `data` was typed."""
        typed = bytearray()
        for byte in data:
            if self._state == "data":
                if byte == IAC:
                    self._state = "command"
                else:
                    typed.append(byte)
            elif self._state == "command":
                if byte == IAC:
                    typed.append(byte)
                    self._state = "data"
                elif byte == SB:
                    self._state = "block"
                else:
                    self._state = "option" if WILL <= byte <= DONT else "data"
            elif self._state == "option":
                self._state = "data"
            elif self._state == "block":
                self._state = "block command" if byte == IAC else "block"
            else:
                self._state = "data" if byte == SE else "block"
        return bytes(typed)


class Session:
    """The conversation with one client."""

    def __init__(self, channel: Channel, interpreter: Interpreter, password: str | None) -> None:
        self._channel = channel
        self._interpreter = interpreter
        self._password = password
        self._attempts_left = ATTEMPTS
        self._telnet = TelnetFilter() if password is not None else None
        self._echo = True
        self._line = bytearray()
        self._after_return = False
        self._out = bytearray()
        if password is not None:
            banner = "".join(f"{line}\r\n" for line in (*VERSION, ""))
            self._out += NEGOTIATION + banner.encode() + b"Authorization code: "
        self._flush()

    def received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._telnet is not None:
            data = self._telnet.strip(data)
        for byte in data:
            self._typed(byte)
        self._flush()

    def _typed(self, byte: int) -> None:
        # CR, LF, CR LF and telnet's CR NUL all end a line.
        after_return, self._after_return = self._after_return, byte == 0x0D
        if byte in (0x0A, 0x00) and after_return:
            return
        if byte in (0x0A, 0x0D):
            line = self._line.decode("latin-1").strip()
            self._line.clear()
            if self._echo or self._password is not None:
                self._out += b"\r\n"
            self._entered(line)
        elif byte in (0x08, 0x7F):
            if self._line:
                self._line.pop()
                self._out += b"\b \b" if self._echo else b""
        else:
            self._line.append(byte)
            if self._password is not None:
                self._out += b"*"
            elif self._echo:
                self._out.append(byte)

    def _entered(self, line: str) -> None:
        if self._password is not None:
            self._log_in(line)
            return
        if line:
            try:
                text = self._execute(line)
            except RefusedError as error:
                text = f"{error}\r\nERROR\r\n"
            except ClockClosed:  # the bench is being closed while the console waits
                return
            else:
                text += "OK\r\n"
            self._out += text.encode("latin-1", "replace")
        if self._echo:
            self._out += PROMPT

    def _log_in(self, line: str) -> None:
        if line == self._password:
            self._password = None
            self._out += b"Authorization success\r\n" + PROMPT
            return
        self._out += b"Authorization failed\r\n"
        self._attempts_left -= 1
        if self._attempts_left:
            self._out += b"Authorization code: "
        else:
            self._flush()
            self._channel.hang_up()

    def _execute(self, line: str) -> str:
        words = line.split()
        if words[0] != "echo":
            return self._interpreter.execute(line, self._flush)
        if words[1:] not in (["on"], ["off"]):
            raise RefusedError("Wrong parameter: echo on|off")
        self._echo = words[1] == "on"
        return ""

    def _flush(self) -> None:
        if self._out:
            data = bytes(self._out)
            self._out.clear()
            self._channel.send(data)


class Console:
    """A port of the controller; a Talker.  With a password, its clients must log in."""

    def __init__(self, interpreter: Interpreter, password: str | None = None) -> None:
        self._interpreter = interpreter
        self._password = password
        self._lock = threading.Lock()
        self._sessions: dict[Channel, Session] = {}

    def opened(self, channel: Channel) -> None:
        """Greet a new client."""
        session = Session(channel, self._interpreter, self._password)
        with self._lock:
            self._sessions[channel] = session

    def received(self, channel: Channel, data: bytes) -> None:
        """Take bytes as they come, cut anywhere."""
        with self._lock:
            session = self._sessions[channel]
        session.received(data)

    def closed(self, channel: Channel) -> None:
        """Forget a client that has gone."""
        with self._lock:
            self._sessions.pop(channel, None)
