"""One recording from the camera's socket to pages on disk, and one bare reader of the same socket.

A Merlin in a process of its own sends frames made beforehand.  A :class:`FrameCamera` records them
(its recorder is a process too) while a RunEngine collects as often as the plans do.  A third
process watches the files, so that the time from the last byte on the wire to the page on disk is
seen from outside.
"""

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["Recorded", "bare_reader", "bare_writer", "busy", "record"]

FRAMES_PER_FILE: Final = 256
W: Final = 20.0
RAW_BYTES: Final = 8_388_608  # of one raw write: many small frames at once, as our writer does too
HEADER: Final = {256: 384, 512: 768}  # bytes before the pixels, and 15 before those


class Recorded(NamedTuple):
    """What came of one recording."""

    sent: int
    lost_by_camera: int
    rows: int
    dropped: int
    frames_per_s: float
    latency_s: list[float]  # from last byte on the wire to page on disk: p50, p99, worst
    document_us: float  # CPU time of the RunEngine's thread in collects, for each frame
    recorder_us: float  # CPU time of the recorder's process, for each frame; nan where unknown
    session_us: float  # CPU time of the whole session process, for each frame; nan if it is busy


@contextlib.contextmanager
def replay(size: int, folder: Path, *, flat_out: bool = False) -> Iterator[dict[str, Any]]:
    """Run a camera; the mapping has its address, and in the end what it sent, and when."""
    command = [sys.executable, "-m", "stmtem_control.simulators.merlin_replay", "--json"]
    command += ["--size", str(size), "--until-eof", "--times", str(folder / "times.npy")]
    command += ["--flat-out"] if flat_out else []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())["camera"]
        yield about
        process.stdin.close()
        about |= json.loads(process.stdout.read())
    about["times"] = np.load(folder / "times.npy")


@contextlib.contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep a thread of plain Python at work."""
    over = threading.Event()

    def work() -> None:
        total = 0
        while not over.is_set():
            for n in range(1000):
                total += n * n

    thread = threading.Thread(target=work, daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if wanted:
            thread.join()


@contextlib.contextmanager
def session(address: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Connect a camera device, and make a RunEngine; both end with the block."""
    from bluesky import RunEngine

    from stmtem_control.clock import StationClock
    from stmtem_control.devices import FrameCamera
    from stmtem_control.devices.merlin import Merlin
    from stmtem_control.link import Link
    from stmtem_control.page_validation import pages_checked_by_columns
    from stmtem_control.tcp import TcpTransport
    from stmtem_control.timeline import Timeline

    host, port = address["host"], address["control"]
    link = Link(lambda: TcpTransport(host, port), name="camera")
    camera = FrameCamera(
        merlin=Merlin(link, host=host, data_port=address["data"], timeout_s=W),
        clock=StationClock(),
        timeline=Timeline(),
        pixel_size_nm=1.0,
        dose_rate_e_per_A2_s=20.0,
        frames_per_file=FRAMES_PER_FILE,
    )
    engine = RunEngine({}, context_managers=[])
    try:
        camera.connect(W)
        with pages_checked_by_columns():
            yield camera, engine
    finally:
        camera.disconnect()
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join(W)  # noqa: SLF001
        engine.loop.close()


@contextlib.contextmanager
def probe(folder: Path, size: int) -> Iterator[None]:
    """Watch the pages of a folder; in the end ``pages.npy`` is there."""
    from stmtem_control.recording.page_layout import ALIGNMENT, padded_bytes

    stride = padded_bytes((size, size), np.uint16) + ALIGNMENT
    command = [sys.executable, "-m", "benchmarks.page_probe", str(folder), str(stride)]
    with subprocess.Popen(
        [*command, str(FRAMES_PER_FILE)],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[1],
    ) as process:
        yield
        assert process.stdin is not None
        process.stdin.close()


def record(
    size: int, rate_Hz: float, seconds: float, root: str, load: bool, flat_out: bool
) -> dict[str, Any]:
    """Record frames through camera device, recorder and RunEngine; return a Recorded as JSON."""
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp

    from stmtem_control.plans.stubs import COLLECT_PERIOD_S

    folder = Path(tempfile.mkdtemp(prefix="streaming-", dir=root))
    spent = 0.0
    declared = 0

    def collect(camera: Any) -> Any:
        nonlocal spent
        begun = time.thread_time()
        yield from bps.collect(camera, name="frames", return_payload=False)
        spent += time.thread_time() - begun

    def plan(camera: Any) -> Any:
        camera.timeline.start_run(camera.clock.now())
        camera.directory = folder
        yield from bps.declare_stream(camera, name="frames", collect=True)
        yield from bps.kickoff(camera, wait=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield from bps.sleep(COLLECT_PERIOD_S)
            yield from collect(camera)
        yield from bps.complete(camera, wait=True)
        yield from collect(camera)

    def count(name: str, document: dict[str, Any]) -> None:
        nonlocal declared
        if name == "event_page":
            declared += len(document["time"])

    try:
        with (
            replay(size, folder, flat_out=flat_out) as address,
            session(address) as (camera, engine),
            probe(folder, size),
        ):
            camera.configure(exposure_s=0.8 / rate_Hz, frame_rate_Hz=rate_Hz)
            cpu = time.process_time()
            recorder = cpu_of(camera._recording.client.pid)  # noqa: SLF001
            with busy(load):
                engine(bpp.run_wrapper(plan(camera)), count)
            cpu = time.process_time() - cpu
            dropped = int(camera.dropped.get())
            recorder = cpu_of(camera._recording.client.pid) - recorder  # noqa: SLF001
        pages = np.load(folder / "pages.npy")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cpus = (spent, recorder, math.nan if load else cpu)
    return _result(address, pages, declared, dropped, cpus)._asdict()


def cpu_of(process: int | None) -> float:
    """Return the CPU seconds of a process so far; nan where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/stat").read_text("ascii")
    except OSError:
        return math.nan
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _result(
    address: dict[str, Any],
    pages: Any,
    declared: int,
    dropped: int,
    cpus: tuple[float, float, float],
) -> Recorded:
    times = address["times"]
    # Frame n of the camera is page n - 1 where nothing was lost.
    whole = dropped == 0 and address["lost"] == 0
    count = min(len(times), int(pages[-1, 1])) if whole else 0
    first_seen = np.searchsorted(pages[:, 1], np.arange(1, count + 1))
    latency = pages[first_seen, 0] - times[:count, 1]
    lasted = pages[-1, 0] - pages[0, 0]
    return Recorded(
        sent=address["sent"],
        lost_by_camera=address["lost"],
        rows=declared,
        dropped=dropped,
        frames_per_s=float((pages[-1, 1] - pages[0, 1]) / lasted),
        latency_s=[float(np.percentile(latency, p)) for p in (50, 99, 100)] if count else [],
        document_us=1e6 * cpus[0] / max(1, declared),
        recorder_us=1e6 * cpus[1] / max(1, declared),
        session_us=1e6 * cpus[2] / max(1, declared),
    )


def bare_reader(size: int, seconds: float, root: str) -> float:
    """Read a camera that sends flat out into one reused buffer; return frames a second."""
    from stmtem_control.devices.merlin import Merlin
    from stmtem_control.link import Link
    from stmtem_control.tcp import TcpTransport

    folder = Path(tempfile.mkdtemp(prefix="streaming-", dir=root))
    message = memoryview(bytearray(15 + HEADER[size] + 2 * size * size))
    try:
        with replay(size, folder, flat_out=True) as address:
            host, port = address["host"], address["control"]
            with (
                Link(lambda: TcpTransport(host, port), name="camera") as link,
                socket.create_connection((host, address["data"])) as data,
            ):
                data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
                link.open(W)
                merlin = Merlin(link, host=host, data_port=address["data"], timeout_s=W)
                merlin.set("COUNTERDEPTH", 12).result(W)
                merlin.set("NUMFRAMESTOACQUIRE", 0).result(W)
                merlin.command("STARTACQUISITION").result(W)
                data.recv(15 + 2048, socket.MSG_WAITALL)
                begun, count = time.monotonic(), 0
                while (now := time.monotonic()) < begun + seconds:
                    place = 0
                    while place < len(message):
                        place += data.recv_into(message[place:])
                    count += 1
                return count / (now - begun)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bare_writer(size: int, seconds: float, root: str) -> float:
    """Write frames past the page cache, many at once; return how many a second the disk took."""
    from .frame_writers import frame_ring

    frame_bytes = 2 * size * size
    frames = [frame.data for frame in frame_ring(size, RAW_BYTES // frame_bytes)]
    folder = Path(tempfile.mkdtemp(prefix="streaming-", dir=root))
    descriptor = os.open(folder / "raw", os.O_RDWR | os.O_CREAT | getattr(os, "O_DIRECT", 0), 0o600)
    try:
        begun, written = time.monotonic(), 0
        while time.monotonic() < begun + seconds:
            written += os.pwritev(descriptor, frames, written)
        os.fdatasync(descriptor)
        return written / frame_bytes / (time.monotonic() - begun)
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
