"""What faults do to frames on the camera's data port: MPX messages with MQ1 headers."""

import re
from collections.abc import Callable

from .fault_board import LiveFault

_LENGTH = re.compile(rb"MPX,(\d{10}),")
# MPX,<length>, then id, sequence number, and the offset of the pixels from the id on.
_FRAME = re.compile(rb"MPX,\d{10},MQ1,(\d{6}),(\d{5}),")
_START = len(b"MPX,0000000000,")


def promised(message: bytes) -> int | None:
    """Return the length that an MPX message gives, None if it is none."""
    match = _LENGTH.match(message)
    return None if match is None else int(match[1])


def is_frame(message: bytes) -> bool:
    """Tell a frame from the header of an acquisition."""
    return message[_START : _START + 4] == b"MQ1,"


def _pixels_from(message: bytes) -> int:
    match = _FRAME.match(message)
    return len(message) if match is None else _START + int(match[2])


def _shorten(message: bytes, live: LiveFault, before: bytes) -> bytes:
    first = _pixels_from(message)
    wanted = live.fault.size
    missing = (len(message) - first) // 2 if wanted is None else round(wanted)
    short = message[: max(first, len(message) - missing)]
    return b"MPX,%010d" % (len(short) - _START + 1) + short[_START - 1 :]


def _repeat_number(message: bytes, live: LiveFault, before: bytes) -> bytes:
    this, last = _FRAME.match(message), _FRAME.match(before)
    if this is None or last is None:
        return message
    return message[: this.start(1)] + last[1] + message[this.end(1) :]


def _blank(message: bytes, live: LiveFault, before: bytes) -> bytes:
    first = _pixels_from(message)
    return message[:first] + bytes(len(message) - first)


FRAME_FAULTS: dict[str, Callable[[bytes, LiveFault, bytes], bytes]] = {
    "lost_frames": lambda message, live, before: b"",
    "short_frames": _shorten,
    "repeated_numbers": _repeat_number,
    "blank_frames": _blank,
}
