"""Whether disk and camera can take what is planned, as far as that is known beforehand.

The station file does not say how fast its disk is, and nothing is written here to find out: a disk
that is too slow shows in the run, where frames that are dropped are counted and located.
"""

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from stmtem_control.config import Station

from .result import Acquisition, Refusal

FULL = 0.8  # share of the free disk beyond which a warning is told

#: A Medipix3 chip sends the 12 bits of its 256 x 256 pixels over 8 lines of 60 Mbit/s (Merlin
#: manual): no frame can follow another sooner.
MERLIN_READOUT_S = 12 * 256 * 256 / 480e6

# What a simulated frame takes one core, in s: for itself, for each pixel, and for each pixel and
# look at the specimen.  Measured with two presets and 256 to 2048 pixels on the machine of
# docs/explanation/kinetics.md; within 40 % there.
FRAME_S, PIXEL_S, LOOK_S = 1.5e-3, 3.0e-9, 3.3e-9
LOOK_EVERY_S, MOST_LOOKS = 0.020, 4  # of an exposure of the bench


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on, or will be."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return 0


def refuse_disk(written: int, free: int, station: Station) -> list[Refusal]:
    """Return why a disk cannot take so many bytes; empty if it can."""
    if written <= free:
        return []
    text = (
        f"the run writes {written / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free at "
        f"{station.station.data}; make room, or choose another folder: [station] data, or --out"
    )
    return [Refusal("", "disk", text)]


def warn_of_disk(
    written: int,
    free: int,
    station: Station,
    acquisitions: Iterable[Acquisition],
    shape: tuple[int, int],
    speed: float,
) -> list[str]:
    """Return what a run leaves too little room for: its interlock, or whatever comes next.

    Parameters
    ----------
    written, free : int
        Bytes of the run, and those that are free.
    station : Station
    acquisitions : iterable of Acquisition
    shape : tuple of int
        Rows and columns of a frame.
    speed : float
        Station seconds in a wall second.
    """
    if written > free:
        return []  # refused
    limits = station.interlocks
    fastest_Hz = max((one.frame_rate_Hz for one in acquisitions), default=0.0)
    rate = fastest_Hz * speed * 2 * math.prod(shape)  # bytes in a wall second
    found = []
    for needed, key in (
        (1e9 * limits.limit("disk_free_GB"), "disk_free_GB"),
        (rate * limits.limit("disk_left_s") if rate else 0.0, "disk_left_s"),
    ):
        if math.isfinite(needed) and free - written < needed:
            found.append(
                f"the run writes {written / 1e9:.3g} GB of {free / 1e9:.3g} GB free at "
                f"{station.station.data}, and its interlock ends it when {needed / 1e9:.3g} GB are "
                f"left ([interlocks] {key}); make room, or choose another folder: --out"
            )
            break
    if not found and FULL * free < written:
        found.append(
            f"the run fills {100 * written / free:.0f} % of what is free at {station.station.data}"
        )
    return found


def warn_of_pace(
    acquisitions: Iterable[Acquisition], shape: tuple[int, int], station: Station
) -> list[str]:
    """Return which frames the camera cannot take, or a simulated one cannot draw, so fast.

    Parameters
    ----------
    acquisitions : iterable of Acquisition
    shape : tuple of int
        Rows and columns of a frame.
    station : Station
    """
    most_Hz = 1.0 / MERLIN_READOUT_S
    found = [
        f"{rate:g} frames a second: a Merlin needs {1e3 * MERLIN_READOUT_S:.3g} ms to read 12 bits "
        f"out, and gives {most_Hz:.0f} at most; it would take longer than planned"
        for rate in dict.fromkeys(one.frame_rate_Hz for one in acquisitions)
        if rate > most_Hz * (1.0 + 1e-9)
    ]
    if station.bench is None:
        return found
    for rate, exposure in dict.fromkeys((o.frame_rate_Hz, o.exposure_s) for o in acquisitions):
        looks = min(MOST_LOOKS, max(1, int(exposure / LOOK_EVERY_S)))
        draw_s = FRAME_S + math.prod(shape) * (PIXEL_S + looks * LOOK_S)
        asked_Hz = rate * station.bench.speed
        if asked_Hz * draw_s > 1.0:
            found.append(
                f"the simulated camera has to draw {asked_Hz:.4g} frames of {shape[1]} x "
                f"{shape[0]} pixels in a second of the wall, and one core draws about "
                f"{1.0 / draw_s:.0f}: frames would be lost; lower [bench] speed or size (--speed, "
                "--size), or the rate"
            )
    return found
