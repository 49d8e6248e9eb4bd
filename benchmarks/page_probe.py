"""Watches a run folder from outside, and notes when how many pages of frames were on disk.

It runs as a process of its own, so that nothing of what it measures slows it down; it looks every
half millisecond, so what it finds is late by that much at most, as long as it is given a core.
"""

import os
import select
import sys
import time
from pathlib import Path

import numpy as np

LOOK_S = 5e-4


def watch(folder: Path, stride: int, frames_per_file: int) -> list[tuple[float, int]]:
    """Return monotonic times (s) and how many pages there were, until standard input closes.

    Parameters
    ----------
    folder : Path
        The run folder.
    stride : int
        Bytes from one page to the next; what a file has before its pages is less.
    frames_per_file : int
        After so many pages comes the next file.
    """
    seen: list[tuple[float, int]] = []
    number, count = 0, 0
    path = folder / f"frames_{number:04d}.tif"
    while not select.select([sys.stdin], [], [], LOOK_S)[0]:
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            continue
        now = time.monotonic()
        pages = min(frames_per_file, size // stride)
        if (total := number * frames_per_file + pages) > count:
            count = total
            seen.append((now, count))
        if pages == frames_per_file:
            number += 1
            path = folder / f"frames_{number:04d}.tif"
    return seen


if __name__ == "__main__":
    where, *numbers = sys.argv[1:]
    found = watch(Path(where), *map(int, numbers))
    np.save(Path(where) / "pages.npy", np.array(found, np.float64).reshape(-1, 2))
