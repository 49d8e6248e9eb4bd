"""From the camera's socket to pages on disk, through all that a session has in between.

What is timed is in :mod:`.stream_cases` and :mod:`.ring_to_disk`.  All is done once more with a
thread of plain Python at work in the session's process.

``python -m benchmarks.streaming --seconds 60 --folder /data`` sets how long and where, and
``--short`` makes it a trial.
"""

import argparse
import math
import statistics
from importlib import metadata
from typing import Any, Final

from .ring_to_disk import RATES, Written
from .side_by_side import Ratio, Report, Target, data_folder, in_subprocess, markdown
from .stream_cases import Recorded

__all__ = ["main", "run"]

PACED: Final = ((512, 500.0), (256, 2000.0))
FLAT_OUT_S: Final = 3.0  # of each flat-out case
FAST_Hz: Final = 5000.0  # asked of a camera that does not keep to it
FLAT_OUT: Final = ("recorded", "bare reader", "raw disk")
CASES: Final = "benchmarks.stream_cases"


def run(
    rounds: int, seconds: float = 60.0, folder: str | None = None, ring_s: float = 30.0
) -> Report:
    """Stream both sizes, idle and busy; flat out, beside bare peers; without a socket.

    Parameters
    ----------
    rounds
        Two of them are one round of the flat-out cases.
    seconds, ring_s
        Of each paced recording, through the socket and from the ring.
    folder
        On the disk that is meant, see :func:`.side_by_side.data_folder`.
    """
    root = str(data_folder(folder))
    targets: list[Target] = []
    result: dict[str, Any] = {"seconds": seconds, "versions": _versions()}
    text = "\n".join(
        [
            _paced(seconds, root, targets, result),
            _flat_out_table(max(1, rounds // 2), root, targets, result),
            _from_ring(ring_s, root, targets, result),
        ]
    )
    return Report("streaming", text, targets, result)


def _paced(seconds: float, root: str, targets: list[Target], result: dict[str, Any]) -> str:
    table: list[list[object]] = []
    for size, rate in PACED:
        for load in (False, True):
            found = Recorded(
                **in_subprocess(
                    CASES, "record", size, rate, seconds, root, load, False,
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
    heads = ["case", "sent", "lost", "p50 ms", "p99 ms", "max ms", "documents us"]
    return markdown([*heads, "recorder us", "session us"], table)


def _flat_out_table(rounds: int, root: str, targets: list[Target], result: dict[str, Any]) -> str:
    flat, rows = _flat_out(rounds, root)
    result["flat out, fps"] = flat
    for size, ratio in rows.items():
        what = f"{size}x{size} flat out, of a bare reader"
        targets.append(Target(what, ">= 0.8", ratio.median, ratio.median >= 0.8))
        limit = _of_slower_peer(flat[str(size)]).median
        what = f"{size}x{size} flat out, of the slower of reader and raw disk"
        targets.append(Target(what, ">= 0.8", limit, limit >= 0.8))
    heads = ["flat out", "recorded fps", "bare reader fps", "raw disk fps"]
    return markdown(
        [*heads, "of reader", "of disk", "of the slower"],
        [
            [
                f"{size}x{size}",
                *(statistics.median(flat[str(size)][case]) for case in FLAT_OUT),
                ratio,
                _ratio(flat[str(size)], "raw disk"),
                _of_slower_peer(flat[str(size)]),
            ]
            for size, ratio in rows.items()
        ],
    )


def _from_ring(seconds: float, root: str, targets: list[Target], result: dict[str, Any]) -> str:
    table: list[list[object]] = []
    for side, rate in RATES:
        found = Written(
            **in_subprocess(
                "benchmarks.ring_to_disk", "record", side, rate, seconds, root, True,
                timeout_s=seconds + 300.0,
            )
        )  # fmt: skip
        name = f"ring to disk, {side}x{side} at {rate:g} fps, busy session"
        result[name] = found._asdict()
        lost = found.frames - found.rows
        ms = [1e3 * value for value in found.latency_s]
        table.append([name, found.frames, lost, found.late, *ms, found.core])
        targets += [
            Target(f"{name}: frames lost of {found.frames}", "0", lost, lost == 0),
            Target(f"{name}: late", "0", found.late, found.late == 0),
            Target(f"{name}: share of a core", "<= 0.1", found.core, found.core <= 0.1),
        ]
    heads = ["without a socket", "frames", "lost", "late", "p50 ms", "p99 ms", "max ms"]
    return markdown([*heads, "CPU of one core"], table)


def _flat_out(rounds: int, root: str) -> tuple[dict[str, dict[str, list[float]]], dict[int, Ratio]]:
    flat: dict[str, dict[str, list[float]]] = {}
    rows: dict[int, Ratio] = {}
    for size, _ in PACED:
        speeds: dict[str, list[float]] = {case: [] for case in FLAT_OUT}
        for number in range(rounds):
            for case in FLAT_OUT if number % 2 else reversed(FLAT_OUT):
                speeds[case].append(_frames_per_s(case, size, root))
        flat[str(size)] = speeds
        rows[size] = _ratio(speeds, "bare reader")
    return flat, rows


def _ratio(speeds: dict[str, list[float]], peer: str) -> Ratio:
    each = [r / p for r, p in zip(speeds["recorded"], speeds[peer], strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def _of_slower_peer(speeds: dict[str, list[float]]) -> Ratio:
    """Return the ratio to whichever peer was the slower one in the same round: the limit."""
    peers = zip(speeds["bare reader"], speeds["raw disk"], strict=True)
    each = [r / min(p) for r, p in zip(speeds["recorded"], peers, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def _frames_per_s(case: str, size: int, root: str) -> float:
    if case == "bare reader":
        return float(in_subprocess(CASES, "bare_reader", size, FLAT_OUT_S, root))
    if case == "raw disk":
        return float(in_subprocess(CASES, "bare_writer", size, FLAT_OUT_S, root))
    found = in_subprocess(CASES, "record", size, FAST_Hz, FLAT_OUT_S, root, False, True)
    return float(found["frames_per_s"])


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("bluesky", "ophyd", "numpy")}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.streaming", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each paced recording")
    parser.add_argument("--ring-seconds", type=float, default=30.0, help="without a socket")
    parser.add_argument("--rounds", type=int, default=7, help="two are one of the flat-out cases")
    parser.add_argument("--short", action="store_true", help="a few seconds each, for a trial")
    parser.add_argument("--folder", help="on the disk that is to be measured")
    asked = parser.parse_args()
    if asked.short:
        report = run(1, 4.0, asked.folder, 4.0)
    else:
        report = run(asked.rounds, asked.seconds, asked.folder, asked.ring_seconds)
    print(report.table)
    for target in report.targets:
        print(f"{target.what}: {target.reached:.3g} (wanted {target.wanted})")


if __name__ == "__main__":
    main()
