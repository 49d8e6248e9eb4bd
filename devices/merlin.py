"""Driver for Quantum Detectors' Merlin: control socket, data stream, MQ1 frame headers.

It knows nothing of ophyd.  Control commands are jobs on a :class:`~stmtem_control.link.Link` and
return Futures; frames come through a :class:`FrameStream`, which belongs to one reading thread.

Source: Quantum Detectors, "Merlin TCP/IP control", TDI-CTRL-TNO-0041.
"""

import logging
import re
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stmtem_control.errors import IdentityError, InstrumentError, ProtocolError
from stmtem_control.link import NORMAL, SAFE, Link
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import Transport, excerpt

log = logging.getLogger(__name__)

PREFIX = re.compile(rb"^MPX,(\d{1,10})$")
PREFIX_BYTES = 14  # "MPX," and ten digits
SMALLEST_HEADER = 256  # before the 128 bytes of each chip
LARGEST_MESSAGE = 1 << 28
ERRORS = {1: "unknown error or busy", 2: "unknown command", 3: "value out of range"}
DEPTHS: dict[str, DTypeLike] = {"U08": ">u1", "U16": ">u2", "U32": ">u4"}
DEPTH_OF_COUNTER = {1: "U08", 6: "U08", 12: "U16", 24: "U32"}
ISO_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$")


def control_message(kind: str, name: str, value: object = None) -> bytes:
    """Return a control message; its length counts from the comma after the number."""
    body = f",{kind},{name}" if value is None else f",{kind},{name},{value}"
    return f"MPX,{len(body):010d}{body}".encode("ascii")


def body_length(prefix: bytes) -> int:
    """Return how many bytes follow ``MPX,<length>``, the comma included.

    Raises
    ------
    ProtocolError
        It is not such a prefix, or the length makes no sense.
    """
    match = PREFIX.match(prefix)
    length = int(match[1]) if match else 0
    if not 0 < length <= LARGEST_MESSAGE:
        raise ProtocolError(f"expected 'MPX,' and a length, received {excerpt(prefix)}")
    return length


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


@dataclass(frozen=True)
class FrameHeader:
    """What an MQ1 header says of its frame.

    Attributes
    ----------
    sequence : int
        Starts with 1 at each start of an acquisition.
    offset : int
        Bytes of the header; the pixels follow.
    width, height : int
        In pixels.
    dtype : numpy.dtype
        Of the pixels on the wire, big-endian.
    unix_time_s : float
        The camera's own stamp of the start of the exposure.
    exposure_s : float
        The shutter time.
    """

    sequence: int
    offset: int
    chips: int
    width: int
    height: int
    dtype: np.dtype[Any]
    unix_time_s: float
    exposure_s: float

    @property
    def pixel_bytes(self) -> int:
        """Return how many bytes of pixels follow the header."""
        return self.width * self.height * self.dtype.itemsize


def header_offset(start: bytes) -> int:
    """Return where the pixels begin, from the first fields of an MQ1 header."""
    parts = start.split(b",", 3)
    if len(parts) < 4 or parts[0] != b"MQ1" or not parts[2].isdigit():
        raise ProtocolError(f"expected an MQ1 header, received {excerpt(start, 40)}")
    return int(parts[2])


def parse_frame_header(header: bytes) -> FrameHeader:
    """Take an MQ1 header apart; the ISO stamp of its extension is used if it is there.

    Raises
    ------
    ProtocolError
        It does not parse, or the pixels are of a kind that cannot be read here.
    """
    text = header.split(b"\0", 1)[0].decode("ascii", "replace")
    parts = [part.strip() for part in text.split(",")]
    try:
        if parts[0] != "MQ1":
            raise ValueError(parts[0])
        depth = parts[6]
        stamp, exposure = datetime.fromisoformat(parts[9]).timestamp(), float(parts[10])
        if "MQ1A" in parts:
            extension = parts.index("MQ1A")
            stamp = _iso_seconds(parts[extension + 1])
            if parts[extension + 2].endswith("ns"):
                exposure = 1e-9 * float(parts[extension + 2][:-2])
        if depth not in DEPTHS:
            raise ProtocolError(
                f"camera: frames of depth {depth} cannot be read here; set the counter depth to "
                "6, 12 or 24 bits"
            )
        found = FrameHeader(
            sequence=int(parts[1]),
            offset=int(parts[2]),
            chips=int(parts[3]),
            width=int(parts[4]),
            height=int(parts[5]),
            dtype=np.dtype(DEPTHS[depth]),
            unix_time_s=stamp,
            exposure_s=exposure,
        )
    except (ValueError, IndexError, OverflowError) as error:
        if isinstance(error, ProtocolError):
            raise
        raise ProtocolError(f"not an MQ1 header: {excerpt(header, 100)}") from None
    if found.width < 1 or found.height < 1:
        raise ProtocolError(f"an MQ1 header gives {found.width} x {found.height} pixels")
    return found


def _iso_seconds(text: str) -> float:
    match = ISO_STAMP.match(text)
    if match is None:
        raise ValueError(text)
    seconds = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp()
    return seconds + int((match[2] or "0").ljust(9, "0")) * 1e-9


class FrameStream:
    """The data socket, read by one thread.

    Parameters
    ----------
    transport : TcpTransport
        Connected before the acquisition starts, or its first frames are lost.
    """

    def __init__(self, transport: TcpTransport) -> None:
        self._transport = transport
        self._raw = bytearray()
        self.acquisition_header = ""

    def wait(self, seconds: float) -> bool:
        """Return whether something is there to read, waiting at most `seconds`."""
        return self._transport.wait_readable(seconds)

    def next_frame(
        self, deadline: float, out: NDArray[Any] | None = None
    ) -> tuple[FrameHeader, NDArray[Any]] | None:
        """Read one message; return None if it was an acquisition header.

        Parameters
        ----------
        deadline : float
            When all of it must be there, in ``time.monotonic()`` seconds.
        out : numpy.ndarray, optional
            Receives the pixels, in native byte order, top row first; used if its shape and size of
            pixel fit, else a new array is made.

        Raises
        ------
        ProtocolError
            The stream cannot be understood: nothing after it can be trusted.
        TransportError
            The connection broke, or the message did not come in time.
        """
        length = body_length(self._transport.read_exactly(PREFIX_BYTES, deadline))
        start = self._transport.read_exactly(min(length, 1 + SMALLEST_HEADER), deadline)
        if start.startswith(b",HDR,"):
            rest = self._transport.read_exactly(length - len(start), deadline)
            self.acquisition_header = (start + rest)[5:].decode("ascii", "replace")
            return None
        offset = header_offset(start[1:])
        if not SMALLEST_HEADER <= offset < length:
            raise ProtocolError(f"an MQ1 header gives {offset} as the place of the pixels")
        header = parse_frame_header(
            start[1:] + self._transport.read_exactly(offset + 1 - len(start), deadline)
        )
        if length != 1 + offset + header.pixel_bytes:
            raise ProtocolError(
                f"frame {header.sequence}: {length - 1 - offset} bytes of pixels, "
                f"{header.width} x {header.height} {header.dtype.name} need {header.pixel_bytes}"
            )
        return header, self._pixels(header, deadline, out)

    def _pixels(
        self, header: FrameHeader, deadline: float, out: NDArray[Any] | None
    ) -> NDArray[Any]:
        if len(self._raw) != header.pixel_bytes:
            self._raw = bytearray(header.pixel_bytes)
        self._transport.read_into(memoryview(self._raw), deadline)
        shape = (header.height, header.width)
        native = header.dtype.newbyteorder("=")
        if out is None or out.shape != shape or out.dtype != native:
            out = np.empty(shape, native)
        # The bottom row comes first on the wire.
        np.copyto(out, np.frombuffer(self._raw, header.dtype).reshape(shape)[::-1])
        return out

    def interrupt(self) -> None:
        """Make a blocked or later read fail at once; for another thread."""
        self._transport.interrupt()

    def close(self) -> None:
        """Close the connection; safe to call again."""
        self._transport.close()


class Merlin:
    """One detector: commands on its control link, frames from its data socket.

    Parameters
    ----------
    link : Link
        The control connection; the driver sets ``link.resync``.
    host, data_port : str, int
        Where the frames come from.
    timeout_s : float
        Wall seconds an answer may take.
    """

    def __init__(
        self, link: Link, *, host: str, data_port: int = 6342, timeout_s: float = 1.0
    ) -> None:
        self.link = link
        self.version = ""
        self._host = host
        self._data_port = data_port
        self._timeout_s = timeout_s
        link.resync = self._resync

    def open(self) -> "Future[str]":
        """Find out who is there; the Future gives the software's version.

        It fails with IdentityError when what answers does not speak Merlin's protocol.
        """

        def job(transport: Transport) -> str:
            transport.drain(0.05)
            try:
                self.version = self._exchange(transport, "GET", "SOFTWAREVERSION")
            except (ProtocolError, InstrumentError) as error:
                raise IdentityError(
                    f"{self.link.name}: expected a Merlin at {transport.address}: {error}"
                ) from None
            return self.version

        return self.link.submit(job, name="identification")

    def get(self, name: str) -> "Future[str]":
        """Read a parameter, as text."""
        return self.link.submit(
            lambda transport: self._exchange(transport, "GET", name), name=f"GET {name}"
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

    def command(self, name: str, *, safe: bool = False) -> "Future[None]":
        """Send a command such as STARTACQUISITION, STOPACQUISITION or SOFTTRIGGER."""

        def job(transport: Transport) -> None:
            self._exchange(transport, "CMD", name)

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
        self, *, exposure_s: float, period_s: float, frames: int = 0
    ) -> "Future[FrameStream]":
        """Connect the data socket and start; the Future gives the stream.

        Parameters
        ----------
        exposure_s, period_s : float
            Of the frames.
        frames : int
            How many; 0 until STOPACQUISITION.
        """

        def job(transport: Transport) -> FrameStream:
            self._make_idle(transport)
            self._set_timing(transport, exposure_s, period_s)
            for name, value in (
                ("NUMFRAMESTOACQUIRE", frames),
                ("NUMFRAMESPERTRIGGER", 1),
                ("TRIGGERSTART", 0),
                ("TRIGGERSTOP", 0),
            ):
                self._exchange(transport, "SET", name, value)
            stream = self.open_stream()
            try:
                # One more exchange, so that the camera has taken the new connection.
                self._exchange(transport, "GET", "DETECTORSTATUS")
                self._exchange(transport, "CMD", "STARTACQUISITION")
            except BaseException:
                stream.close()
                raise
            return stream

        return self.link.submit(job, name="start of the acquisition", topic="acquisition")

    def image_size(self) -> "Future[tuple[int, int] | None]":
        """Read the image's (height, width); None from older software, which cannot tell."""

        def job(transport: Transport) -> tuple[int, int] | None:
            try:
                width = int(self._exchange(transport, "GET", "IMAGEX"))
                return int(self._exchange(transport, "GET", "IMAGEY")), width
            except (InstrumentError, ValueError):
                return None

        return self.link.submit(job, name="image size")

    def open_stream(self) -> FrameStream:
        """Connect the data socket; do so before STARTACQUISITION.

        Raises
        ------
        TransportError
            Nothing listens there.
        """
        return FrameStream(TcpTransport(self._host, self._data_port, receive_buffer=1 << 22))

    def _make_idle(self, transport: Transport) -> None:
        if self._exchange(transport, "GET", "DETECTORSTATUS") != "0":
            try:
                self._exchange(transport, "CMD", "STOPACQUISITION")
            except InstrumentError as error:
                log.info("%s", error)

    def _set_timing(self, transport: Transport, exposure_s: float, period_s: float) -> None:
        exposure = ("ACQUISITIONTIME", f"{1e3 * exposure_s:.9g}")
        period = ("ACQUISITIONPERIOD", f"{1e3 * period_s:.9g}")
        present_ms = float(self._exchange(transport, "GET", "ACQUISITIONTIME"))
        longer_first = (period, exposure) if 1e3 * period_s >= present_ms else (exposure, period)
        for name, value in longer_first:
            self._exchange(transport, "SET", name, value)

    def _exchange(self, transport: Transport, kind: str, name: str, value: object = None) -> str:
        transport.write(control_message(kind, name, value))
        body = self._body(transport, time.monotonic() + self._timeout_s)
        answer, code = parse_control(body, kind, name)
        if code:
            what = f"{kind} {name}" if value is None else f"{kind} {name} {value}"
            raise InstrumentError(
                f"{self.link.name}: {what} was refused: {ERRORS.get(code, 'error')} (code {code})"
            )
        return answer

    def _body(self, transport: Transport, deadline: float) -> bytes:
        length = body_length(transport.read_exactly(PREFIX_BYTES, deadline))
        return transport.read_exactly(length, deadline)

    def _resync(self, transport: Transport) -> None:
        """Throw away what is late, until the camera gives its version."""
        transport.drain(0.1)
        deadline = time.monotonic() + self._timeout_s
        transport.write(control_message("GET", "SOFTWAREVERSION"))
        while b",GET,SOFTWAREVERSION," not in (body := self._body(transport, deadline)):
            pass
        version, _code = parse_control(body, "GET", "SOFTWAREVERSION")
        if self.version and version != self.version:
            raise IdentityError(
                f"{self.link.name}: {transport.address} was version {self.version} and is now "
                f"{version}"
            )
