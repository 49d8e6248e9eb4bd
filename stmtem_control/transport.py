"""What a link needs from a wire: bytes out, bytes in, and deadlines that hold.

Library time-outs start again with every byte that arrives, so a dripping instrument would block a
caller for ever.  Deadlines here are points in ``time.monotonic()`` and are kept by this module.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from .errors import ProtocolError, TransportError, TransportTimeout

log = logging.getLogger("stmtem_control.wire")

LONGEST_REPLY = 1 << 20  # a line longer than this is not an answer but noise
PADDING = b" \t\r\n\0"  # what some instruments send after an answer's end
# An answer may take so long once a whole deadline went by without a byte; after a second time; and
# from the third on, when nobody expects one any more.  One that comes later is heard by the next.
SILENT_S = (0.25, 0.15, 0.06)
HEED_S = 0.05  # then, how often it is looked whether a stop waits
SLICE_S = 0.2  # the longest single wait inside the operating system or a library


class Transport(Protocol):
    """An open connection to one instrument; used by one thread at a time."""

    address: str

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def ask(self, data: bytes) -> None:
        """Send all of `data`, a question, if nothing came that nobody asked for."""
        ...

    def read_until(self, terminator: bytes, deadline: float) -> bytes:
        """Return the bytes up to and including `terminator`."""
        ...

    def read_exactly(self, n: int, deadline: float) -> bytes:
        """Return the next `n` bytes."""
        ...

    def drain(self, quiet_s: float = 0.0) -> bytes:
        """Drop what has arrived, until nothing comes for `quiet_s`; return what was dropped."""
        ...

    def close(self) -> None:
        """Close; safe to call again."""
        ...


def excerpt(data: bytes | bytearray, longest: int = 120) -> str:
    """Return `data` as text for a message or a log line, shortened if it is long."""
    text = ascii(bytes(data[:longest]).decode("latin-1"))
    return f"{text}... ({len(data)} bytes)" if len(data) > longest else text


def reason_of(error: BaseException) -> str:
    """Return what an error of a library or the operating system says, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


class BufferedTransport(ABC):
    """A transport made of two primitives: send everything, receive what is there.

    Parameters
    ----------
    address : str
        Where the instrument is, as the station file names it; quoted in every error.

    Attributes
    ----------
    on_wait : callable, optional
        Called in the reading thread whenever another :data:`SLICE_S` has passed without all of
        the awaited bytes; it may write, and what it raises ends the read.
    """

    slice_s = SLICE_S

    def __init__(self, address: str) -> None:
        self.address = address
        self.on_wait: Callable[[], None] | None = None
        self._buffer = bytearray()
        self._quiet = False  # looked for unasked bytes since anything was sent or received
        self._greeted = False  # something has been sent
        self._heard = False  # since something was sent
        self._silences = 0  # questions in a row that had not a byte of an answer
        self._last_write = b""
        self._written_at = self._looked_at = time.monotonic()

    @abstractmethod
    def _send(self, data: bytes) -> None:
        """Send all of `data` or raise OSError."""

    @abstractmethod
    def _receive(self, seconds: float) -> bytes:
        """Return what arrives within `seconds`, at least one byte; b"" when nothing came.

        A closed connection raises EOFError, TransportError or OSError; it never looks like
        silence.
        """

    def _at_hand(self) -> bytes:
        """Return what is there already."""
        return self._received(0.0)

    @abstractmethod
    def _close(self) -> None:
        """Close the connection."""

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises
        ------
        TransportError
            The connection is broken or closed.
        """
        self._quiet, self._greeted, self._heard = False, True, False
        self._last_write = data
        self._written_at = self._looked_at = time.monotonic()
        try:
            self._send(data)
        except TransportError:
            raise
        except OSError as error:
            raise self._broken(f"sending {excerpt(data)} failed", error) from error
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s <- %s", self.address, excerpt(data))

    def ask(self, data: bytes) -> None:
        """Send all of `data`, a question, after a look that no other answer would be its answer.

        Raises
        ------
        ProtocolError
            Bytes came that nobody asked for, a duplicate perhaps; nothing was sent.
        TransportError
            The connection is broken or closed.
        """
        if not self._quiet and (stray := self.unasked()):
            raise ProtocolError(
                f"{self.address}: {excerpt(stray)} came unasked, {excerpt(data)} was not sent"
            )
        self.write(data)

    def unasked(self) -> bytes:
        """Return what has come beside answers, without taking it; empty lines are dropped.

        A greeting, before anything was sent, does not count.
        """
        if not self._buffer:
            self._buffer += self._at_hand()
        if not self._greeted and self._buffer:
            return b""
        if self._buffer and not self._buffer.strip(PADDING):
            self._buffer.clear()
        self._quiet = not self._buffer
        return bytes(self._buffer)

    def read_until(self, terminator: bytes, deadline: float) -> bytes:
        """Return the bytes up to and including `terminator`.

        Raises
        ------
        TransportTimeout
            The terminator did not come before `deadline` (``time.monotonic()`` seconds).
        TransportError
            The connection is broken or closed.
        ProtocolError
            More than a mebibyte came without the terminator.
        """
        searched = 0
        while True:
            place = self._buffer.find(terminator, max(0, searched - len(terminator) + 1))
            if place >= 0:
                return self._take(place + len(terminator))
            searched = len(self._buffer)
            if searched > LONGEST_REPLY:
                raise ProtocolError(
                    f"{self.address}: {searched} bytes without {terminator!r}, "
                    f"beginning with {excerpt(self._buffer, 40)}"
                )
            self._fill(deadline)

    def read_exactly(self, n: int, deadline: float) -> bytes:
        """Return the next `n` bytes; raises as :meth:`read_until` does."""
        while len(self._buffer) < n:
            self._fill(deadline)
        return self._take(n)

    def drain(self, quiet_s: float = 0.0) -> bytes:
        """Drop what has arrived, until nothing comes for `quiet_s`; return what was dropped.

        At most one second, or ten times `quiet_s`, is spent on an instrument that never stops.
        """
        self._quiet = False
        dropped = bytes(self._buffer)
        self._buffer.clear()
        end = time.monotonic() + max(1.0, 10.0 * quiet_s)
        while time.monotonic() < end:
            data = self._received(quiet_s)
            if not data:
                break
            dropped += data
        if dropped:
            log.debug("%s dropped %s", self.address, excerpt(dropped))
        return dropped

    def give_up_early(self) -> None:
        """Wait :data:`SILENT_S` for answers at most, if the last question had none at all.

        The first byte ends that.  A frozen instrument would otherwise cost a whole deadline for
        each part that is to be made safe.
        """
        self._silences = 0 if self._heard else self._silences + 1

    @property
    def silences(self) -> int:
        """How many questions in a row, that were waited for in vain, had not a byte of answer."""
        return self._silences

    def close(self) -> None:
        """Close; safe to call again, never raises."""
        try:
            self._close()
        except OSError as error:
            log.debug("%s: closing: %s", self.address, error)

    def _fill(self, deadline: float) -> None:
        heed_s, slice_s = SLICE_S, self.slice_s
        if self._silences:
            patience_s = SILENT_S[min(self._silences, len(SILENT_S)) - 1]
            deadline, heed_s = min(deadline, self._written_at + patience_s), HEED_S
            slice_s = HEED_S if slice_s <= SLICE_S else slice_s
        left = deadline - time.monotonic()
        if left <= 0.0:
            waited = time.monotonic() - self._written_at
            got = f"only {excerpt(self._buffer)}" if self._buffer else "nothing"
            raise TransportTimeout(
                f"{self.address}: no complete answer to {excerpt(self._last_write)} within "
                f"{waited:.2f} s (received {got})"
            )
        if self.on_wait is not None and time.monotonic() - self._looked_at >= heed_s:
            self._looked_at = time.monotonic()
            self.on_wait()
        self._buffer += self._received(min(left, slice_s))

    def _received(self, seconds: float) -> bytes:
        try:
            data = self._receive(seconds)
        except TransportError:
            raise
        except EOFError:
            raise self._gone() from None
        except OSError as error:
            raise self._broken("receiving failed", error) from error
        if data:
            self._heard, self._silences = True, 0
        return data

    def _take(self, n: int) -> bytes:
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s -> %s after %.2f ms",
                self.address,
                excerpt(data),
                1e3 * (time.monotonic() - self._written_at),
            )
        return data

    def _broken(self, what: str, error: BaseException) -> TransportError:
        return TransportError(f"{self.address}: {what}: {reason_of(error)}")

    def _gone(self) -> TransportError:
        return TransportError(f"{self.address}: the instrument closed the connection")
