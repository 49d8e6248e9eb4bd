"""What faults do to a reply on its way to the client; no instrument knows of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from .fault_board import LiveFault
from .fault_frames import FRAME_FAULTS, promised
from .server import Channel

_ENDING = re.compile(rb"[\r\n]*(?:> )?\Z")


@dataclass
class Delivery:
    """A reply as it will go out: pieces, each so many seconds after the one before.

    Attributes
    ----------
    pieces : list of (float, bytes)
        Wait in s of the bench's clock, and what is sent then.
    hang_up : bool
        Whether the connection closes after it.
    """

    pieces: list[tuple[float, bytes]]
    hang_up: bool = False

    @property
    def data(self) -> bytes:
        """All bytes of it."""
        return b"".join(piece for _, piece in self.pieces)

    @data.setter
    def data(self, data: bytes) -> None:
        wait = self.pieces[0][0] if self.pieces else 0.0
        self.pieces = [(wait, data)] if data else []


def strike(delivery: Delivery, live: LiveFault, channel: Channel, before: bytes) -> None:
    """Change a reply as the fault asks; `before` is the frame before, on the data port."""
    kind = live.fault.kind
    if kind in FRAME_FAULTS:
        delivery.data = FRAME_FAULTS[kind](delivery.data, live, before)
    elif kind in _REPLIES:
        delivery.data = _REPLIES[kind](delivery.data, live)
    elif kind == "delay":
        wait, *rest = delivery.pieces or [(0.0, b"")]
        delivery.pieces = [(wait[0] + live.fault.time_s, wait[1]), *rest]
    elif kind == "drip":
        gaps = (live.fault.time_s,) * len(delivery.data)
        first = delivery.pieces[0][0] if delivery.pieces else 0.0
        whole = delivery.data
        delivery.pieces = [
            (gap if place else first, whole[place : place + 1]) for place, gap in enumerate(gaps)
        ]
    else:
        assert kind == "close_during", kind
        delivery.data = _cut(delivery.data, live)
        delivery.hang_up = channel.kind == "tcp"


def garbage(live: LiveFault) -> bytes:
    """Return bytes that mean nothing, without any that end a line."""
    count = round(live.fault.size or 0)
    # Neither line ends nor the sources' breaks nor telnet commands: just noise.
    choices = [byte for byte in range(1, 255) if byte not in (0x0A, 0x0D)]
    return bytes(live.dice.choices(choices, k=count))


def _cut(data: bytes, live: LiveFault) -> bytes:
    wanted = live.fault.size
    kept = len(data) // 2 if wanted is None else round(wanted)
    return data[: min(kept, max(0, len(data) - 1))]


def _body(data: bytes) -> int:
    """Return how many bytes stand before the terminator (and the prompt)."""
    match = _ENDING.search(data)
    return match.start() if match is not None else len(data)


def _without_terminator(data: bytes, live: LiveFault) -> bytes:
    body = _body(data)
    return data[: body if body < len(data) else -1]


def _wrong_terminator(data: bytes, live: LiveFault) -> bytes:
    # Line by line: an ANC300 says OK in a line of its own.
    swapped = {b"\n": b"\r", b"\r": b"\n", b"\r\n": b"\n\r", b"\n\r": b"\r\n"}
    return re.sub(rb"\r\n|\n\r|\r|\n", lambda match: swapped[match[0]], data)


def _wrong_length(data: bytes, live: LiveFault) -> bytes:
    length = promised(data)
    if length is None:
        return data
    return b"MPX,%010d" % max(0, length + round(live.fault.size or 0)) + data[14:]


def _flip_bits(data: bytes, live: LiveFault) -> bytes:
    changed, body = bytearray(data), _body(data)
    wanted = min(round(live.fault.size or 0), 8 * body)
    for bit in live.dice.sample(range(8 * body), wanted):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _not_ascii(data: bytes, live: LiveFault) -> bytes:
    changed, body = bytearray(data), _body(data)
    for place in live.dice.sample(range(body), min(round(live.fault.size or 0), body)):
        changed[place] = live.dice.randrange(0x80, 0x100)
    return bytes(changed)


_REPLIES: dict[str, Callable[[bytes, LiveFault], bytes]] = {
    "drop": lambda data, live: b"",
    "close_before": lambda data, live: b"",  # of a serial line, which has nothing to close
    "truncate": _cut,
    "no_terminator": _without_terminator,
    "wrong_terminator": _wrong_terminator,
    "wrong_length": _wrong_length,
    "corrupt": _flip_bits,
    "non_ascii": _not_ascii,
    "duplicate": lambda data, live: data + data,
    "garbage": lambda data, live: garbage(live) + data,
}
