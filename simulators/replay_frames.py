"""The frames that a replaying Merlin sends: pictures made beforehand, and heads that keep up."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from . import merlin_frames as wire
from .merlin_plan import Plan
from .model import KineticModel

COUNTS = 10.0  # in a pixel of vacuum


def pictures(size: int, count: int, *, seed: int = 1) -> list[NDArray[np.uint16]]:
    """Return frames of a fibre with lithium on it: one scene, each with its own shot noise.

    Parameters
    ----------
    size : int
        Edge in pixels.
    count : int
        How many.
    seed : int
        Of sites and noise.
    """
    model = KineticModel(preset="fig2", seed=seed)
    model.advance(0.3, -5.0)
    step = 1024.0 / size
    return [
        model.frame(
            shape=(size, size),
            pixel_size_nm=step,
            origin_nm=(-512.0, -512.0),
            electrons_per_A2=COUNTS / (100.0 * step * step),
            index=index,
        )
        for index in range(count)
    ]


class FrameHead:
    """The bytes before a frame's pixels, of which a frame changes only number and times.

    Parameters
    ----------
    plan : Plan
        Of the acquisition.
    pixel_bytes : int
        That follow.
    """

    def __init__(self, plan: Plan, pixel_bytes: int) -> None:
        self._plan = plan
        self._pixel_bytes = pixel_bytes
        self._shutter_ns = round(plan.exposure_s * 1e9)
        self._until = 0
        self._second = -1
        self._make(1)

    def _make(self, number: int) -> None:
        stamp = wire.Stamp(0, self._shutter_ns)
        head = wire.frame_header(self._plan.head, number, 0, self._plan.thresholds_keV, stamp)
        self.buffer = bytearray(b"MPX,%010d," % (1 + len(head) + self._pixel_bytes) + head)
        epoch = datetime.fromtimestamp(0, UTC)
        digits = len(f"{number:06d}")
        self._until = 10**digits
        begin = self.buffer.index(b"MQ1,") + 4
        self._number = slice(begin, begin + digits)
        begin = self.buffer.index(f"{epoch:%Y-%m-%d %H:%M:%S}.".encode())
        self._date, self._us = slice(begin, begin + 19), slice(begin + 20, begin + 26)
        begin = self.buffer.index(f"{epoch:%Y-%m-%dT%H:%M:%S}.".encode())
        self._iso_date, self._ns = slice(begin, begin + 19), slice(begin + 20, begin + 29)
        self._second = -1

    def show(self, number: int, start_ns: int) -> bytearray:
        """Return the head of frame `number`, exposed from `start_ns` (since 1970) on."""
        if number >= self._until:
            self._make(number)
        second, nanoseconds = divmod(start_ns, 10**9)
        buffer = self.buffer
        if second != self._second:
            self._second = second
            moment = datetime.fromtimestamp(second, UTC)
            buffer[self._date] = f"{moment:%Y-%m-%d %H:%M:%S}".encode()
            buffer[self._iso_date] = f"{moment:%Y-%m-%dT%H:%M:%S}".encode()
        buffer[self._number] = b"%06d" % number
        buffer[self._us] = b"%06d" % (nanoseconds // 1000)
        buffer[self._ns] = b"%09d" % nanoseconds
        return buffer
