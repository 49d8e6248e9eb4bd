"""The simulated biasing source: a Keithley SourceMeter with the SCPI command set of the 2400."""

import re
import threading
from collections import deque
from collections.abc import Callable

from .clock import Clock, HandClock
from .lines import Line
from .ports import Terminals
from .scpi import Deferred, Program, Reply, ScpiError, Unit
from .server import Channel
from .source_clients import Client, Outbox
from .source_core import SourceCore
from .source_language import command_table
from .source_models import model_named
from .source_power import power_on
from .source_timer import Timer

_TERMINATOR = re.compile(rb"[\r\n]+")
# ^C and ^X; the manual gives the second as decimal 18, which is ^R.
_BREAK = re.compile(rb"[\x03\x12\x18]")
_LONGEST_MESSAGE = 1 << 16


class SourceMeter:
    """A SourceMeter 2400, 6430, or 2450 in its 2400 language, to be put behind endpoints.

    Each client has its own input; the instrument works through one operation at a time.  While it
    measures, commands wait until it is idle, except those that the manual exempts (``:ABORt``,
    ``*RST``, ``*RCL``, ``:SYSTem:PRESet``, ``*TRG``, a break), the front panel keys, and switching
    the output off, which gets through from any client.  That too waits while auto output-off is
    enabled: then it does not put the instrument into idle (section 18, ``:OUTPut``), and an abort
    leaves the output on.

    Parameters
    ----------
    clock : Clock
        Times readings, delays and time stamps.
    terminals : Terminals
        What is biased; current out of HI through the load counts positive.
    model : str
        ``"2400"``, ``"2450"`` or ``"6430"``.
    serial_number : str
        Its serial number, in ``*IDN?``.
    seed : int
        Of the meter's noise.
    serial_terminator : str, optional
        What ends a reply on the serial port, one of CR, LF, CR+LF and LF+CR.  By default the
        factory setting, CR, until a client ends its messages otherwise; then as the client does.
    timer : Timer, optional
        Another timer than a SourceMeter's, which is coarse and fast.

    Attributes
    ----------
    digital_out : tuple[Line, ...]
        Lines 1 to 4 of the digital port, bits 0 to 3 of ``:SOURce2:TTL``.
    trigger_out, trigger_in : tuple[Line, ...]
        Trigger link lines 1 to 4: low-going pulses out, falling edges in.
    start_of_test : Line
        The SOT input of the digital port.

    Raises
    ------
    ValueError
        There is no such model.
    """

    def __init__(
        self,
        clock: Clock,
        terminals: Terminals,
        *,
        model: str = "6430",
        serial_number: str = "1117422",
        seed: int = 1,
        serial_terminator: str | None = None,
        timer: Timer | None = None,
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._wires = Outbox()
        self._clients: dict[Channel, Client] = {}
        self._queue: deque[Client] = deque()
        self._serial_terminator = serial_terminator
        self._closed = False
        self.trigger_out = _lines("trigger out")
        self.trigger_in = _lines("trigger in")
        self.start_of_test = Line("start of test", True)
        self._core = SourceCore(
            clock,
            terminals,
            model_named(model),
            serial_number,
            seed,
            Timer() if timer is None else timer,
            enter=self._enter,
            send_pulse=lambda line: self._wires.post(self.trigger_out[line - 1].pulse),
            send_pattern=self._send_pattern,
        )
        pattern = self._core.settings.pattern
        self.digital_out = tuple(
            Line(f"digital out {bit + 1}", bool(pattern & 1 << bit)) for bit in range(4)
        )
        self._table = command_table(self._core)
        for number, line in enumerate(self.trigger_in, 1):
            line.listen(self._edge_listener(f"TLIN{number}"))
        self.start_of_test.listen(self._start_of_test)

    # -- what the bench asks ----------------------------------------------------------------

    @property
    def output_on(self) -> bool:
        """True while the output is on."""
        with self._lock:
            return self._core.output.on

    @property
    def level(self) -> float:
        """The voltage (V) that the V-source is programmed to, the output being on or off."""
        with self._lock:
            output = self._core.output
            if output.function == "VOLT":
                return output.level
            return self._core.settings.volt.level

    def set_output_enable(self, closed: bool) -> None:
        """Close or open the output enable line (interlock) of the rear panel."""
        self._enter(lambda: self._core.set_enable_line(closed))

    def perform(self, action: Callable[[SourceCore], None]) -> None:
        """Do something to the inside of the instrument, and what has become possible by it."""
        self._enter(lambda: action(self._core))

    def power_cycle(self) -> None:
        """Switch it off and on again: what was under way is forgotten, settings too."""

        def restart() -> None:
            for client in self._clients.values():
                self._clear_device(client)
            power_on(self._core)

        self._enter(restart)

    @property
    def core(self) -> SourceCore:
        """The inside of the instrument, for the bench: to watch its output, spoil its readings."""
        return self._core

    def close(self) -> None:
        """Stop what runs and let nothing more happen."""
        with self._lock:
            self._closed = True
            self._core.abort()
            self._clients.clear()
            self._queue.clear()

    # -- lines ------------------------------------------------------------------------------

    def _send_pattern(self, pattern: int) -> None:
        def drive() -> None:
            for bit, line in enumerate(self.digital_out):
                line.drive(bool(pattern & 1 << bit))

        self._wires.post(drive)

    def _edge_listener(self, event: str) -> Callable[[bool], None]:
        def listener(level: bool) -> None:
            if not level:
                self._enter(lambda: self._signal(event))

        return listener

    def _signal(self, event: str) -> None:
        self._core.sequencer.signal(event)

    def _start_of_test(self, level: bool) -> None:
        def edge() -> None:
            sequencer = self._core.sequencer
            if not sequencer.signal("SOT+" if level else "SOT-", latch=False):
                sequencer.signal("SOT", latch=False)

        self._enter(edge)

    # -- clients ----------------------------------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """Take a new client."""
        fixed = self._serial_terminator
        if channel.kind == "pty":
            terminator = b"\r" if fixed is None else fixed.encode("ascii")
        else:
            terminator = b"\n"
        with self._lock:
            self._clients[channel] = Client(channel, terminator)

    def closed(self, channel: Channel) -> None:
        """Forget a client that has gone; what it has started goes on."""
        with self._lock:
            client = self._clients.pop(channel, None)
            if client is not None and client in self._queue:
                self._queue.remove(client)

    def received(self, channel: Channel, data: bytes) -> None:
        """Take bytes as they come."""
        with self._lock:
            client = self._clients.get(channel)
        if client is None:
            return
        self._catch_up()
        self._enter(lambda: self._take(client, data))
        self._advance_by_hand()

    def _catch_up(self) -> None:
        """Let happen what should have happened by now, though its alarm is late.

        Bytes that arrive must not end a reading that was complete before they came.
        """
        while True:
            with self._lock:
                late = self._core.sequencer.overdue()
            if late is None:
                return
            due, go_on = late
            with self._clock.at(due):
                self._enter(go_on)

    def _take(self, client: Client, data: bytes) -> None:
        """Cut bytes into messages and breaks, and do what can be done now."""
        *before, last = _BREAK.split(client.buffer + data)
        for piece in before:
            self._cut(client, piece)
            self._clear_device(client)
        client.buffer = self._cut(client, last)
        if len(client.buffer) > _LONGEST_MESSAGE:
            client.buffer, client.overrun = b"", True

    def _cut(self, client: Client, data: bytes) -> bytes:
        """Take the complete messages off `data` and return what is left of it."""
        start = 0
        for match in _TERMINATOR.finditer(data):
            message = data[start : match.start()]
            start = match.end()
            if message.strip():
                self._learn_terminator(client, match[0])
                self._message(client, message)
                self._work()
        return data[start:]

    def _clear_device(self, client: Client) -> None:
        """Break: the operation ends, and what the client sent and was to get is dropped."""
        client.programs.clear()
        client.replies.clear()
        client.pending = None
        client.overrun = False
        self._core.abort()
        self._drop_pending()

    def _learn_terminator(self, client: Client, ending: bytes) -> None:
        if client.channel.kind != "pty" or self._serial_terminator is not None:
            return
        known, first = client.terminator, ending[:1]
        if ending[:2] in (b"\r\n", b"\n\r"):
            client.terminator = ending[:2]
        elif not (len(known) == 2 and known.startswith(first)):  # else cut in two on the way
            client.terminator = first

    def _message(self, client: Client, message: bytes) -> None:
        if client.overrun:
            client.overrun = False
            self._core.status.error(-363)
            return
        program = self._table.tree.parse(message.decode("latin-1"))
        if self._core.sequencer.busy:
            self._pass_by(client, program)
            if not program.units and program.error is None:
                return
        client.programs.append(program)
        if client not in self._queue:
            self._queue.append(client)

    def _pass_by(self, client: Client, program: Program) -> None:
        """Carry out the commands of a message that do not wait for idle."""
        for unit in list(program.units):
            if unit.immediate and self._core.sequencer.busy:
                program.units.remove(unit)
                self._do_at_once(client, program, unit)

    def _do_at_once(self, client: Client, program: Program, unit: Unit) -> None:
        self._do(client, program, unit)
        if not self._core.sequencer.busy:
            if client.pending is not None:
                self._core.status.error(-410)
            self._drop_pending()

    def _drop_pending(self) -> None:
        """Give up readings that were asked for and will not come: no answer is sent."""
        for client in self._clients.values():
            client.pending = None

    # -- work -------------------------------------------------------------------------------

    def _enter(self, action: Callable[[], None]) -> None:
        """Do something with the instrument locked, then what has become possible by it."""
        with self._lock:
            if self._closed:
                return
            action()
            self._work()
            clients = list(self._clients.values())
        self._wires.empty()
        for client in clients:
            client.outbox.empty()

    def _work(self) -> None:
        """Go through the clients' messages as far as they do not wait for idle."""
        while self._queue:
            client = self._queue[0]
            self._work_for(client)
            if client.programs:
                return
            self._queue.popleft()

    def _work_for(self, client: Client) -> None:
        sequencer = self._core.sequencer
        while client.programs:
            program = client.programs[0]
            if sequencer.busy and (client.pending is not None or program.units):
                if client.pending is not None or not program.units[0].immediate:
                    return
                self._do_at_once(client, program, program.units.pop(0))
            elif client.pending is not None:
                pending, client.pending = client.pending, None
                self._finish(client, pending)
            elif program.units:
                self._do(client, program, program.units.pop(0))
            else:
                client.programs.popleft()
                if program.error is not None:
                    self._core.status.error(program.error.code)
                self._send(client)

    def _do(self, client: Client, program: Program, unit: Unit) -> None:
        command, parameters = unit.command, unit.parameters
        self._core.serial_port = client.channel.kind == "pty"
        try:
            if not unit.query and command.write is not None:
                command.write(parameters)
            elif command.ask is not None:
                self._answer(client, command.ask(parameters))
        except ScpiError as error:
            self._core.status.error(error.code)
            if -199 <= error.code <= -100:
                # A command error discards the rest of the message.
                program.units.clear()
                program.error = None

    def _finish(self, client: Client, pending: Deferred) -> None:
        try:
            self._answer(client, pending.answer())
        except ScpiError as error:
            self._core.status.error(error.code)

    @staticmethod
    def _answer(client: Client, reply: Reply | Deferred | None) -> None:
        if isinstance(reply, Deferred):
            client.pending = reply
        elif reply is not None:
            client.replies.append(reply)

    def _send(self, client: Client) -> None:
        if not client.replies:
            return
        parts = [
            reply.encode("latin-1") if isinstance(reply, str) else reply for reply in client.replies
        ]
        client.replies.clear()
        data = b";".join(parts) + client.terminator
        channel = client.channel
        client.outbox.post(lambda: channel.send(data))

    def _advance_by_hand(self) -> None:
        """Move a clock that goes by hand for a client that waits for an answer.

        Nobody else would; an operation without end is not waited for.
        """
        clock = self._clock
        if not isinstance(clock, HandClock):
            return
        while True:
            with self._lock:
                due = self._core.sequencer.due
                endless = self._core.settings.arm.count == float("inf")
                if due is None or endless or not any(c.expectant for c in self._queue):
                    return
            clock.wait_until(due)


def _lines(name: str) -> tuple[Line, ...]:
    return tuple(Line(f"{name} {number}", True) for number in (1, 2, 3, 4))
