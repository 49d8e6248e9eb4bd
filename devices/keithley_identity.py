"""Who is at the other end: the check of a source's identity, and getting back in step with it."""

import logging
import time

from stmtem_control.errors import IdentityError
from stmtem_control.transport import Transport, excerpt

from .keithley_answers import Identity, parse_identity
from .scpi import Scpi

log = logging.getLogger(__name__)


class IdentityCheck:
    """Makes sure that it is the source that the station file names, and stays the same.

    Parameters
    ----------
    scpi : Scpi
        How it is spoken to.
    model, serial_number : str
        What ``*IDN?`` must name; an empty string accepts any.
    """

    def __init__(self, scpi: Scpi, model: str, serial_number: str) -> None:
        self.found: Identity | None = None
        self._scpi = scpi
        self._model = model
        self._serial_number = serial_number
        self._number = 0

    def open(self, transport: Transport, busy_s: float = 0.0) -> Identity:
        """Empty the connection and find out who is there.

        It may be busy for `busy_s` wall seconds, with a hold that a dead session has left.

        Raises
        ------
        IdentityError
            It is another instrument than asked for, or speaks another language.
        """
        transport.drain(0.05)
        identity = parse_identity(self._scpi.query(transport, "*IDN?", busy_s))
        self._check(transport, identity)
        self.found = identity
        return identity

    def resync(self, transport: Transport) -> None:
        """Throw away what is late, until the instrument gives its identity again.

        Another answer to ``*IDN?`` may be late as well, so the same message carries a number that
        was not used lately: it goes into the standard event status enable register (IEEE 488.2,
        10.10 and 10.11), which nothing here uses, and comes back before the name.

        Raises
        ------
        IdentityError
            It is another one now.
        TransportTimeout
            It does not answer, or does not stop.
        """
        name = self._scpi.name
        transport.drain(0.05)
        deadline = time.monotonic() + self._scpi.timeout_s
        found = self._identity_and_number(transport, deadline)
        while late := transport.drain(0.0):
            log.info("%s: more late answers: %s", name, excerpt(late))
            found = self._identity_and_number(transport, deadline)
        if self.found is not None and found != self.found:
            raise IdentityError(
                f"{name}: {transport.address} was {self.found.text!r} and is now {found.text!r}"
            )
        for error in self._scpi.errors(transport):
            log.warning("%s: left in the error queue: %s", name, error)

    def _identity_and_number(self, transport: Transport, deadline: float) -> Identity:
        """Ask, and pass over all answers but an identity with this number."""
        self._number = self._number % 255 + 1
        # The name is the last: an answer of no fixed form ends its message (IEEE 488.2, 6.3.6).
        embedded = self._scpi.say(transport, f"*ESE {self._number};*ESE?;*IDN?")
        while True:
            line = transport.read_until(b"\n", deadline).decode("ascii", "replace").strip()
            if embedded:
                line = line.partition(";")[2]
            number, _, name = line.partition(";")
            if not _is_number(number, self._number):
                continue
            if self.found is not None and name == self.found.text:
                return self.found
            if name.count(",") >= 3 and "KEITHLEY" in name.upper():
                return parse_identity(name)

    def _check(self, transport: Transport, found: Identity) -> None:
        name = self._scpi.name
        wanted = " ".join(filter(None, (self._model, self._serial_number)))
        same_model = not self._model or found.model.upper() == self._model.upper()
        same_serial = not self._serial_number or found.serial == self._serial_number
        if not (same_model and same_serial and "KEITHLEY" in found.manufacturer.upper()):
            raise IdentityError(
                f"{name}: expected a Keithley {wanted or 'source'} at "
                f"{transport.address}, found {found.text!r}; check the address in the station file"
            )
        if found.model.startswith("2450"):
            language = self._scpi.query(transport, "*LANG?")
            if language != "SCPI2400":
                raise IdentityError(
                    f"{name}: the 2450 at {transport.address} speaks {language}; send "
                    "it '*LANG SCPI2400' and switch it off and on"
                )


def _is_number(line: str, number: int) -> bool:
    try:
        return float(line) == number
    except ValueError:
        return False
