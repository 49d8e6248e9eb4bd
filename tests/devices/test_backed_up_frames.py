"""Frames that are backed up are read several at once, and come out as if read one by one."""

import os
import socket
import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stmtem_control.clock import StationClock
from stmtem_control.devices.frame_reader import FrameReader
from stmtem_control.devices.merlin_stream import FrameStream
from stmtem_control.devices.received_frame import ReceivedFrame
from stmtem_control.errors import RecordingError, TransportError
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.ring import FrameRing, shared_memory
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import BufferedTransport

W = 10.0  # wall seconds that a test waits at most
SHAPE = (6, 8)
EPOCH = datetime(2026, 11, 26, tzinfo=UTC)


class Pieces:
    """A socket whose bytes come in pieces, and which is then closed by the camera."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data, self.sizes = memoryview(data), sizes
        self.calls = 0
        self.gathered: list[int] = []  # bytes, of each call

    def _there(self, most: int) -> memoryview:
        self.calls += 1
        size = self.sizes[self.calls % len(self.sizes)]
        piece, self.data = self.data[: min(size, most)], self.data[min(size, most) :]
        return piece

    def recv_into(self, view: memoryview, nbytes: int = 0, flags: int = 0) -> int:
        place = 0
        while place < len(view):
            piece = self._there(len(view) - place)
            view[place : place + len(piece)] = piece
            place += len(piece)
            if not flags or not self.data:
                break
        return place

    def recvmsg_into(self, views: list[memoryview], _: int, flags: int) -> tuple[int, Any]:
        assert flags == socket.MSG_DONTWAIT
        piece = self._there(sum(len(view) for view in views))
        size, place = len(piece), 0
        for view in views:
            n = min(len(view), size - place)
            view[:n] = piece[place : place + n]
            place += n
        self.gathered.append(size)
        if not size and self.calls % 3:
            raise BlockingIOError  # nothing there yet
        return size, None


def stream_of(pieces: Pieces, *, at_once: bool) -> FrameStream:
    """Return a stream that reads them, several frames at once or one by one."""
    transport = TcpTransport.__new__(TcpTransport)
    BufferedTransport.__init__(transport, "camera:1")
    double: Any = transport
    double._socket, double._flags = pieces, socket.MSG_WAITALL
    double._wire = SimpleNamespace(readable=lambda _: True, close=lambda: None)
    if not at_once:
        double._socket = SimpleNamespace(recv_into=pieces.recv_into)
        assert not transport.gathers
    return FrameStream(transport)


def message(body: bytes) -> bytes:
    """Return a data message."""
    return b"MPX,%010d," % (len(body) + 1) + body


def frame(number: int, tick: int, *, offset: int = 384, exposure_ns: int = 10**6) -> bytes:
    """Return a frame whose pixels tell its tick, which no other has."""
    moment = EPOCH + timedelta(milliseconds=tick)
    text = (
        f"MQ1,{number:06d},{offset:05d},01,{SHAPE[1]:04d},{SHAPE[0]:04d},U16,   1x1,01,"
        f"{moment:%Y-%m-%d %H:%M:%S.%f},{1e-9 * exposure_ns:.6f},0,0,0,"
        f"MQ1A,{moment:%Y-%m-%dT%H:%M:%S.%f}000Z,{exposure_ns}ns,12,"
    )
    pixels = (np.arange(48).reshape(SHAPE) + tick).astype(">u2")
    return message(text.encode().ljust(offset, b"\0") + pixels[::-1].tobytes())


class Read:
    """What came of reading a stream to its end."""

    def __init__(self, pieces: Pieces, *, at_once: bool, slots: int, frees: bool) -> None:
        size = 4096
        memory = shared_memory(FrameRing.size(slots, size))
        self.ring = FrameRing(
            SHAPE, "<u2", slots=slots, slot_bytes=size, descriptor=memory, owner=True
        )
        os.close(memory)
        self.frames: list[tuple[int, int, float, int, float]] = []
        self.times: list[float] = []
        self.most = 0  # frames at once
        self.lost: list[tuple[int, str]] = []
        self.twice = self.starts = 0
        self.error: Exception | None = None
        self._waiting: list[int] = []
        self._frees = frees
        self._clock = StationClock()
        ended = threading.Event()

        def end(error: Exception | None, hurry: bool) -> None:
            self.error = error
            ended.set()

        def twice() -> None:
            self.twice += 1

        def start(t: float) -> None:
            self.starts += 1

        reader = FrameReader(
            name="camera",
            ring=self.ring,
            clock=self._clock,
            ask_status=lambda: Future[str](),
            make_room=self._make_room,
            on_frames=self._take,
            on_lost=lambda count, how: self.lost.append((count, how)),
            on_twice=twice,
            on_come=start,
            on_end=end,
        )
        begun = time.monotonic()
        reader.begin(stream_of(pieces, at_once=at_once), 0.001, 0.001)
        reader.started(Exchange(0.0, 0.001))
        assert ended.wait(W)
        assert [begun, *self.times] == sorted([begun, *self.times])
        self.samples = [(s[4], s[3], s[5]) for s in reader.samples()]

    def _take(self, frames: Any) -> None:
        assert frames or self.lost or self.twice
        self.most = max(self.most, len(frames))
        for frame in frames:
            assert isinstance(frame, ReceivedFrame)
            image = self.ring.image(frame.slot)
            header = frame.header
            np.testing.assert_array_equal(image - image[0, 0], np.arange(48).reshape(SHAPE))
            assert frame.mean_counts == image.mean()
            since = frame.monotonic - self._clock.mapping()["monotonic0"]
            assert frame.arrival == pytest.approx(since, abs=1e-3)
            self.times.append(frame.monotonic)
            self._waiting.append(frame.slot)
            self.frames.append(
                (
                    header.sequence,
                    int(image[0, 0]),
                    frame.mean_counts,
                    frame.dropped_before,
                    header.exposure_s,
                )
            )
        if frames:
            newest = self.ring.newest()
            assert newest is not None
            assert newest[1] == frames[-1].header.sequence

    def _make_room(self) -> bool:
        if not self._frees or not self._waiting:
            return False
        self.ring.give_back([self._waiting.pop(0)])
        return True

    def facts(self) -> tuple[Any, ...]:
        """Return all that must not depend on how it was read."""
        total = sum(count for count, _ in self.lost)
        free = self.ring.free + len(self._waiting)
        return self.frames, total, self.twice, self.starts, str(self.error), free, self.samples


steps = st.lists(
    st.sampled_from(
        ["frame"] * 12 + ["lost", "twice", "start", "exposure", "longer", "as long as a frame"]
    ),
    min_size=1,
    max_size=40,
)


def script(kinds: list[str]) -> bytes:
    """Return what a camera sends."""
    data, last, number, offset, exposure_ns = b"", b"", 0, 384, 10**6
    for tick, kind in enumerate(kinds):
        if kind == "twice" and last:
            data += last
            continue
        if kind == "start":
            data, number = data + message(b"HDR,\tnow\nEnd\n".ljust(300 + tick)), 0
            continue
        if kind == "as long as a frame":
            data, number = data + message(b"HDR,\tnow\n".ljust(offset + 96)), 0
            continue
        number += 3 if kind == "lost" else 1
        exposure_ns += kind == "exposure"
        offset = 896 - offset if kind == "longer" else offset
        last = frame(number, tick, offset=offset, exposure_ns=exposure_ns)
        data += last
    return data


EVEN = ["frame"] * 5


@settings(deadline=None, max_examples=150)
@example([*EVEN, "twice", *EVEN, "twice", "twice", *EVEN], [1 << 20], 0, 200, False)
@example([*EVEN, "lost", *EVEN, "exposure", *EVEN], [1 << 20], 0, 200, False)
@example([*EVEN, "longer", *EVEN, "start", *EVEN], [1 << 20], 100, 200, False)
@example([*EVEN, "as long as a frame", *EVEN, "lost", *EVEN], [1 << 20], 0, 200, False)
@example([*EVEN, "lost", "twice", *EVEN, *EVEN], [1 << 20], 0, 8, False)
@example([*EVEN, "lost", "twice", *EVEN, *EVEN], [1 << 20], 0, 8, True)
@given(
    steps,
    st.lists(st.integers(1, 4000), min_size=1, max_size=6),
    st.integers(0, 500),
    st.sampled_from([4, 8, 200]),
    st.booleans(),
)
def test_it_does_not_matter_how_many_are_read_at_once(
    kinds: list[str], sizes: list[int], cut: int, slots: int, frees: bool
) -> None:
    """In pieces of any size, with lost and repeated frames, starts, other headers and lengths.

    The ring may be full, and the stream may end in the middle of a message.
    """
    data = script(kinds)
    data = data[: len(data) - cut] if cut < len(data) else data
    one = Read(Pieces(data, sizes), at_once=False, slots=slots, frees=frees)
    several = Read(Pieces(data, sizes), at_once=True, slots=slots, frees=frees)
    assert several.facts() == one.facts()
    assert one.most <= 1
    assert isinstance(several.error, TransportError)


def test_several_frames_come_with_one_call() -> None:
    data = script(["start", *["frame"] * 33])
    pieces = Pieces(data, [1 << 20])
    read = Read(pieces, at_once=True, slots=200, frees=False)
    assert read.most == 32  # the first tells how long the others are
    assert [number for number, *_ in read.frames] == list(range(1, 34))
    assert read.samples == [(number, mean, 0) for number, _, mean, *_ in read.frames]
    assert len(pieces.gathered) <= 4


def test_frames_of_another_shape_end_the_reading() -> None:
    good = [frame(i, i) for i in (1, 2, 3)]
    other = good[2].replace(b",0008,0006,", b",0006,0008,")
    read = Read(Pieces(b"".join(good) + other, [1 << 20]), at_once=True, slots=8, frees=False)
    assert isinstance(read.error, RecordingError)
    assert "is 6 x 8 uint16; declared were 8 x 6" in str(read.error)
    assert [number for number, *_ in read.frames] == [1, 2, 3]
