"""The Merlin's data stream: messages, MQ1 frame headers, pixels.

Source: Quantum Detectors, "Merlin TCP/IP control", TDI-CTRL-TNO-0041.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stmtem_control.errors import ProtocolError
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import excerpt

PREFIX = re.compile(rb"^MPX,(\d{1,10})$")
PREFIX_BYTES = 14  # "MPX," and ten digits
SMALLEST_HEADER = 256  # before the 128 bytes of each chip
LARGEST_MESSAGE = 1 << 28
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
