"""From the camera's socket to pages on disk, through all that a session has in between.

A Merlin in a process of its own sends frames made beforehand.  A :class:`FrameCamera` records them
(its recorder is a process too) while a RunEngine collects five times a second.  A third process
watches the files, so that the time from the last byte on the wire to the page on disk is seen from
outside.  All is done once more with a thread of plain Python at work in the session's process.

``python -m benchmarks.streaming --seconds 60 --folder /data`` sets how long and where.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from .side_by_side import Ratio, Report, Target, in_subprocess, markdown

__all__ = ["bare_reader", "main", "run"]

PACED: Final = ((512, 500.0), (256, 2000.0))
FLAT_OUT_S: Final = 3.0  # of each flat-out case
COLLECT_S: Final = 0.2
FRAMES_PER_FILE: Final = 256
FAST_Hz: Final = 5000.0  # asked of a camera that does not keep to it
W: Final = 20.0
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
            yield from bps.sleep(COLLECT_S)
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


def run(rounds: int, seconds: float = 60.0, folder: str | None = None) -> Report:
    """Stream both sizes, idle and busy; then flat out, in turns with a bare reader."""
    root = folder or tempfile.gettempdir()
    table: list[list[object]] = []
    targets: list[Target] = []
    result: dict[str, Any] = {"seconds": seconds, "versions": _versions()}
    for size, rate in PACED:
        for load in (False, True):
            found = Recorded(
                **in_subprocess(
                    __name__, "record", size, rate, seconds, root, load, False,
                    timeout_s=seconds + 300.0,
                )
            )  # fmt: skip
            name = f"{size}x{size} at {rate:g} fps{', busy session' if load else ''}"
            result[name] = found._asdict()
            lost = found.lost_by_camera + found.sent - found.rows
            ms = [1e3 * value for value in found.latency_s] or [math.nan] * 3
            costs = (found.document_us, found.recorder_us, found.session_us)
            table.append([name, found.sent, lost, *ms, *costs])
            targets.append(Target(f"{name}: frames lost of {found.sent}", "0", lost, lost == 0))
            if not load:
                what = f"{name}: documents, us a frame"
                took = found.document_us
                targets.append(Target(what, "<= 10", took, took <= 10.0))
    flat, rows = _flat_out(rounds, root)
    result["flat out, fps"] = flat
    for size, ratio in rows.items():
        what = f"{size}x{size} flat out, of a bare reader"
        targets.append(Target(what, ">= 0.8", ratio.median, ratio.median >= 0.8))
    heads = ["case", "sent", "lost", "p50 ms", "p99 ms", "max ms", "documents us"]
    heads += ["recorder us", "session us"]
    text = (
        markdown(heads, table)
        + "\n"
        + markdown(
            ["flat out", "recorded fps", "bare reader fps", "ratio"],
            [
                [
                    f"{size}x{size}",
                    statistics.median(flat[str(size)]["recorded"]),
                    statistics.median(flat[str(size)]["bare"]),
                    ratio,
                ]
                for size, ratio in rows.items()
            ],
        )
    )
    return Report("streaming", text, targets, result)


def _flat_out(rounds: int, root: str) -> tuple[dict[str, dict[str, list[float]]], dict[int, Ratio]]:
    flat: dict[str, dict[str, list[float]]] = {}
    rows: dict[int, Ratio] = {}
    for size, _ in PACED:
        speeds: dict[str, list[float]] = {"recorded": [], "bare": []}
        for number in range(rounds):
            for case in ("recorded", "bare") if number % 2 else ("bare", "recorded"):
                if case == "bare":
                    fps = in_subprocess(__name__, "bare_reader", size, FLAT_OUT_S, root)
                else:
                    fps = in_subprocess(
                        __name__, "record", size, FAST_Hz, FLAT_OUT_S, root, False, True
                    )["frames_per_s"]
                speeds[case].append(float(fps))
        flat[str(size)] = speeds
        each = [r / b for r, b in zip(speeds["recorded"], speeds["bare"], strict=True)]
        rows[size] = Ratio(statistics.median(each), min(each), max(each))
    return flat, rows


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("bluesky", "ophyd", "numpy")}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.streaming", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each paced recording")
    parser.add_argument("--rounds", type=int, default=5, help="of each flat-out case")
    parser.add_argument("--folder", help="on the disk that is to be measured")
    asked = parser.parse_args()
    report = run(asked.rounds, asked.seconds, asked.folder)
    print(report.table)
    for target in report.targets:
        print(f"{target.what}: {target.reached:.3g} (wanted {target.wanted})")


if __name__ == "__main__":
    main()
