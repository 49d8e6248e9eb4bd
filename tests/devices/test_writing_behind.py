"""Frames that wait for the disk: rows are made final while it writes, and nothing is miscounted."""

import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stmtem_control.clock import StationClock
from stmtem_control.devices.frame_recorder import FrameRecorder
from stmtem_control.devices.frame_times import Acquisition
from stmtem_control.devices.merlin_headers import FrameHeader
from stmtem_control.devices.received_frame import ReceivedFrame
from stmtem_control.exchanges import Exchange
from stmtem_control.recording import direct_io
from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.recording.frame_table import read_table
from stmtem_control.recording.page_writer import PageWriter
from stmtem_control.recording.ring import FrameRing, shared_memory
from stmtem_control.timeline import Timeline

W = 10.0  # wall seconds that a test waits at most
SHAPE, SLOTS = (6, 8), 64
SETTINGS = {
    "pixel_size_nm": 1.0,
    "frame_interval_s": 0.001,
    "settle_s": 0.0,
    "method": "auto",
    "compression": None,
    "tiff": "auto",
}


class Behind:
    """A recorder whose disk finds many frames waiting."""

    def __init__(self, folder: Path, frames_per_file: int) -> None:
        memory = shared_memory(FrameRing.size(SLOTS, 4096))
        self.ring = FrameRing(
            SHAPE, "<u2", slots=SLOTS, slot_bytes=4096, descriptor=memory, owner=True
        )
        os.close(memory)
        self.said: list[dict[str, Any]] = []
        self._replied = threading.Event()
        self._clock, timeline = StationClock(), Timeline()
        timeline.start_run(self._clock.now())
        self.recorder = FrameRecorder(
            name="camera", ring=self.ring, clock=self._clock, timeline=timeline, say=self._say
        )
        self._acquisition = Acquisition(0.001, 0.001, Exchange(0.0, 0.001))
        self.recorder.look_back(1000.0)
        self.recorder.reading_begins()
        self._folder, self._settings = folder, SETTINGS | {"frames_per_file": frames_per_file}

    def _say(self, message: dict[str, Any]) -> None:
        self.said.append(message)
        if message["say"] == "reply":
            self._replied.set()

    def put(self, first: int, count: int) -> None:
        """Put frames into the ring, and hand them over together."""
        frames = []
        for number in range(first, first + count):
            slot = self.ring.take()
            assert slot is not None
            self.ring.image(slot)[:] = number
            self.ring.filled(slot, number)
            header = FrameHeader(
                number, 384, 1, SHAPE[1], SHAPE[0], self.ring.dtype, 1e-3 * number, 1e-3
            )
            now = self._clock.now()
            self._acquisition.receive(header, now)
            monotonic = now + self._clock.mapping()["monotonic0"]
            frames.append(
                ReceivedFrame(self._acquisition, header, slot, now, monotonic, 0, float(number))
            )
        self.recorder.receive(frames)

    def record(self) -> None:
        """Begin to record what waits, and what comes."""
        self.recorder.do(lambda: self.recorder.begin_run(1, self._folder, 20.0))
        self.recorder.do(lambda: self.recorder.begin_recording(self._settings) and None)

    def end(self) -> None:
        """End as a session does, and wait for it."""
        self.recorder.reading_ended(None, False)
        self.recorder.finish(1)
        assert self._replied.wait(W)
        assert self.recorder.quit(W)

    def told(self) -> list[int]:
        """Return the numbers of the frames that the session was told of, in order."""
        return [n for m in self.said if m["say"] == "rows" for n in m["columns"]["sequence"]]


def check(behind: Behind, folder: Path) -> int:
    """Check that pages, rows and what was told are the same; return how many there are."""
    told = behind.told()
    table = read_table(folder)
    assert [row["sequence"] for row in table] == told
    assert [row["frame"] for row in table] == list(range(len(told)))
    assert behind.ring.free == SLOTS
    with FrameFiles(folder) as files:
        assert [int(image[0, 0]) for image in files] == told
        assert [float(row["mean_counts"]) for row in files.rows()] == told
        assert all(row["settled"] for row in files.rows())
    return len(told)


@settings(deadline=None, max_examples=20)
@example([60], 256, 0)
@example([60], 256, 3)
@example([60], 7, 4)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=3).filter(lambda counts: sum(counts) <= 60),
    st.sampled_from([3, 256]),
    st.integers(0, 8),
)
def test_all_that_waits_is_written_or_counted(
    counts: list[int], frames_per_file: int, full_at: int
) -> None:
    """The disk may be full at one of the writes: then what came is on disk, or was dropped."""
    calls, real = 0, direct_io.write_all

    def write_all(descriptor: int, buffers: Any, place: int) -> tuple[int, OSError | None]:
        nonlocal calls
        calls += len(buffers) > 1
        if len(buffers) > 1 and calls == full_at:
            return 0, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, buffers, place)

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct_io, "write_all", write_all)
        patch.setattr("stmtem_control.devices.frame_recorder.SETTLE_ROWS", 8)
        behind = Behind(Path(name), frames_per_file)
        first = 0
        for count in counts[:-1]:
            behind.put(first, count)
            first += count
        behind.record()
        behind.put(first, counts[-1])
        behind.end()
        (captured, dropped) = [
            (m["captured"], m["dropped"]) for m in behind.said if "captured" in m
        ][-1]
        failed = [m["text"] for m in behind.said if m["say"] == "error"]
        assert captured == sum(counts)
        if failed:
            (text,) = failed
            assert "cannot be written" in text
        if not failed or behind.told():
            assert check(behind, Path(name)) == captured - dropped
        else:
            assert dropped == captured
            assert behind.ring.free == SLOTS
        assert bool(failed) == (dropped > 0)


def test_rows_are_made_final_while_the_disk_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Behind(tmp_path, 256)
    monkeypatch.setattr("stmtem_control.devices.frame_recorder.SETTLE_ROWS", 8)
    monkeypatch.setattr("stmtem_control.devices.row_settler.TELL_S", 100.0)
    write, told = PageWriter.write, []

    def watched(self: PageWriter, frames: Any, meanwhile: Any = None) -> None:
        before = len(behind.told())
        write(self, frames, meanwhile)
        told.append((len(frames), meanwhile is not None, len(behind.told()) - before))

    monkeypatch.setattr(PageWriter, "write", watched)
    behind.put(0, SLOTS)
    behind.record()
    behind.end()
    assert [count for count, _, _ in told] == [16] * 4
    # With the last of them there is no hurry any more.
    assert [given for _, given, _ in told] == [True] * 3 + [False]
    # After the first all are settled that can be: it is time to tell something.
    assert [settled for _, _, settled in told] == [0, 0, 8, 0]
    assert check(behind, tmp_path) == SLOTS
