"""The Merlin's data stream: messages with a header, and pixels behind it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import ProtocolError
from stmtem_control.tcp import TcpTransport

from .merlin_headers import (
    PREFIX_BYTES,
    SMALLEST_HEADER,
    FrameHeader,
    HeaderParser,
    body_length,
    header_offset,
)
from .message_window import Burst, MessageWindow

CHUNK = 1 << 18  # bytes that stay in a core's cache from the socket to their place in the image


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
        self._window: MessageWindow | None = None  # for frames that are like it
        self.acquisition_header = ""

    def wait(self, seconds: float) -> bool:
        """Return whether something is there to read, waiting at most `seconds`."""
        if self._window is not None and self._window.held:
            return True
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

    def next_burst(self, deadline: float, most: int) -> Burst | None:
        """Read frames that are there, as long as they are small and like the one before.

        Parameters
        ----------
        deadline : float
            When one must be there, in ``time.monotonic()`` seconds.
        most : int
            Frames at once.

        Returns
        -------
        Burst or None
            One frame at least; None if :meth:`next_header` must look at what comes next.

        Raises
        ------
        TransportError
            As :meth:`next_frame` does.
        """
        last, transport = self._headers.last, self._transport
        if last is None or not self._headers.usual or last.pixel_bytes > CHUNK:
            return None
        if transport.holds or not transport.gathers:  # what was given back comes first
            return None
        if self._window is None:
            self._window = MessageWindow(transport, self._prefix, last)
        return self._window.read(self._headers, deadline, most)

    def next_header(self, deadline: float) -> FrameHeader | None:
        """Read up to the pixels of a frame, which must be read next.

        An acquisition header is read whole, and None returned.  Raises as :meth:`next_frame` does.
        """
        if self._window is not None:
            self._window.give_back()
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
        if last is None or prefix != self._prefix or _kind(last) != _kind(found):
            self._window = None
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


def _kind(header: FrameHeader) -> tuple[Any, ...]:
    return header.offset, header.width, header.height, header.dtype
