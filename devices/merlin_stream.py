"""The Merlin's data stream: messages, MQ1 frame headers, pixels.

Source: Quantum Detectors, "Merlin TCP/IP control", TDI-CTRL-TNO-0041.
"""

import math
import re
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stmtem_control.errors import ProtocolError
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import excerpt

PREFIX = re.compile(rb"^MPX,(\d{1,10})$")
PREFIX_BYTES = 14  # "MPX," and ten digits
SMALLEST_HEADER = 256  # before the 128 bytes of each chip
LARGEST_MESSAGE = 1 << 28
CHUNK = 1 << 18  # bytes that stay in a core's cache from the socket to their place in the image
STAMP_BYTES = 30  # 2026-11-26T11:20:15.123456789Z
DEPTHS: dict[str, DTypeLike] = {"U08": ">u1", "U16": ">u2", "U32": ">u4"}
ISO_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$")


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


class FrameHeader(NamedTuple):
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
    if not (math.isfinite(found.exposure_s) and found.exposure_s >= 0.0):
        raise ProtocolError(f"an MQ1 header gives an exposure of {found.exposure_s} s")
    if found.width < 1 or found.height < 1:
        raise ProtocolError(f"an MQ1 header gives {found.width} x {found.height} pixels")
    return found


def _iso_seconds(text: str) -> float:
    match = ISO_STAMP.match(text)
    if match is None:
        raise ValueError(text)
    seconds = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp()
    return seconds + int((match[2] or "0").ljust(9, "0")) * 1e-9


class HeaderParser:
    """Parses the MQ1 headers of one stream; one that looks like the one before costs little.

    Most of a header is the same in every frame.  What differs (number and time stamp) is taken out
    where it was found by :func:`parse_frame_header`; whatever else has changed is parsed with care.
    """

    def __init__(self) -> None:
        self._last: FrameHeader | None = None
        # What is the same in every frame, and where: before and between number, date, and stamp.
        self._same: tuple[bytes, ...] = ()
        self._places: tuple[int, ...] = ()
        self._second = b""
        self._second_s = 0.0

    @property
    def last(self) -> FrameHeader | None:
        """The header that was parsed last."""
        return self._last

    def parse(self, header: bytes) -> FrameHeader:
        """Return what a header says; raises as :func:`parse_frame_header` does."""
        found = self.quick(header)
        if found is None:
            found = parse_frame_header(header)
            self._remember(header)
            self._last = found
        return found

    def quick(self, header: bytes) -> FrameHeader | None:
        """Return what a header says that is like the one before; None if it is not like that."""
        found = self._quick(header)
        if found is not None:
            self._last = found
        return found

    def _remember(self, header: bytes) -> None:
        parts = header.split(b"\0", 1)[0].split(b",")
        self._places = ()
        place = parts.index(b"MQ1A") if b"MQ1A" in parts else 0
        if len(parts) < place + 4 or not place:
            return
        ends = list(accumulate(len(part) + 1 for part in parts))
        number, date, stamp = ends[0], ends[8], ends[place]
        places = (number, ends[1] - 1, date, ends[9] - 1, stamp, ends[place + 1] - 1)
        self._places = (*places, ends[place + 2])
        a, b, c, d, e, f, g = self._places
        self._same = (header[:a], header[b:c], header[d:e], header[f:g])

    def _quick(self, header: bytes) -> FrameHeader | None:
        last = self._last
        if last is None or not self._places:
            return None
        a, b, c, d, e, f, g = self._places
        if (header[:a], header[b:c], header[d:e], header[f:g]) != self._same:
            return None
        number, stamp = header[a:b], header[e:f]
        second, nanoseconds = stamp[:20], stamp[20:29]
        if (
            len(stamp) != STAMP_BYTES
            or not (number.isdigit() and nanoseconds.isdigit())
            or stamp[19:20] != b"."
            or stamp[29:] != b"Z"
        ):
            return None
        if second != self._second:
            try:
                self._second_s = _iso_seconds(second[:19].decode("ascii") + "Z")
            except ValueError:
                return None
            self._second = second
        return FrameHeader(
            int(number),
            last.offset,
            last.chips,
            last.width,
            last.height,
            last.dtype,
            self._second_s + int(nanoseconds) * 1e-9,
            last.exposure_s,
        )


class FrameStream:
    """The data socket, read by one thread.

    Parameters
    ----------
    transport : TcpTransport
        Connected before the acquisition starts, or its first frames are lost.
    """

    came_s: float | None = None  # when something came is known to who reads

    def __init__(self, transport: TcpTransport) -> None:
        self._transport = transport
        self._raw = bytearray()
        self._band: NDArray[Any] | None = None  # of the rows in it
        self._headers = HeaderParser()
        self._prefix = b""  # of the frame before
        self._head = bytearray()  # the same, and its header
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
        header = self.next_header(deadline)
        if header is None:
            return None
        native = header.dtype.newbyteorder("=")
        if out is None or out.shape != (header.height, header.width) or out.dtype != native:
            out = np.empty((header.height, header.width), native)
        self.read_pixels(header, deadline, out)
        return header, out

    def next_header(self, deadline: float) -> FrameHeader | None:
        """Read up to the pixels of a frame, which must be read next.

        An acquisition header is read whole, and None returned.  Raises as :meth:`next_frame` does.
        """
        last = self._headers.last
        header = None if last is None else self._usual_header(deadline)
        if header is not None:
            prefix = self._prefix
            found = self._headers.quick(header)
            if found is not None:  # as long as its length says: all but number and time is as ever
                return found
        else:
            prefix = self._exactly(PREFIX_BYTES + 1, deadline)
            length = body_length(prefix[:PREFIX_BYTES])
            start = self._exactly(min(length - 1, SMALLEST_HEADER), deadline)
            if start.startswith(b"HDR,"):
                rest = self._exactly(length - 1 - len(start), deadline)
                self.acquisition_header = (start + rest)[4:].decode("ascii", "replace")
                return None
            offset = header_offset(start)
            if not SMALLEST_HEADER <= offset < length:
                raise ProtocolError(f"an MQ1 header gives {offset} as the place of the pixels")
            header = start + self._exactly(offset - len(start), deadline)
        if header.startswith(b"HDR,"):  # as long as the frames are
            assert last is not None
            rest = self._exactly(last.pixel_bytes, deadline)
            self.acquisition_header = (header + rest)[4:].decode("ascii", "replace")
            return None
        found = self._headers.parse(header)
        length = body_length(prefix[:PREFIX_BYTES])
        if found.offset != len(header) or length != 1 + found.offset + found.pixel_bytes:
            raise ProtocolError(
                f"frame {found.sequence}: {length - 1 - len(header)} bytes of pixels, "
                f"{found.width} x {found.height} {found.dtype.name} need {found.pixel_bytes}"
            )
        if prefix != self._prefix or len(self._head) != len(prefix) + found.offset:
            self._prefix, self._head = prefix, bytearray(len(prefix) + found.offset)
        return found

    def read_pixels(self, header: FrameHeader, deadline: float, out: NDArray[Any] | None) -> None:
        """Read the pixels that follow a header, into `out`; None throws them away.

        A few rows at a time, so that they are turned to native byte order and put in their place
        while they are in the cache.  Raises TransportError as :meth:`next_frame` does.
        """
        row_bytes = header.width * header.dtype.itemsize
        rows = max(1, min(header.height, CHUNK // row_bytes))
        band = self._band
        if band is None or band.shape != (rows, header.width) or band.dtype != header.dtype:
            self._raw = bytearray(rows * row_bytes)
            band = np.frombuffer(self._raw, header.dtype).reshape(rows, header.width)
            self._band = band
        view = memoryview(self._raw)
        # The bottom row comes first on the wire.
        bottom = header.height
        while bottom:
            n = min(rows, bottom)
            self._transport.read_into(view[: n * row_bytes], deadline)
            if out is not None:
                np.copyto(out[bottom - n : bottom], band[n - 1 :: -1] if n < rows else band[::-1])
            bottom -= n

    def _usual_header(self, deadline: float) -> bytes | None:
        """Return a header behind the same prefix as before, mostly with one read; or None."""
        head = self._head
        place = self._transport.read_some(memoryview(head), deadline)
        begin = len(self._prefix)
        if place < begin:
            self._transport.read_into(memoryview(head)[place:begin], deadline)
            place = begin
        if not head.startswith(self._prefix):
            self._transport.give_back(head[:place])
            return None
        if place < len(head):
            self._transport.read_into(memoryview(head)[place:], deadline)
        return bytes(head[begin:])

    def _exactly(self, n: int, deadline: float) -> bytes:
        data = bytearray(n)
        self._transport.read_into(memoryview(data), deadline)
        return bytes(data)

    def interrupt(self) -> None:
        """Make a blocked or later read fail at once; for another thread."""
        self._transport.interrupt()

    def close(self) -> None:
        """Close the connection; safe to call again."""
        self._transport.close()
