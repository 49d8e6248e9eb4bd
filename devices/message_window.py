"""Several messages of one length with one call of the system: for a camera that goes flat out.

The frames of an acquisition are all of one length.  So those that are backed up are asked for at
once, each into a room of its own, in which its pixels are aligned for what reads them.  What else
may come is noticed by its prefix, which tells the length; all from there on is given back.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stmtem_control.tcp import TcpTransport

from .merlin_headers import FrameHeader, HeaderParser

WINDOW = 1 << 19  # bytes of all rooms together: what stays in a core's cache
MOST_ROOMS = 64
ALIGNED = 64  # bytes


class Burst(NamedTuple):
    """Frames that were read at once.

    Attributes
    ----------
    headers : list of FrameHeader
        One for each frame.
    pixels : array, shape (n, height, width)
        As on the wire: big-endian, bottom row first.  Overwritten by the next burst.
    first_s : float or None
        When the first frame was seen to have begun, on ``time.monotonic()``, if that was while
        those before it were read; else the reader knows it.
    others_s : float
        The same of the others: when they had been read.  They were there by then, and not before
        the first was.
    """

    headers: list[FrameHeader]
    pixels: NDArray[Any]
    first_s: float | None
    others_s: float


class MessageWindow:
    """Rooms for messages that are like one that has come; used by one thread.

    Parameters
    ----------
    transport : TcpTransport
        One that :attr:`~.TcpTransport.gathers`.
    prefix : bytes
        What such a message begins with, up to its header.
    header : FrameHeader
        Of the frame that the others are like.
    """

    def __init__(self, transport: TcpTransport, prefix: bytes, header: FrameHeader) -> None:
        self._transport = transport
        self._prefix = prefix
        self._head = len(prefix) + header.offset
        self._length = self._head + header.pixel_bytes
        before = -(-self._head // ALIGNED) * ALIGNED
        stride = -(-(before + header.pixel_bytes) // ALIGNED) * ALIGNED
        rooms = max(1, min(MOST_ROOMS, WINDOW // stride))
        memory = np.zeros(rooms * stride + ALIGNED, np.uint8)
        skip = -memory.__array_interface__["data"][0] % ALIGNED
        self._pixels: NDArray[Any] = np.ndarray(
            (rooms, header.height, header.width),
            header.dtype,
            memory,
            skip + before,
            (stride, header.width * header.dtype.itemsize, header.dtype.itemsize),
        )
        begin = skip + before - self._head
        self._rooms = [
            memory.data[place : place + self._length]
            for place in range(begin, begin + rooms * stride, stride)
        ]
        self._held = 0  # bytes of messages that are not taken yet, from the room on
        self._room = 0
        self._since: float | None = None  # when the first of them was there

    @property
    def held(self) -> int:
        """Bytes that were read and not taken: of a message that has begun."""
        return self._held

    def read(self, headers: HeaderParser, deadline: float, most: int) -> Burst | None:
        """Read what is there, and wait for one whole message until `deadline`.

        Returns
        -------
        Burst or None
            At most `most` frames; None if something else comes next, which then can be read from
            the transport.

        Raises
        ------
        TransportError
            The connection broke, or the message did not come in time.
        """
        self._to_the_front()
        first, length = self._rooms[0], self._length
        rooms = self._rooms[: max(1, most)]
        first_s, begun = self._since, self._held
        if begun:
            rooms[0] = first[begun:]
        self._held += self._transport.read_gathered(rooms)
        others_s = time.monotonic()
        if self._held < length and not self._wait_for_first(first, deadline):
            self.give_back()
            return None
        found: list[FrameHeader] = []
        whole = self._held // length
        for room in self._rooms[:whole]:
            header = None
            if room[: len(self._prefix)] == self._prefix:
                header = headers.quick(bytes(room[len(self._prefix) : self._head]))
            if header is None:
                break
            found.append(header)
        taken = len(found)
        self._room, self._since = taken, others_s
        self._held -= taken * length
        if taken < whole:
            self.give_back()
        return Burst(found, self._pixels[:taken], first_s, others_s) if found else None

    def _wait_for_first(self, first: memoryview, deadline: float) -> bool:
        """Return whether the first message is such a one; then it is there."""
        for end in (len(self._prefix), self._length):
            if self._held < end:
                self._transport.read_into(first[self._held : end], deadline)
                self._held = end
            if first[: len(self._prefix)] != self._prefix:
                return False
        return True

    def _to_the_front(self) -> None:
        """Put what was left over from the last burst where the next one begins."""
        if self._room and self._held:
            self._rooms[0][: self._held] = self._rooms[self._room][: self._held]
        self._room = 0
        if not self._held:
            self._since = None

    def give_back(self) -> None:
        """Have what is held read next from the transport."""
        left, room = self._held, self._room
        data = bytearray()
        while left > 0:
            n = min(left, self._length)
            data += self._rooms[room][:n]
            left, room = left - n, room + 1
        self._held = self._room = 0
        if data:
            self._transport.give_back(data)
