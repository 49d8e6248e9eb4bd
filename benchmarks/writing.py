"""Writing frames to disk: this package's files against the disk itself and against other writers.

``python -m benchmarks writing``, or ``python -m benchmarks.writing --short`` for a trial.  The data
go to a new folder within BENCH_FOLDER (by default ``build``), which must be on the disk that is
meant, and are removed.
"""

import argparse
import importlib.util
import itertools
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from stmtem_control.recording.compressed_pages import Codec

from .frame_writers import frame_ring, writer
from .side_by_side import Ratio, Report, Target, data_folder, interleave, markdown, ratios

__all__ = ["Size", "run"]

RAW, OURS, SUITCASE = "raw O_DIRECT", "PageWriter", "suitcase-tiff stack"
PEERS: Final = ("tifffile page + JSON", "tifffile contiguous", SUITCASE, "h5py direct chunk")
_NEEDS: Final = {SUITCASE: "suitcase", "h5py direct chunk": "h5py"}
_PAGE_SIDE = 64


class Size(NamedTuple):
    """How much is written.

    Attributes
    ----------
    burst_bytes, sustained_bytes : int
        In one case of one round.
    paced_s : float
        Seconds that frames come at a fixed rate; a fifth of that for other writers.
    pages : int
        Small frames.
    batch : int
        Frames that a recorder finds waiting when the disk is the slower one.
    """

    burst_bytes: int = 1 << 29
    sustained_bytes: int = 5 << 30
    paced_s: float = 30.0
    pages: int = 4000
    batch: int = 4


LONG: Final = Size()
SHORT: Final = Size(1 << 27, 1 << 28, 1.0, 500)


class _Bench:
    """What was found so far."""

    def __init__(self, rounds: int, folder: Path, size: Size) -> None:
        self.rounds, self.folder, self.size = rounds, folder, size
        self._rings: dict[int, list[Any]] = {}
        self.tables: list[str] = []
        self.targets: list[Target] = []
        self.result: dict[str, Any] = {}
        self.peers = [p for p in PEERS if _NEEDS.get(p) is None or _there(_NEEDS[p])]

    def _ring(self, side: int) -> list[Any]:
        """Return frames of that side, the same for all cases."""
        if side not in self._rings:
            self._rings.clear()
            self._rings[side] = frame_ring(side, 8)
        return self._rings[side]

    def case(
        self,
        name: str,
        side: int,
        frames: int,
        batch: int,
        cpu: list[float] | None = None,
        *,
        until_on_disk: bool = True,
    ) -> Callable[[], float]:
        """Return a case that writes frames and returns the seconds until they are in files."""
        ring = self._ring(side)

        def work() -> float:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            source = itertools.cycle(ring)
            try:
                begun, cpu_begun = time.perf_counter(), time.process_time()
                with writer(name, folder, side) as push:
                    for first in range(0, frames, batch):
                        n = min(batch, frames - first)
                        push(list(itertools.islice(source, n)))
                    spent = time.perf_counter() - begun
                if until_on_disk:
                    spent = time.perf_counter() - begun
                if cpu is not None:
                    cpu.append((time.process_time() - cpu_begun) / frames)
                return spent
            finally:
                shutil.rmtree(folder)

        return work

    def compare(
        self, title: str, side: int, total: int, names: Sequence[str], rounds: int
    ) -> tuple[dict[str, Ratio], dict[str, float], dict[str, float]]:
        """Write so many bytes with each; return ratios of speed to raw, fps and CPU s a frame."""
        frames = max(4, total // (2 * side * side))
        cpu: dict[str, list[float]] = {}
        cases = {}
        for name in names:
            batch = self.size.batch if name.startswith(OURS) and "one at" not in name else 1
            plain = name.removesuffix(", one at a time")
            cases[name] = self.case(plain, side, frames, batch, cpu.setdefault(name, []))
        times = interleave(cases, rounds, clock="wall")
        slower = ratios(times, RAW)
        speed = {n: Ratio(1 / r.median, 1 / r.high, 1 / r.low) for n, r in slower.items()}
        fps = {name: frames / statistics.median(spent) for name, spent in times.items()}
        used = {name: statistics.median(values[1:]) for name, values in cpu.items()}
        rows = [
            [
                name,
                fps[name],
                frames / max(times[name]),
                fps[name] * 2e-6 * side * side,
                speed[name],
                1e3 * used[name],
            ]
            for name in names
        ]
        head = ["writer", "fps", "worst", "MB/s", "speed / raw", "CPU ms/frame"]
        self.tables.append(f"{title}\n\n" + markdown(head, rows))
        self.result[title] = {"seconds": times, "frames": frames, "cpu_s_per_frame": used}
        return speed, fps, used

    def burst(self) -> None:
        """T2 and T4."""
        for side in (1024, 2048, 4096):
            names = [RAW, OURS, f"{OURS}, one at a time", *self.peers]
            title = f"Burst, {side} x {side} uint16, with fdatasync"
            speed, _, used = self.compare(title, side, self.size.burst_bytes, names, self.rounds)
            self.add(f"burst {side}^2, speed / raw", ">= 0.95", speed[OURS].median, at_least=0.95)
            if side == 1024:
                reached = 1e3 * used[OURS]
                self.add("CPU of a 1024^2 frame, ms", "<= 0.2", reached, at_most=0.2)

    def sustained(self) -> None:
        """T3."""
        peers = [p for p in self.peers if p != "tifffile contiguous"]
        total, rounds = self.size.sustained_bytes, max(1, (self.rounds + 1) // 3)
        title = f"Sustained, {total / 2**30:.3g} GiB of 2048 x 2048"
        speed, fps, _ = self.compare(title, 2048, total, [RAW, OURS, *peers], rounds)
        self.add("sustained, speed / raw", ">= 0.9", speed[OURS].median, at_least=0.9)
        if SUITCASE in fps:
            reached = fps[OURS] / fps[SUITCASE]
            self.add("sustained, speed / suitcase-tiff", ">= 3", reached, at_least=3.0)

    def page_cost(self) -> None:
        """T5."""
        names = {OURS: 1, f"{OURS}, batches": 8, "raw buffered": 1, PEERS[0]: 1}
        cases = {
            name: self.case(
                name.removesuffix(", batches"),
                _PAGE_SIDE,
                self.size.pages,
                batch,
                until_on_disk=False,
            )
            for name, batch in names.items()
        }
        times = interleave(cases, self.rounds, clock="wall")
        micro = {n: 1e6 * statistics.median(t) / self.size.pages for n, t in times.items()}
        worst = {n: 1e6 * max(t) / self.size.pages for n, t in times.items()}
        rows = [[n, micro[n], worst[n]] for n in names]
        title = "A page of 64 x 64 uint16 with its JSON"
        self.tables.append(f"{title}\n\n" + markdown(["writer", "us/page", "worst"], rows))
        self.result[title] = {"seconds": times, "pages": self.size.pages}
        self.add("page of 64^2, us", "<= 25", micro[OURS], at_most=25.0)

    def paced(self) -> None:
        """T1, as far as it concerns the disk: frames come at a fixed rate."""
        rows, title = [], f"Paced for {self.size.paced_s:.3g} s: 839 MB/s"
        for side, fps in ((2048, 100.0), (4096, 25.0)):
            names = [OURS, *[p for p in self.peers if p != "tifffile contiguous"]]
            random.Random(side).shuffle(names)
            for name in names:
                late, longest, busy = self._pace(name, side, fps)
                rows.append([f"{side}^2 at {fps:.0f} fps", name, late, longest, busy])
                if name == OURS:
                    self.add(f"{side}^2 at {fps:.0f} fps: late frames", "0", late, at_most=0.0)
                    self.add(f"{side}^2 at {fps:.0f} fps: CPU", "<= 0.1", busy, at_most=0.1)
        head = ["load", "writer", "late by a period", "longest write, ms", "CPU of one core"]
        self.tables.append(f"{title}\n\n" + markdown(head, rows))
        self.result[title] = rows

    def _pace(self, name: str, side: int, fps: float) -> tuple[float, float, float]:
        seconds = self.size.paced_s if name == OURS else 0.2 * self.size.paced_s
        frames = max(2, round(seconds * fps))
        ring, late, longest = self._ring(side), 0, 0.0
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            with writer(name, folder, side) as push:
                begun, cpu = time.perf_counter(), time.process_time()
                for i in range(frames):
                    due = begun + i / fps
                    wait = due - time.perf_counter()
                    if wait > 0.0:
                        time.sleep(wait)
                    start = time.perf_counter()
                    push([ring[i % 8]])
                    longest = max(longest, time.perf_counter() - start)
                    late += time.perf_counter() > due + 2.0 / fps
                busy = (time.process_time() - cpu) / (time.perf_counter() - begun)
            return float(late), 1e3 * longest, busy
        finally:
            shutil.rmtree(folder)

    def compression(self) -> None:
        """T7: on one core, in memory."""
        if not _there("imagecodecs"):
            return
        rows = []
        for counts in (1, 5, 10, 50):
            image = np.random.default_rng(counts).poisson(counts, (1024, 1024)).astype(np.uint16)
            for name in ("zstd", "deflate"):
                codec = Codec(name, image.dtype, 1)
                sizes: list[int] = []

                def encode(
                    codec: Codec = codec, sizes: list[int] = sizes, image: Any = image
                ) -> None:
                    for _ in range(4):
                        sizes.append(codec.encode([image])[0][0].nbytes)

                spent = interleave({name: encode}, self.rounds)[name]
                fps = 4.0 / statistics.median(spent)
                share = entropy_bytes(image) / sizes[-1]
                rows.append([counts, name, fps, image.nbytes / sizes[-1], share])
                if name == "zstd" and counts >= 5:
                    what = f"zstd at {counts} counts/pixel"
                    self.add(f"{what}, share of the bound", ">= 0.95", share, at_least=0.95)
                    self.add(f"{what}, fps on a core", ">= 100", fps, at_least=100.0)
        title = "Compression of 1024 x 1024 uint16 counts, one core"
        head = ["counts/pixel", "codec", "fps", "ratio", "share of the entropy bound"]
        self.tables.append(f"{title}\n\n" + markdown(head, rows))
        self.result[title] = rows

    def add(
        self,
        what: str,
        wanted: str,
        reached: float,
        *,
        at_least: float = -np.inf,
        at_most: float = np.inf,
    ) -> None:
        """Add a target."""
        self.targets.append(Target(what, wanted, reached, at_least <= reached <= at_most))


def entropy_bytes(image: Any) -> float:
    """Return the bytes of an image if each pixel took the entropy of its count's frequency."""
    times = np.bincount(image.ravel())
    p = times[times > 0] / image.size
    return float(-(p * np.log2(p)).sum() * image.size / 8.0)


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def versions() -> Mapping[str, str | None]:
    """Return the versions of the peers; None for what is not installed."""
    found: dict[str, str | None] = {}
    for name in ("tifffile", "suitcase-tiff", "h5py", "imagecodecs"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def run(rounds: int = 7, size: Size = LONG, folder: Path | None = None) -> Report:
    """Time all writers.

    Parameters
    ----------
    rounds
        How often each case runs; a third of that for the long ones.
    size
        How much is written.
    folder
        On the disk that is meant, see :func:`.side_by_side.data_folder`.
    """
    parent = data_folder(folder)
    with tempfile.TemporaryDirectory(prefix="writing-", dir=parent) as name:
        bench = _Bench(rounds, Path(name), size)
        for part in (
            bench.page_cost,
            bench.burst,
            bench.sustained,
            bench.paced,
            bench.compression,
        ):
            part()
    peers = versions()
    about = ", ".join(f"{name} {version}" for name, version in peers.items() if version)
    table = "\n".join([*bench.tables, f"Peers: {about}.\n"])
    return Report("writing", table, bench.targets, {**bench.result, "peers": dict(peers)})


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.writing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="little data, for a trial")
    parser.add_argument("--folder", type=Path, help="on the disk that is meant")
    asked = parser.parse_args()
    report = run(asked.rounds, SHORT if asked.short else LONG, asked.folder)
    print(report.table)
    for target in report.targets:
        print(target)


if __name__ == "__main__":
    main()
