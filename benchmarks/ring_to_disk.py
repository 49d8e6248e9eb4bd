"""From the ring to pages on disk at 839 MB/s, with a busy session: no socket, no lost frame.

A process of its own plays the recorder: frames are put into the ring at a fixed rate, as a reader
would put them there, and :class:`FrameRecorder` writes them with their rows and tells of them.  The
session hears that, with a thread of plain Python at work.  Through a socket that much does not go
on two cores: the loopback copies each byte twice, and the sender needs a core for that.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["RATES", "Written", "produce", "record"]

RATES: Final = ((2048, 100.0), (4096, 25.0))
RING_BYTES: Final = 512_000_000  # as [camera] ring_MB by default
MOST_SLOTS: Final = 64
W: Final = 20.0


class Written(NamedTuple):
    """What came of one recording.

    Attributes
    ----------
    frames, lost, rows : int
        That there were, that the ring refused, and that were told to the session with their rows.
    late : int
        On disk by more than two periods later than put into the ring.
    latency_s : list of float
        From the ring to the disk: p50, p99 and longest.
    core : float
        Share of a core that the recorder took, without what put the frames there.
    """

    frames: int
    lost: int
    rows: int
    late: int
    latency_s: list[float]
    core: float


def record(side: int, rate_Hz: float, seconds: float, root: str, load: bool) -> dict[str, Any]:
    """Be the session of a recorder whose frames come from nowhere; return a Written as JSON."""
    from stmtem_control.devices.recorder_protocol import Line

    from .stream_cases import busy

    folder = Path(tempfile.mkdtemp(prefix="ring-", dir=root))
    ours, theirs = socket.socketpair()
    rows = 0
    result: dict[str, Any] = {}
    try:
        command = [sys.executable, "-m", "benchmarks.ring_to_disk", str(theirs.fileno())]
        command += [str(side), str(rate_Hz), str(seconds), str(folder)]
        root_folder = Path(__file__).resolve().parents[1]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=root_folder) as process:
            theirs.close()
            line = Line(ours, "session")
            with busy(load):
                for message in line.messages():
                    if message["say"] == "rows":
                        rows += len(message["columns"]["frame"])
                    elif message["say"] == "result":
                        result = message["result"]
            line.hang_up()
            line.close()
            if process.wait(W) or not result:
                raise RuntimeError(f"the recorder failed with code {process.returncode}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result | {"rows": rows}


def produce(end: socket.socket, side: int, rate_Hz: float, seconds: float, folder: Path) -> None:
    """Be the recorder: put frames into the ring, have them written, and tell of it."""
    from stmtem_control.clock import StationClock
    from stmtem_control.devices.frame_reader import ReceivedFrame
    from stmtem_control.devices.frame_recorder import FrameRecorder
    from stmtem_control.devices.frame_times import Acquisition
    from stmtem_control.devices.merlin_stream import FrameHeader
    from stmtem_control.devices.recorder_protocol import Line
    from stmtem_control.exchanges import Exchange
    from stmtem_control.recording.page_writer import padded_bytes
    from stmtem_control.recording.ring import FrameRing, shared_memory
    from stmtem_control.timeline import Timeline

    shape, dtype = (side, side), np.dtype("<u2")
    slot_bytes = padded_bytes(shape, dtype)
    slots = min(MOST_SLOTS, FrameRing.count(shape, dtype, slot_bytes, RING_BYTES))
    memory = shared_memory(FrameRing.size(slots, slot_bytes))
    ring = FrameRing(
        shape, dtype, slots=slots, slot_bytes=slot_bytes, descriptor=memory, owner=True
    )
    os.close(memory)
    _fill(ring)
    line = Line(end, "recorder")
    clock, timeline, finished = StationClock(), Timeline(), threading.Event()
    timeline.start_run(clock.now())

    def say(message: dict[str, Any]) -> None:
        line.post(message)
        if message["say"] == "reply":
            finished.set()

    recorder = FrameRecorder(name="camera", ring=ring, clock=clock, timeline=timeline, say=say)
    opened: Future[None] = Future()
    settings = {
        "pixel_size_nm": 1.0,
        "frame_interval_s": 1.0 / rate_Hz,
        "frames_per_file": 256,
        "settle_s": 0.25,
        "method": "auto",
        "compression": None,
        "tiff": "auto",
    }

    def job() -> None:
        try:
            recorder.begin_run(1, folder, 20.0)
            recorder.begin_recording(settings)
            opened.set_result(None)
        except BaseException as error:
            opened.set_exception(error)

    recorder.reading_begins()
    recorder.do(job)
    opened.result(W)
    ended = _Watch(ring)
    now = clock.now()
    acquisition = Acquisition(0.8 / rate_Hz, 1.0 / rate_Hz, Exchange(now, now))
    frames, lost, unix = max(2, round(seconds * rate_Hz)), 0, time.time()
    begun, cpu, mine = time.monotonic(), time.process_time(), time.thread_time()
    for i in range(frames):
        wait = begun + i / rate_Hz - time.monotonic()
        if wait > 0.0:
            time.sleep(wait)
        slot = ring.take()
        arrival, monotonic = clock.now(), time.monotonic()
        header = FrameHeader(
            i + 1, 768, 4, side, side, dtype, unix + i / rate_Hz, 0.8 / rate_Hz
        )  # fmt: skip
        acquisition.receive(header, arrival)
        if slot is None:
            lost += 1
            recorder.lost(1, "found the ring full")
            continue
        ring.image(slot)[0, :2] = i % 65536, i // 65536
        ring.filled(slot, i + 1)
        ended.put(monotonic)
        recorder.receive(ReceivedFrame(acquisition, header, slot, arrival, monotonic, 0, 10.0))
    recorder.reading_ended(None, False)
    recorder.finish(1)
    if not finished.wait(W):
        raise RuntimeError("the recorder did not end")
    spent = time.monotonic() - begun
    busy = time.process_time() - cpu - (time.thread_time() - mine)
    recorder.quit(W)
    latency = np.array(ended.latency_s)
    result = Written(
        frames=frames,
        lost=lost,
        rows=0,
        late=int((latency > 2.0 / rate_Hz).sum()),
        latency_s=[float(np.percentile(latency, p)) for p in (50, 99, 100)],
        core=busy / spent,
    )
    line.post({"say": "result", "result": result._asdict()})
    line.hang_up()
    line.close()


class _Watch:
    """Notes when slots come back to the ring, in the order in which they were filled."""

    def __init__(self, ring: Any) -> None:
        self.latency_s: list[float] = []
        self._put: list[float] = []
        self._give_back = ring.give_back
        ring.give_back = self._back

    def put(self, monotonic: float) -> None:
        self._put.append(monotonic)

    def _back(self, slots: Any) -> None:
        slots = list(slots)
        now = time.monotonic()
        done = len(self.latency_s)
        self.latency_s += [now - put for put in self._put[done : done + len(slots)]]
        self._give_back(slots)


def _fill(ring: Any) -> None:
    """Put counts into all slots: memory without any would be written as fast, but is no frame."""
    rng = np.random.default_rng(1)
    side = ring.shape[0]
    counts = rng.poisson(10.0, (side + 64, side)).astype(ring.dtype)
    for slot in range(ring.slots):
        first = slot % 64
        ring.image(slot)[:] = counts[first : first + side]


def main() -> None:
    """Be the recorder of a session that started this."""
    from stmtem_control.devices.recorder_process import SWITCH_S

    sys.setswitchinterval(SWITCH_S)
    descriptor, side, rate, seconds, folder = sys.argv[1:]
    end = socket.socket(fileno=int(descriptor))
    produce(end, int(side), float(rate), float(seconds), Path(folder))


if __name__ == "__main__":
    main()
