"""Driver for source-measure units that speak Keithley's SCPI-2400 dialect.

The 2400 family, the 6430, and a 2450 switched to that language with ``*LANG SCPI2400``.
It knows nothing of ophyd: every method queues a job on a :class:`~stmtem_control.link.Link` and
returns a Future.

Source: Keithley 2400 Series SourceMeter User's Manual, 2400S-900-01, sections 9, 10, 17 and 18.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future

from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import SAFE, Link
from stmtem_control.transport import Transport

from .keithley_answers import Identity, Reading, SourceState
from .keithley_clock import SourceClock
from .keithley_digital import DigitalPort
from .keithley_hold import OFF, BiasHold, Lapse
from .keithley_identity import IdentityCheck
from .keithley_off import APART, WayOff
from .keithley_reading import Readings
from .keithley_sequence import BiasSequence, SequenceRun
from .keithley_sequencer import OnStep, Sequencer
from .keithley_settings import SourceSettings
from .scpi import Scpi, says


class Keithley2400:
    """One source-measure unit on a link.

    Parameters
    ----------
    link : Link
        Its connection.
    model : str
        What ``*IDN?`` must name, for example ``"6430"``; an empty string accepts any.
    serial_number : str
        What ``*IDN?`` must name; an empty string accepts any.
    now : callable
        Returns the time in s that exchanges are stamped with: the station's.
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
    dead_man_s : float
        The longest time (s of the source) that it keeps a level without hearing from here, see
        :class:`.BiasHold`.  0: a level stays until somebody ends it, whatever becomes of the host.

    Attributes
    ----------
    hold : BiasHold
        What keeps the output on.
    on_lapse : callable or None
        Told, in the worker, of an output that went off though nobody here switched it off.
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
        dead_man_s: float = 0.0,
    ) -> None:
        self.link = link
        self.output_on = False
        self._now = now
        self._scpi = Scpi(link.name, timeout_s, now)
        self._identity = IdentityCheck(self._scpi, model, serial_number)
        self._port = DigitalPort(self._scpi, digital_word_after_reset)
        self._settings = SourceSettings(self._scpi)
        self._clock = SourceClock(self._scpi)
        self.hold = BiasHold(
            self._scpi, link,
            dead_man_s=dead_man_s, speed=speed, line_frequency_Hz=line_frequency_Hz,
        )  # fmt: skip
        self._sequencer = Sequencer(
            self._scpi, self._settings, self._clock,
            speed=speed, line_frequency_Hz=line_frequency_Hz,
        )  # fmt: skip
        self._off = WayOff(
            self._scpi, self.hold, self._sequencer,
            known=lambda: self.identity is not None, gone=self._went_off,
        )  # fmt: skip
        self._speed = speed
        self._readings = Readings(
            self._scpi, link, self.hold, self._clock, self._settings,
            speed=speed, line_frequency_Hz=line_frequency_Hz,
        )  # fmt: skip
        self.on_lapse: Callable[[Lapse], None] | None = None
        self.hold.on_lapse = self._lapsed
        link.resync, link.identify = self._resync, self._identify_again
        link.restore = self._settings.restore

    @property
    def identity(self) -> Identity | None:
        """Who it said it is; None before :meth:`open`."""
        return self._identity.found

    @property
    def has_forgotten(self) -> bool:
        """Whether it lost its settings, and was not configured since."""
        return self._settings.lost

    @property
    def clock_model(self) -> ClockModel | None:
        """From its timer's stamps, plus half a millisecond, to station time, as known now."""
        return self._clock.model

    # Everything public returns a Future; what it does runs in the link's worker.

    def open(self) -> "Future[Identity]":
        """Empty the connection and find out who is there.

        The Future fails with IdentityError when it is another instrument than asked for.
        """
        busy_s = self.hold.dead_man_s / self._speed if self.hold.wanted else 0.0
        return self.link.submit(
            lambda transport: self._identity.open(transport, busy_s), name="identification"
        )

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
        self._settings.check_compliance(compliance_A)
        if not 0.01 <= nplc <= 10.0:
            raise LimitError(f"{self.link.name}: nplc is {nplc}; the source takes 0.01 to 10")
        self.hold.set_nplc(nplc)

        def job(transport: Transport) -> SourceState:
            self._reset(transport)
            self._settings.set_nplc(transport, nplc)
            self._settings.set_voltage_range(transport, voltage_range_V)
            self._settings.set_compliance(transport, compliance_A, current_range_A)
            self._clock.start(transport)
            return self._settings.state(transport)

        return self.link.submit(job, name="configuration")

    def set_compliance(
        self, compliance_A: float, current_range_A: float | None = None
    ) -> "Future[SourceState]":
        """Set the limit of the current, and the measurement range with it.

        The Future fails with InstrumentError when the instrument refuses or reads back another
        value.
        """
        self._settings.check_compliance(compliance_A)

        def job(transport: Transport) -> SourceState:
            self._settings.set_compliance(transport, compliance_A, current_range_A)
            return self._settings.state(transport)

        return self.link.submit(job, name=f"compliance {compliance_A:g} A", topic="bias")

    def set_level(self, volts: float) -> "Future[Exchange]":
        """Set the source's level and switch the output on; a stop drops it while it waits.

        The Future gives the exchange in which the level came to the output.
        """
        if not math.isfinite(volts):
            raise LimitError(f"{self.link.name}: {volts} V is not a voltage")

        def job(transport: Transport) -> Exchange:
            self._settings.check_memory(transport)
            self._leave_sequence(transport)
            self.hold.check(transport)
            self.hold.require()
            held = self.hold.running
            exchange = self._settings.set_level(transport, volts)
            if held:
                self.hold.require()
            elif self.hold.wanted:
                exchange = self.hold.begin(transport)
            elif not self.output_on:
                exchange = self._scpi.set(transport, ":OUTP ON", says("ON"))
            self.output_on = True
            return exchange

        return self.link.submit(job, name=f"{volts:g} V", topic="bias")

    def zero_and_off(self) -> "Future[Exchange]":
        """Go to 0 V and switch the output off, before all that waits; read back that it is off.

        Both are tried even if one is refused, and sent at once when it does not answer; a sequence
        is aborted first.  The Future gives the exchange from the first time they were.
        """
        said: list[float] = []
        return self.link.submit(
            lambda transport: self._off.take(transport, said),
            SAFE,
            name="0 V and output off",
            drops=("bias",),
            blind=self._off.blind(*((OFF,) if self.hold.wanted else APART), said=said),
        )

    def say_off(self) -> "Future[None]":
        """Say 0 V and output off to whoever listens there, before asking who that is.

        The words harm nobody, and nothing is confirmed.  A source that steps through a sequence
        hears nothing but the first of them.
        """
        return self.link.submit(
            lambda transport: self._scpi.write(transport, OFF), SAFE, name="0 V, unconfirmed"
        )

    def longest_reading_s(self, nplc: float) -> float:
        """Return what a reading takes at most, in s of the source: first volts, then amperes."""
        return self._readings.longest_s(nplc)

    def read(self) -> "Future[Reading]":
        """Measure voltage and current once, both from the same sample.

        The Future fails with InstrumentError when the output is off: there would be no answer.
        """
        return self._readings.take(lambda: self.output_on)

    # Sequences

    def check_sequence(self, sequence: BiasSequence) -> None:
        """Raise LimitError when a reading would take longer than a step."""
        self._sequencer.check(sequence)

    def prepare_sequence(self, sequence: BiasSequence) -> "Future[None]":
        """Go to 0 V, switch the output off and set up a sequence; a stop drops it.

        Raises
        ------
        LimitError
            A reading would take longer than a step; nothing was sent.
        """
        self._sequencer.check(sequence)

        def job(transport: Transport) -> None:
            self._settings.check_memory(transport)
            self.hold.end()
            self.hold.not_set_up()
            for command in (OFF,) if self.hold.wanted else APART:
                self._scpi.set(transport, command)
            self.output_on = False
            self._sequencer.prepare(transport, sequence)

        return self.link.submit(job, name="setting up a sequence", topic="bias")

    def run_sequence(
        self,
        *,
        deadline_s: float | None = None,
        on_start: Callable[[float], None] | None = None,
        on_step: OnStep | None = None,
    ) -> "Future[SequenceRun]":
        """Start the sequence that was prepared, wait for its end and read its buffer.

        While it runs the instrument answers nothing, and all other jobs wait, but those that make
        safe: these abort it.

        Parameters
        ----------
        deadline_s : float, optional
            Wall seconds that it may take; by default what its steps take.  To be given for one
            that waits for triggers.
        on_start : callable, optional
            Called in the worker when it has been started, with the station time (s) before that.
        on_step : callable, optional
            Called in the worker when a level should come, with the station time (s) and the level
            (V); not for one that waits for triggers.
        """

        def job(transport: Transport) -> SequenceRun:
            prepared = self._sequencer.prepared
            limit = deadline_s
            if limit is None and prepared is not None:
                limit = self._sequencer.deadline_s(prepared)
            self._sequencer.run(transport, limit or 0.0, on_start, on_step)
            run = self._sequencer.collect(transport)
            self._sequencer.leave(transport)
            return run

        return self.link.submit(job, name="a bias sequence", topic="bias")

    def collect_sequence(self) -> "Future[SequenceRun]":
        """Read what the buffer holds of a sequence that a stop has ended."""

        def job(transport: Transport) -> SequenceRun:
            run = self._sequencer.collect(transport)
            self._sequencer.leave(transport)
            return run

        return self.link.submit(job, name="what a sequence left")

    # Digital lines

    def set_line(self, line: int, high: bool, *, safe: bool = False) -> "Future[Exchange]":
        """Set one line (1 to 4) of the digital port; the Future gives the exchange.

        `safe` sends it before all that waits, and cannot be dropped; when the instrument does not
        answer it is sent all the same, if the other lines are known, and a sequence that runs is
        aborted for it.
        """
        return self._port.change(self.link, line, high, safe, self._off.blind)

    def digital_lines(self, word: int) -> "Future[Exchange]":
        """Set all four lines of the digital port, bit 0 is line 1."""
        self._port.check(word)
        return self.link.submit(
            lambda transport: self._port.set(transport, word), name="digital lines"
        )

    # The rest runs in the worker.

    def _reset(self, transport: Transport) -> None:
        # A stop may interrupt between two jobs, not inside one: the output goes off first.
        self._scpi.write(transport, ":OUTP OFF")
        word = self._port.word_at_reset
        # *RST sets all lines high, which may open the beam: undone in the same message, so that
        # not even a host that dies here leaves it open.
        self._scpi.write(transport, "*RST" if word is None else f"*RST;:SOUR2:TTL {word}")
        self.output_on = False
        self._settings.forget()
        self._sequencer.forget()
        self.hold.forget()
        self._scpi.write(transport, "*CLS")
        if word is not None:  # again, so that a refusal is told
            self._port.set(transport, word)
        self._settings.after_reset(transport)

    def _went_off(self) -> None:
        self.output_on = False

    def _lapsed(self, lapse: Lapse) -> None:
        self.output_on = False
        if self.on_lapse is not None:
            self.on_lapse(lapse)

    def _leave_sequence(self, transport: Transport) -> None:
        if self._sequencer.prepared is not None:
            self._sequencer.leave(transport)
            self.hold.not_set_up()

    def _resync(self, transport: Transport) -> None:
        self.hold.check(transport)
        self._identity.resync(transport)
        if self.identity is not None:  # the answer that was lost may have been to an OUTP ON
            output = self._scpi.query(transport, ":OUTP?")
            self.output_on = self.hold.confirm(transport, output)

    def _identify_again(self, transport: Transport) -> None:
        """On a connection that was opened again: make sure who is there."""
        self._settings.may_have_forgotten = True
        self._clock.forget()
        if self.identity is not None and (self.hold.running or self.hold.lapse is not None):
            # A hold that still runs would keep it from answering; nobody may take it up again.
            self.hold.lost("the connection was lost and made again")
            self._scpi.write(transport, OFF)
        if self.identity is None:
            self._identity.open(transport)
        else:
            self._resync(transport)
