"""Driver for Quantum Detectors' Merlin: the control socket.

It knows nothing of ophyd.  Control commands are jobs on a :class:`~stmtem_control.link.Link` and
return Futures; frames come through a :class:`~.merlin_stream.FrameStream`, which belongs to one
reading thread.

Source: Quantum Detectors, "Merlin TCP/IP control", TDI-CTRL-TNO-0041.
"""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from stmtem_control.errors import IdentityError, InstrumentError, ProtocolError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import NORMAL, SAFE, Link
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import Transport, excerpt

from .merlin_stream import PREFIX_BYTES, FrameStream, body_length
from .merlin_trigger import INTERNAL, MerlinTrigger

log = logging.getLogger(__name__)

ERRORS = {1: "unknown error or busy", 2: "unknown command", 3: "value out of range"}
TIMING = ("ACQUISITIONTIME", "ACQUISITIONPERIOD")  # each must fit the other: set together
READ_BACK = (*TIMING, "COUNTERDEPTH", "NUMFRAMESTOACQUIRE", "TRIGGERSTART", "DETECTORSTATUS")
IDLE = "0"  # DETECTORSTATUS
JOIN_S = 0.05  # wall seconds in which the camera takes a data connection; it tells nobody
HEADER_S = 0.1  # wall seconds in which the header follows a start
DEPTH_OF_COUNTER = {1: "U08", 6: "U08", 12: "U16", 24: "U32"}


class Joined(Protocol):
    """A connection to the data socket, whoever reads it."""

    came_s: float | None

    def wait(self, seconds: float) -> bool:
        """Return whether something is there, waiting at most `seconds`."""
        ...

    def close(self) -> None:
        """Close it: the start has failed."""
        ...


def control_message(kind: str, name: str, value: object = None) -> bytes:
    """Return a control message; its length counts from the comma after the number."""
    body = f",{kind},{name}" if value is None else f",{kind},{name},{value}"
    return f"MPX,{len(body):010d}{body}".encode("ascii")


def parse_control(body: bytes, kind: str, name: str) -> tuple[str, int]:
    """Return the value (empty but for a GET) and the error code of a control answer.

    Raises
    ------
    ProtocolError
        It answers something else than `kind` and `name`, or has no error code.
    """
    parts = body.decode("ascii", "replace").split(",")
    right_length = len(parts) >= 5 if kind == "GET" and parts[-1] == "0" else len(parts) >= 4
    if not right_length or parts[0] or parts[1:3] != [kind, name] or not parts[-1].isdigit():
        raise ProtocolError(f"{kind} {name} was answered {excerpt(body)}")
    return ",".join(parts[3:-1]), int(parts[-1])


class Merlin:
    """One detector: commands on its control link, frames from its data socket.

    Parameters
    ----------
    link : Link
        The control connection; the driver sets ``resync`` and ``restore``.
    host, data_port : str, int
        Where the frames come from.
    timeout_s : float
        Wall seconds an answer may take.

    Attributes
    ----------
    now : callable
        The driver's clock, for the times of commands; ``time.monotonic`` unless the device above
        puts its own in place.
    """

    def __init__(
        self, link: Link, *, host: str, data_port: int = 6342, timeout_s: float = 1.0
    ) -> None:
        self.link = link
        self.version = ""
        self.now: Callable[[], float] = time.monotonic
        self._host = host
        self._data_port = data_port
        self._timeout_s = timeout_s
        self._resyncs = 0
        self._settings: dict[str, str] = {}  # what it was set to and is thought to be still
        link.resync = self._resync
        link.restore = self._restore

    def open(self) -> "Future[str]":
        """Find out who is there; the Future gives the software's version.

        It fails with IdentityError when what answers does not speak Merlin's protocol.
        """

        def job(transport: Transport) -> str:
            self._settings.clear()
            transport.drain(0.05)
            try:
                self.version = self._exchange(transport, "GET", "SOFTWAREVERSION")
            except (ProtocolError, InstrumentError) as error:
                raise IdentityError(
                    f"{self.link.name}: expected a Merlin at {transport.address}: {error}"
                ) from None
            return self.version

        return self.link.submit(job, name="identification")

    def get(self, name: str, *, delay_s: float = 0.0) -> "Future[str]":
        """Read a parameter, as text; `delay_s` wall seconds from now."""
        return self.link.submit(
            lambda transport: self._exchange(transport, "GET", name),
            name=f"GET {name}",
            delay_s=delay_s,
        )

    def set(self, name: str, value: float | int | str) -> "Future[None]":
        """Set a parameter; fails with InstrumentError when the camera refuses it."""
        return self.set_many({name: value})

    def set_many(self, values: dict[str, float | int | str]) -> "Future[None]":
        """Set parameters in their order, in one job; the first that is refused ends it."""

        def job(transport: Transport) -> None:
            for name, value in values.items():
                text = f"{value:.9g}" if isinstance(value, float) else str(value)
                self._exchange(transport, "SET", name, text)

        return self.link.submit(job, name=f"SET {', '.join(values)}", topic="acquisition")

    def command(self, name: str, *, safe: bool = False) -> "Future[Exchange]":
        """Send a command such as STARTACQUISITION, STOPACQUISITION or SOFTTRIGGER.

        The Future gives its times.  `safe` sends it before all that waits, and drops a start.
        """

        def job(transport: Transport) -> Exchange:
            return self._command(transport, name)

        if safe:
            return self.link.submit(job, SAFE, name=f"CMD {name}", drops=("acquisition",))
        return self.link.submit(job, NORMAL, name=f"CMD {name}", topic="acquisition")

    def make_idle(self) -> "Future[None]":
        """End an acquisition that an earlier session may have left running."""
        return self.link.submit(self._make_idle, name="stopping what ran before")

    def set_timing(self, *, exposure_s: float, period_s: float) -> "Future[None]":
        """Set exposure and period, in the order in which the exposure always fits the period."""

        def job(transport: Transport) -> None:
            self._set_timing(transport, exposure_s, period_s)

        return self.link.submit(job, name="exposure and period", topic="acquisition")

    def start(
        self,
        *,
        exposure_s: float,
        period_s: float,
        opener: Callable[[str, int], Joined] | None = None,
        frames: int = 0,
        trigger: MerlinTrigger = INTERNAL,
    ) -> "Future[tuple[Joined, Exchange]]":
        """Connect the data socket and start; the Future gives the stream and the start's times.

        With the internal trigger the first exposure begins after STARTACQUISITION was sent and
        before both its answer and the header of the acquisition have come; with another one the
        camera waits for it from then on.

        Parameters
        ----------
        exposure_s, period_s : float
            Of the frames.
        opener : callable, optional
            Connects the data socket, whose host and port it is given, for who reads it elsewhere.
        frames : int
            How many; 0 until STOPACQUISITION.
        trigger : MerlinTrigger
            What starts the exposures.
        """

        def job(transport: Transport) -> tuple[Joined, Exchange]:
            return self._start(transport, exposure_s, period_s, frames, opener, trigger)

        return self.link.submit(job, name="start of the acquisition", topic="acquisition")

    def image_size(self) -> "Future[tuple[int, int]]":
        """Find out the image's (height, width); older software shows it in a frame only."""

        def job(transport: Transport) -> tuple[int, int]:
            try:
                width = int(self._exchange(transport, "GET", "IMAGEX"))
                return int(self._exchange(transport, "GET", "IMAGEY")), width
            except (InstrumentError, ValueError):
                return self._size_of_a_frame(transport)

        return self.link.submit(job, name="image size")

    def open_stream(self) -> FrameStream:
        """Connect the data socket, to be read here; do so before STARTACQUISITION.

        Raises
        ------
        TransportError
            Nothing listens there.
        """
        return FrameStream(TcpTransport(self._host, self._data_port, receive_buffer=1 << 22))

    def _make_idle(self, transport: Transport) -> None:
        if self._exchange(transport, "GET", "DETECTORSTATUS") != IDLE:
            try:
                self._exchange(transport, "CMD", "STOPACQUISITION")
            except InstrumentError as error:
                log.info("%s", error)

    def _start(
        self,
        transport: Transport,
        exposure_s: float,
        period_s: float,
        frames: int,
        opener: Callable[[str, int], Joined] | None,
        trigger: MerlinTrigger = INTERNAL,
    ) -> tuple[Joined, Exchange]:
        self._make_idle(transport)
        stream = opener(self._host, self._data_port) if opener else self.open_stream()
        try:
            joined = time.monotonic() + JOIN_S
            self._set_timing(transport, exposure_s, period_s)
            for name, value in [("NUMFRAMESTOACQUIRE", frames), *trigger.variables()]:
                self._exchange(transport, "SET", name, value)
            # A start without a data client begins when one has joined: later than it is answered.
            stream.wait(max(0.0, joined - time.monotonic()))
            start = self._command(transport, "STARTACQUISITION")
            # The header shows that it has begun, and that may be later than the answer.
            stream.wait(HEADER_S)
            came = self.now() if stream.came_s is None else stream.came_s
            return stream, Exchange(start.sent, max(start.answered, came))
        except BaseException:
            stream.close()
            raise

    def _size_of_a_frame(self, transport: Transport) -> tuple[int, int]:
        stream, _ = self._start(transport, 0.01, 0.02, 1, None)
        assert isinstance(stream, FrameStream)
        try:
            deadline = time.monotonic() + 2.0 * self._timeout_s
            while (got := stream.next_frame(deadline)) is None:
                pass
        finally:
            stream.close()
        self._make_idle(transport)
        return got[0].height, got[0].width

    def _set_timing(self, transport: Transport, exposure_s: float, period_s: float) -> None:
        exposure = ("ACQUISITIONTIME", f"{1e3 * exposure_s:.9g}")
        period = ("ACQUISITIONPERIOD", f"{1e3 * period_s:.9g}")
        answer = self._exchange(transport, "GET", "ACQUISITIONTIME")
        try:
            present_ms = float(answer)
        except ValueError:
            raise ProtocolError(f"ACQUISITIONTIME was answered {answer!r}, not a time") from None
        longer_first = (period, exposure) if 1e3 * period_s >= present_ms else (exposure, period)
        for name, value in longer_first:
            self._exchange(transport, "SET", name, value)

    def _command(self, transport: Transport, name: str) -> Exchange:
        sent = self.now()
        self._exchange(transport, "CMD", name)
        return Exchange(sent, self.now())

    def _exchange(self, transport: Transport, kind: str, name: str, value: object = None) -> str:
        if kind == "SET":
            self._settings.pop(name, None)  # until it is confirmed
        transport.ask(control_message(kind, name, value))
        body = self._body(transport, time.monotonic() + self._timeout_s)
        answer, code = parse_control(body, kind, name)
        if code:
            what = f"{kind} {name}" if value is None else f"{kind} {name} {value}"
            raise InstrumentError(
                f"{self.link.name}: {what} was refused: {ERRORS.get(code, 'error')} (code {code})"
            )
        if kind == "SET":
            self._settings[name] = str(value)
        elif (kind, name) == ("CMD", "RESET"):
            self._settings.clear()
        return answer

    def _body(self, transport: Transport, deadline: float) -> bytes:
        length = body_length(transport.read_exactly(PREFIX_BYTES, deadline))
        return transport.read_exactly(length, deadline)

    def _resync(self, transport: Transport) -> None:
        """Throw away what is late, until the camera gives its version and then another value.

        An answer names its question, but an earlier question for the version may be answered late
        as well; so the name of the other value is another one each time.
        """
        deadline = time.monotonic() + self._timeout_s
        transport.drain(0.1)
        version = self._version_and_more(transport, deadline)
        while late := transport.drain(0.0):
            log.info("%s: more late answers: %s", self.link.name, excerpt(late))
            version = self._version_and_more(transport, deadline)
        if self.version and version != self.version:
            raise IdentityError(
                f"{self.link.name}: {transport.address} was version {self.version} and is now "
                f"{version}"
            )

    def _version_and_more(self, transport: Transport, deadline: float) -> str:
        name = READ_BACK[self._resyncs % len(READ_BACK)]
        self._resyncs += 1
        transport.write(control_message("GET", "SOFTWAREVERSION") + control_message("GET", name))
        found: str | None = None
        while True:
            body = self._body(transport, deadline)
            if body.startswith(b",GET,SOFTWAREVERSION,"):
                found, _code = parse_control(body, "GET", "SOFTWAREVERSION")
            elif found is not None and body.startswith(f",GET,{name},".encode("ascii")):
                return found
            else:
                found = None

    def _restore(self, transport: Transport) -> None:
        """Set again what the camera no longer is: it was switched off, or reset.

        Raises
        ------
        InstrumentError
            It refuses, because frames are being taken, say.
        """
        lost = {}
        for name, value in self._settings.items():
            try:
                found = self._exchange(transport, "GET", name)
            except InstrumentError:
                continue  # older software does not tell
            if not _same(found, value):
                lost[name] = value
                log.warning("%s: %s was %s, now %s", self.link.name, name, value, found)
        timing = [self._settings.get(name) for name in TIMING if not lost.keys().isdisjoint(TIMING)]
        for name, value in lost.items():
            if name not in TIMING:
                self._exchange(transport, "SET", name, value)
        if len(timing) == 2 and None not in timing:
            exposure_ms, period_ms = (float(each or 0.0) for each in timing)
            self._set_timing(transport, 1e-3 * exposure_ms, 1e-3 * period_ms)


def _same(found: str, value: str) -> bool:
    try:
        return math.isclose(float(found), float(value), rel_tol=1e-6)
    except ValueError:
        return found == value
