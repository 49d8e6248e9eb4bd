"""Driver for source-measure units that speak Keithley's SCPI-2400 dialect.

The 2400 family, the 6430, and a 2450 switched to that language with ``*LANG SCPI2400``.
It knows nothing of ophyd: every method queues a job on a :class:`~stmtem_control.link.Link` and
returns a Future.

Source: Keithley 2400 Series SourceMeter User's Manual, 2400S-900-01, sections 9, 10, 17 and 18.
"""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future

from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    TransportTimeout,
)
from stmtem_control.link import NORMAL, SAFE, Link
from stmtem_control.transport import Transport, excerpt

from .keithley_answers import Identity, Reading, SourceState, parse_identity, parse_reading
from .scpi import Scpi

log = logging.getLogger(__name__)


class Keithley2400:
    """One source-measure unit on a link.

    Parameters
    ----------
    link : Link
        Its connection; the driver sets ``link.resync``.
    model : str
        What ``*IDN?`` must name, for example ``"6430"``; an empty string accepts any.
    serial_number : str
        What ``*IDN?`` must name; an empty string accepts any.
    now : callable
        Returns the time in s that readings are stamped with.
    timeout_s : float
        Wall seconds an answer may take beyond the time of the measurement itself.
    speed : float
        Instrument seconds in a wall second: 1 for hardware.
    line_frequency_Hz : float
        50 or 60; NPLC counts its periods.
    digital_word_after_reset : int, optional
        What a reset puts on the digital port, in the same message, while nothing else has been
        set: the word that blanks the beam.  By default the port is left as ``*RST`` leaves it,
        with all lines high.
    """

    def __init__(
        self,
        link: Link,
        *,
        model: str = "",
        serial_number: str = "",
        now: Callable[[], float] = time.monotonic,
        timeout_s: float = 1.0,
        speed: float = 1.0,
        line_frequency_Hz: float = 50.0,
        digital_word_after_reset: int | None = None,
    ) -> None:
        if digital_word_after_reset is not None:
            self._check_word(link, digital_word_after_reset)
        self.link = link
        self.identity: Identity | None = None
        self.digital_word: int | None = None
        self.output_on = False
        self._model = model
        self._serial_number = serial_number
        self._now = now
        self._scpi = Scpi(link.name, timeout_s, now)
        self._speed = speed
        self._line_frequency_Hz = line_frequency_Hz
        self._word_after_reset = digital_word_after_reset
        self._nplc = 1.0
        self._compliance_A: float | None = None  # as set last
        self._may_have_forgotten = False  # on a new connection: it may have been switched off
        link.resync = self._resync
        link.identify = self._identify_again

    # Everything public returns a Future; what it does runs in the link's worker.

    def open(self) -> "Future[Identity]":
        """Empty the connection and find out who is there.

        The Future fails with IdentityError when it is another instrument than asked for.
        """
        return self.link.submit(self._open, name="identification")

    def configure(
        self,
        *,
        compliance_A: float,
        nplc: float = 1.0,
        voltage_range_V: float = 20.0,
        current_range_A: float | None = None,
    ) -> "Future[SourceState]":
        """Reset; then: source voltage, measure both, output off in high impedance at 0 V.

        Parameters
        ----------
        compliance_A : float
            Limit of the current, both signs.
        nplc : float
            Integration time of a reading in power-line cycles, 0.01 to 10.
        voltage_range_V : float
            The fixed source range is the smallest that holds this; a change of range in the
            middle of a hold would show on the sample.
        current_range_A : float, optional
            The fixed measurement range; by default that of the compliance.
        """
        self._check_compliance(compliance_A)
        if not 0.01 <= nplc <= 10.0:
            raise LimitError(f"{self.link.name}: nplc is {nplc}; the source takes 0.01 to 10")

        def job(transport: Transport) -> SourceState:
            self._reset(transport)
            self._scpi.set(transport, f":SENS:CURR:NPLC {nplc:.6g}")
            self._nplc = nplc
            self._scpi.set(transport, f":SOUR:VOLT:RANG {voltage_range_V:.6E}")
            if voltage_range_V <= 20.0:
                self._scpi.set(transport, ":SOUR:VOLT:PROT 20")  # its lowest step
            self._scpi.set(transport, ":SOUR:VOLT 0")
            self._set_compliance(transport, compliance_A, current_range_A)
            return self._state(transport)

        return self.link.submit(job, name="configuration")

    def set_compliance(
        self, compliance_A: float, current_range_A: float | None = None
    ) -> "Future[SourceState]":
        """Set the limit of the current, and the measurement range with it.

        The Future fails with InstrumentError when the instrument refuses or reads back another
        value.
        """
        self._check_compliance(compliance_A)

        def job(transport: Transport) -> SourceState:
            self._set_compliance(transport, compliance_A, current_range_A)
            return self._state(transport)

        return self.link.submit(job, name=f"compliance {compliance_A:g} A", topic="bias")

    def set_level(self, volts: float) -> "Future[float]":
        """Set the source's level and switch the output on; a stop drops it while it waits.

        The Future gives the time of the level's exchange, on the driver's clock.
        """
        if not math.isfinite(volts):
            raise LimitError(f"{self.link.name}: {volts} V is not a voltage")

        def job(transport: Transport) -> float:
            self._check_memory(transport)
            t = self._scpi.set(transport, f":SOUR:VOLT {volts:.7E}")
            if not self.output_on:
                t = self._scpi.set(transport, ":OUTP ON")
                self.output_on = True
            return t

        return self.link.submit(job, name=f"{volts:g} V", topic="bias")

    def output_off(self) -> "Future[float]":
        """Switch the output off (high impedance); the Future gives the time."""

        def job(transport: Transport) -> float:
            t = self._scpi.set(transport, ":OUTP OFF")
            self.output_on = False
            return t

        blind = self._blind(":OUTP OFF")
        return self.link.submit(job, SAFE, name="output off", drops=("bias",), blind=blind)

    def zero_and_off(self) -> "Future[float]":
        """Go to 0 V and switch the output off, before all that waits; read back that it is off.

        Both are tried even if one is refused, and both are sent at once, ahead of everything,
        when the instrument does not answer.  The Future gives the time of the last exchange.
        """

        def job(transport: Transport) -> float:
            refused = ""
            for command in (":SOUR:VOLT 0", ":OUTP OFF"):
                try:
                    t = self._scpi.set(transport, command)
                except InstrumentError as error:
                    refused = str(error)
                    t = self._now()
            if self._scpi.query(transport, ":OUTP?") not in ("0", "OFF"):
                raise InstrumentError(f"{self.link.name}: the output is still on; {refused}")
            self.output_on = False
            if refused:
                raise InstrumentError(f"{refused} (the output is off)")
            return t

        blind = self._blind(":SOUR:VOLT 0", ":OUTP OFF")
        return self.link.submit(job, SAFE, name="0 V and output off", drops=("bias",), blind=blind)

    def abort(self) -> "Future[None]":
        """Bring the trigger model back to idle."""

        def job(transport: Transport) -> None:
            self._scpi.set(transport, ":ABOR")

        return self.link.submit(job, SAFE, name="abort")

    def read(self) -> "Future[Reading]":
        """Measure voltage and current once, both from the same sample.

        The Future fails with InstrumentError when the output is off: the instrument would not
        answer at all.
        """

        def job(transport: Transport) -> Reading:
            if not self.output_on:
                raise InstrumentError(
                    f"{self.link.name}: the output is off, so there is nothing to measure; "
                    "set a level first (0 V will do)"
                )
            start = self._now()
            line = self._scpi.query(transport, ":READ?", self._reading_s())
            return parse_reading(line, 0.5 * (start + self._now()))

        return self.link.submit(job, name="a reading", topic="bias")

    def set_line(self, line: int, high: bool, *, safe: bool = False) -> "Future[float]":
        """Set one line (1 to 4) of the digital port; the Future gives the time.

        `safe` sends it before all that waits, and cannot be dropped; when the instrument does not
        answer it is sent all the same, if the other lines are known.
        """
        if line not in (1, 2, 3, 4):
            raise LimitError(f"{self.link.name}: digital line {line}; the port has lines 1 to 4")

        bit = 1 << (line - 1)

        def changed(word: int) -> int:
            return word | bit if high else word & ~bit

        def job(transport: Transport) -> float:
            return self._set_digital(transport, changed(self._digital_word(transport)))

        def blind(transport: Transport) -> None:
            if self.digital_word is not None:
                self._blind(f":SOUR2:TTL {changed(self.digital_word)}")(transport)

        def want(ended: "Future[float]") -> None:
            # Not confirmed, but from here on no other line's word, and no reset, undoes it.
            if ended.exception() is not None and self.digital_word is not None:
                self.digital_word = changed(self.digital_word)

        name = f"digital line {line} {'high' if high else 'low'}"
        topic = f"line {line}"
        if safe:
            future = self.link.submit(job, SAFE, name=name, drops=(topic,), blind=blind)
            future.add_done_callback(want)
            return future
        return self.link.submit(job, NORMAL, name=name, topic=topic)

    def digital_lines(self, word: int) -> "Future[float]":
        """Set all four lines of the digital port, bit 0 is line 1; the Future gives the time."""
        self._check_word(self.link, word)
        return self.link.submit(
            lambda transport: self._set_digital(transport, word), name="digital lines"
        )

    # The rest runs in the worker.

    def _open(self, transport: Transport) -> Identity:
        transport.drain(0.05)
        identity = parse_identity(self._scpi.query(transport, "*IDN?"))
        self._check_identity(transport, identity)
        self.identity = identity
        return identity

    def _check_identity(self, transport: Transport, found: Identity) -> None:
        wanted = " ".join(filter(None, (self._model, self._serial_number)))
        same_model = not self._model or found.model.upper() == self._model.upper()
        same_serial = not self._serial_number or found.serial == self._serial_number
        if not (same_model and same_serial and "KEITHLEY" in found.manufacturer.upper()):
            raise IdentityError(
                f"{self.link.name}: expected a Keithley {wanted or 'source'} at "
                f"{transport.address}, found {found.text!r}; check the address in the station file"
            )
        if found.model.startswith("2450"):
            language = self._scpi.query(transport, "*LANG?")
            if language != "SCPI2400":
                raise IdentityError(
                    f"{self.link.name}: the 2450 at {transport.address} speaks {language}; send "
                    "it '*LANG SCPI2400' and switch it off and on"
                )

    def _reset(self, transport: Transport) -> None:
        # A stop may interrupt between two jobs, not inside one: the output goes off first.
        self._scpi.write(transport, ":OUTP OFF")
        word = self._word_after_reset if self.digital_word is None else self.digital_word
        # *RST sets all lines high, which may open the beam: undone in the same message, so that
        # not even a host that dies here leaves it open.
        self._scpi.write(transport, "*RST" if word is None else f"*RST;:SOUR2:TTL {word}")
        self.output_on = False
        self._compliance_A = None
        self._may_have_forgotten = False
        self._scpi.write(transport, "*CLS")
        if word is not None:  # again, so that a refusal is told
            self._set_digital(transport, word)
        for command in (
            ":OUTP:SMOD HIMP",  # a cell is a battery: "normal" would short it to 0 V
            ":SOUR:CLE:AUTO OFF",
            ":SOUR:FUNC VOLT",
            ":SOUR:VOLT:MODE FIX",
            ":SOUR:DEL 0",
            ":SENS:FUNC:CONC ON",
            ':SENS:FUNC "VOLT","CURR"',
            ":SENS:AVER OFF",
            ":SYST:AZER OFF",  # three times fewer conversions a reading
            ":FORM:DATA ASC",
            ":FORM:ELEM VOLT,CURR,TIME,STAT",
            ":ARM:COUN 1",
            ":TRIG:COUN 1",
        ):
            self._scpi.set(transport, command)

    def _blind(self, *commands: str) -> Callable[[Transport], None]:
        """Return what writes commands and reads nothing; to a source whose name is known only."""

        def write(transport: Transport) -> None:
            if self.identity is not None:
                self._scpi.write(transport, *commands)

        return write

    @staticmethod
    def _check_word(link: Link, word: int) -> None:
        if not 0 <= word <= 15:
            raise LimitError(f"{link.name}: digital word {word}; the port takes 0 to 15")

    def _check_compliance(self, amperes: float) -> None:
        if not (math.isfinite(amperes) and amperes > 0.0):
            raise LimitError(f"{self.link.name}: a compliance of {amperes} A; give a positive one")

    def _set_compliance(
        self, transport: Transport, compliance_A: float, current_range_A: float | None
    ) -> None:
        """Walk to the compliance over the ranges between.

        The compliance may not be below 0.1 % of the measurement range, and the range not above
        the one that holds the compliance; so both go down in turns, and up compliance first.
        """
        wanted_range = compliance_A if current_range_A is None else current_range_A
        for _ in range(20):
            present = self._scpi.number(transport, ":SENS:CURR:RANG?")
            step = max(compliance_A, 1.001e-3 * present)  # it reads back 105 %: the safe side
            self._scpi.set(transport, f":SENS:CURR:PROT {step:.6E}")
            if step == compliance_A:
                break
            self._scpi.set(transport, f":SENS:CURR:RANG {step:.6E}")
            if self._scpi.number(transport, ":SENS:CURR:RANG?") >= present:
                raise InstrumentError(
                    f"{self.link.name}: a compliance of {compliance_A:g} A is below what the "
                    f"smallest range ({present:g} A) allows"
                )
        self._scpi.set(transport, f":SENS:CURR:RANG {min(wanted_range, compliance_A):.6E}")
        found = self._scpi.number(transport, ":SENS:CURR:PROT?")
        if not math.isclose(found, compliance_A, rel_tol=0.01):
            raise InstrumentError(
                f"{self.link.name}: the compliance was set to {compliance_A:g} A but reads back "
                f"{found:g} A"
            )
        self._compliance_A = found

    def _check_memory(self, transport: Transport) -> None:
        """On a new connection: refuse to go on with a source that lost its settings."""
        if self._may_have_forgotten and self._compliance_A is not None:
            found = self._scpi.number(transport, ":SENS:CURR:PROT?")
            if not math.isclose(found, self._compliance_A, rel_tol=0.01):
                raise InstrumentError(
                    f"{self.link.name}: the compliance was {self._compliance_A:g} A and is now "
                    f"{found:g} A: the source was switched off, or somebody else used it; "
                    "connect it again"
                )
        self._may_have_forgotten = False

    def _state(self, transport: Transport) -> SourceState:
        return SourceState(
            compliance_A=self._scpi.number(transport, ":SENS:CURR:PROT?"),
            current_range_A=self._scpi.number(transport, ":SENS:CURR:RANG?"),
            voltage_range_V=self._scpi.number(transport, ":SOUR:VOLT:RANG?"),
            nplc=self._scpi.number(transport, ":SENS:CURR:NPLC?"),
        )

    def _digital_word(self, transport: Transport) -> int:
        if self.digital_word is None:
            self.digital_word = int(self._scpi.number(transport, ":SOUR2:TTL?")) & 0b1111
        return self.digital_word

    def _set_digital(self, transport: Transport, word: int) -> float:
        t = self._scpi.set(transport, f":SOUR2:TTL {word}")
        self.digital_word = word
        return t

    def _reading_s(self) -> float:
        """Return the wall seconds of one READ?: two conversions, three each with autozero."""
        conversion = self._nplc / self._line_frequency_Hz + 2.5e-3
        return 6.0 * conversion / self._speed

    def _resync(self, transport: Transport) -> None:
        """Throw away what is late, until the instrument gives its identity again."""
        transport.drain(0.05)
        deadline = time.monotonic() + self._scpi.timeout_s
        self._scpi.write(transport, "*IDN?")
        found: Identity | None = None
        while found is None:
            line = transport.read_until(b"\n", deadline).decode("ascii", "replace").strip()
            if self.identity is not None and line == self.identity.text:
                found = self.identity
            elif line.count(",") >= 3 and "KEITHLEY" in line.upper():
                found = parse_identity(line)
        if self.identity is not None and found != self.identity:
            raise IdentityError(
                f"{self.link.name}: {transport.address} was {self.identity.text!r} and is now "
                f"{found.text!r}"
            )
        late = transport.drain(0.0)
        if late:
            raise TransportTimeout(f"{self.link.name}: more late answers: {excerpt(late)}")
        for error in self._scpi.errors(transport):
            log.warning("%s: left in the error queue: %s", self.link.name, error)
        if self.identity is not None:  # the answer that was lost may have been to an OUTP ON
            self.output_on = self._scpi.query(transport, ":OUTP?") in ("1", "ON")

    def _identify_again(self, transport: Transport) -> None:
        """On a connection that was opened again: make sure who is there."""
        self._may_have_forgotten = True
        if self.identity is None:
            self._open(transport)
        else:
            self._resync(transport)
