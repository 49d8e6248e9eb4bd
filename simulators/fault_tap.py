"""A tap between an endpoint and its talker: it counts messages, and lets faults strike.

While no fault waits at a server its tap passes bytes on as they come.  While one does, messages
are handed on whole, one at a time, so that the n-th of them can be struck.
"""

import re
import threading
from collections import deque
from collections.abc import Callable

from .clock import Alarm, Clock
from .fault_board import FaultBoard, LiveFault
from .fault_frames import is_frame
from .fault_wire import Delivery, garbage, strike
from .server import Channel, Talker, TcpEndpoint

# A break (^C, ^R, ^X) is a message of its own: it must not wait for a line end.
_LINE = re.compile(rb"[^\r\n\x03\x12\x18]*(?:[\r\n]+|[\x03\x12\x18])")
_REQUEST = re.compile(rb"MPX, *(\d{1,10}),")
_LONGEST = 1 << 16
_HEAD = 64  # bytes of a frame that tell its number

Cut = Callable[[bytes], tuple[list[bytes], bytes]]


def cut_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut bytes into lines, each with its end, and the rest that has none yet."""
    lines = _LINE.findall(data)
    return lines, data[sum(map(len, lines)) :]


def cut_requests(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut bytes into MPX messages (the length counts from its comma), and the rest."""
    found: list[bytes] = []
    while (match := _REQUEST.search(data)) is not None:
        end = match.end() - 1 + int(match[1])
        following = data.find(b"MPX,", match.end(), end)
        end = following if following >= 0 else end
        if end > len(data):
            break
        found.append(data[:end])
        data = data[end:]
    return found, data


def whole_line(data: bytes) -> bool:
    """Tell whether bytes are one line that ends with LF; False if in doubt."""
    return data.find(b"\n") == len(data) - 1 > 0


def whole_request(data: bytes) -> bool:
    """Tell whether bytes are one MPX message with a ten-digit length; False if in doubt."""
    # As text, for that is faster than reading the number.
    return data[4:15] == b"%010d," % (len(data) - 14)


class Wire(Channel):
    """What the talker sees of a client: a channel on which faults may strike.

    Parameters
    ----------
    line : Channel
        The endpoint's.
    tap : Tap
        Whose wire it is.
    """

    def __init__(self, line: Channel, tap: "Tap") -> None:
        super().__init__(line.kind)
        self.line = line
        # Of the message that is not whole yet, and how much of it the talker has already.
        self.tail, self.passed = b"", 0
        self.messages = 0
        self.turn = 0  # goes up when the instrument forgets this client
        self.open = True
        self._armed: list[LiveFault] = []
        self._tap = tap
        self._held: deque[tuple[float, bytes, bool]] = deque()
        self._alarm: Alarm | None = None
        self._changed = threading.Condition()
        self._before = b""
        self.quick = False
        self.look()

    def look(self) -> None:
        """Take the short way for replies and messages while nothing can strike them."""
        tap = self._tap
        with self._changed:
            free = tap.plain and self.open and not self._armed and not self._held
            # As attributes, because a call or a test more at each query would be felt.
            self.send = self.line.send if free else self._send_struck  # type: ignore[method-assign]
            self.quick = tap.heard and self.open and not self.tail

    def arm(self, live: LiveFault) -> None:
        """Let a fault strike the next reply."""
        with self._changed:
            self._armed.append(live)
            self.look()

    def disarm(self) -> None:
        """Let no fault strike the next reply; what is held back still goes out."""
        with self._changed:
            self._armed.clear()
            self.look()

    def _send_struck(self, data: bytes) -> None:
        tap = self._tap
        frame = tap.sends_frames and is_frame(data)
        strikes: list[LiveFault] = []
        if frame and tap.watched:
            strikes += tap.board.exchange(tap.where, data[:_HEAD], ("reply", "state"))
        with self._changed:
            while tap.stalled and self.open:
                self._changed.wait()
            if tap.silent or not self.open:
                return
            strikes = [*self._armed, *strikes]
            self._armed.clear()
            delivery = Delivery([(0.0, data)])
            for live in strikes:
                strike(delivery, live, self, self._before)
            if frame:
                self._before = data[:_HEAD]
            pieces = [(wait, piece, False) for wait, piece in delivery.pieces]
            if delivery.hang_up:
                pieces.append((0.0, b"", True))
            waiting = bool(self._held)
            self._held.extend(pieces)
            if not waiting:
                self._go_on()
            self.look()

    def _go_on(self) -> None:
        """Send what needs no waiting, and have the next piece sent in time."""
        while self._held and self._held[0][0] <= 0.0:
            self._put(*self._held.popleft()[1:])
        if self._held:
            clock = self._tap.clock
            due = clock.now() + self._held[0][0]
            self._alarm = clock.call_at(due, lambda: self._ring(due))

    def _ring(self, due: float) -> None:
        with self._tap.clock.at(due), self._changed:
            if self._held:
                self._put(*self._held.popleft()[1:])
                self._go_on()
            self.look()

    def _put(self, data: bytes, hang_up: bool) -> None:
        if data and not self._tap.silent:
            self.line.send(data)
        if hang_up:
            self.hang_up()

    def wake(self) -> None:
        """Look again at what the tap lets through."""
        with self._changed:
            self.look()
            self._changed.notify_all()

    def hang_up(self) -> None:
        """Close the connection from the instrument's side."""
        if self.kind == "tcp":
            self.forget()
        self.line.hang_up()

    def forget(self) -> None:
        """Send no more."""
        with self._changed:
            self.open = False
            self._held.clear()
            self.look()
            if self._alarm is not None:
                self._alarm.cancel()
            self._changed.notify_all()


class Tap:
    """A Talker in front of a talker.

    Parameters
    ----------
    where : str
        The server: "bias_source", "probe", "camera" or "camera_data".
    talker : Talker
        The instrument's side.
    clock : Clock
        The bench's.
    board : FaultBoard
        Says what strikes.
    """

    def __init__(self, where: str, talker: Talker, clock: Clock, board: FaultBoard) -> None:
        self.where = where
        self.clock = clock
        self.board = board
        self.endpoint: TcpEndpoint | None = None
        self.sends_frames = where == "camera_data"
        self.watched = False
        self.silent = False
        self.stalled = False
        self.plain = self.heard = True
        self._talker = talker
        self._cut: Cut = cut_requests if where == "camera" else cut_lines
        self._whole = whole_request if where == "camera" else whole_line
        self._lock = threading.Lock()
        self._wires: dict[Channel, Wire] = {}
        self._gone = 0

    @property
    def messages(self) -> int:
        """Messages that came in since the start."""
        with self._lock:
            return self._gone + sum(wire.messages for wire in self._wires.values())

    # -- for the endpoint -------------------------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """Take a new client."""
        wire = Wire(channel, self)
        with self._lock:
            self._wires[channel] = wire
        wire.look()  # a fault may have come meanwhile
        if self.watched:
            for live in self.board.exchange(self.where, b"", ("connection",)):
                channel.send(garbage(live))
        self._talker.opened(wire)

    def received(self, channel: Channel, data: bytes) -> None:
        """Take bytes as they come, cut anywhere."""
        wire = self._wires[channel]
        if wire.quick and self._whole(data):
            # The usual case, as cheap as can be.
            wire.messages += 1
            self._talker.received(wire, data)
        else:
            self._received(wire, data)
            wire.look()

    def _received(self, wire: Wire, data: bytes) -> None:
        if self.silent or not wire.open:
            wire.tail, wire.passed = b"", 0
            return
        whole, passed = wire.tail + data, wire.passed
        messages, wire.tail = self._cut(whole)
        if len(wire.tail) > _LONGEST or self.sends_frames:
            messages, wire.tail = [whole], b""
        if not self.watched:
            wire.messages += sum(1 for message in messages if message.strip())
            wire.passed = len(wire.tail)
            self._talker.received(wire, whole[passed:])
            return
        # What is not whole yet waits: it may turn out to be the message that is struck.
        wire.passed = 0 if messages else passed
        turn = wire.turn
        for message in messages:
            if message.strip():
                self._strike(wire, message[passed:], message.strip())
            else:
                self._talker.received(wire, message[passed:])
            passed = 0
            if wire.turn != turn:
                wire.tail, wire.passed = b"", 0
                return

    def _strike(self, wire: Wire, data: bytes, message: bytes) -> None:
        """Hand on one message, as far as the faults that strike it allow."""
        wire.messages += 1
        turn, lost, closing = wire.turn, False, False
        strikes = ("reply", "message", "state") + ("connection",) * (wire.kind == "pty")
        for live in self.board.exchange(self.where, message, strikes):
            if live.fault.kind == "garbage_at_connect":
                wire.line.send(garbage(live))
            elif live.fault.kind == "lose":
                lost = True
            elif live.fault.kind == "close_before" and wire.kind == "tcp":
                closing = True
            else:
                wire.arm(live)
        if lost or self.silent or wire.turn != turn:
            return
        if closing:
            wire.forget()
        self._talker.received(wire, data)
        if closing:
            wire.hang_up()

    def closed(self, channel: Channel) -> None:
        """Forget a client that has gone."""
        with self._lock:
            wire = self._wires.pop(channel)
            self._gone += wire.messages
        wire.forget()
        self._talker.closed(wire)

    # -- for the bench ----------------------------------------------------------------------

    def wires(self) -> list[Wire]:
        """Return the wires of the clients that are attached."""
        with self._lock:
            return list(self._wires.values())

    def close_connections(self) -> None:
        """Close all connections from the instrument's side; a serial line has none."""
        for wire in self.wires():
            if wire.kind == "tcp":
                wire.turn += 1
                wire.hang_up()

    def restart(self) -> None:
        """Let the talker forget its clients: connections close, serial clients start anew."""
        self.close_connections()
        for wire in self.wires():
            if wire.kind == "pty":
                wire.turn += 1
                self._talker.closed(wire)
                self._talker.opened(wire)

    def disarm(self) -> None:
        """Forget the faults that wait for a reply."""
        for wire in self.wires():
            wire.disarm()

    def watch(self, watched: bool) -> None:
        """Have the board look at each exchange from now on, or no more."""
        self._put("watched", watched)

    def set_silent(self, silent: bool) -> None:
        """Hear and send nothing from now on, or do so again."""
        self._put("silent", silent)

    def set_stalled(self, stalled: bool) -> None:
        """Hold back what is to be sent, or let it go."""
        self._put("stalled", stalled)

    def _put(self, name: str, state: bool) -> None:
        with self._lock:
            setattr(self, name, state)
            #: Whether replies go out untouched, and messages come in unseen.
            self.plain = not (self.silent or self.stalled or (self.sends_frames and self.watched))
            self.heard = not (self.silent or self.watched)
        for wire in self.wires():
            wire.wake()
