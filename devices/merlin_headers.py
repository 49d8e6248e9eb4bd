"""What goes before the pixels on the Merlin's data stream: prefixes of messages, MQ1 headers.

Source: Quantum Detectors, "Merlin TCP/IP control", TDI-CTRL-TNO-0041.
"""

import math
import re
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from stmtem_control.errors import ProtocolError
from stmtem_control.transport import excerpt

PREFIX = re.compile(rb"^MPX,(\d{1,10})$")
PREFIX_BYTES = 14  # "MPX," and ten digits
SMALLEST_HEADER = 256  # before the 128 bytes of each chip
LARGEST_MESSAGE = 1 << 28
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

    @property
    def usual(self) -> bool:
        """Whether another like the last can be taken out quickly."""
        return bool(self._places)

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
