"""What a kill, a full disk or a cut leaves: whole frames, in a file that any reader opens."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from stmtem_control.errors import RecordingError
from stmtem_control.recording.frame_files import frame_files, read_frames, read_rows
from stmtem_control.recording.page_chain import (
    complete_pages,
    read_chain,
    told_count,
    truncate_torn,
)

from .pictures import frames, make_writer, picture, row

METHODS = pytest.mark.parametrize("method", ["direct", "buffered", "tifffile"])
Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a writer, in the test's own folder by default."""

    def made(folder: Path = tmp_path, **changes: Any) -> Any:
        return make_writer(folder, **changes)

    return made


def numbers(folder: Path) -> list[int]:
    """Return which frames can be read, by the frames themselves."""
    return [int(frame[0, 0]) for frame in read_frames(folder)]


def cuts(path: Path) -> list[int]:
    """Return lengths on both sides of every border in a file, and in the middle of each part."""
    borders = {0, 8, 16, path.stat().st_size}
    for page in read_chain(path).pages:
        borders |= {page.data, page.data + page.data_bytes, page.directory, page.link, page.row}
        borders |= {page.link + 4, page.link + 8, page.row + page.row_bytes, page.end}
    ordered = sorted(b for b in borders if b <= path.stat().st_size)
    middles = {(a + b) // 2 for a, b in pairwise(ordered)}
    near = {b + d for b in ordered for d in (-1, 0, 1)}
    return sorted(c for c in near | middles if 0 <= c < path.stat().st_size)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_file_that_ends_anywhere(tmp_path: Path, make: Make, bigtiff: bool) -> None:
    writer = make(bigtiff=bigtiff, frames_per_file=10)
    writer.write(frames(0, 4))
    path = tmp_path / "frames_0000.tif"
    whole = path.read_bytes()
    ends = [page.end for page in read_chain(path).pages]
    ends[1] = read_chain(path).pages[1].data + 4096  # its directory lies before
    for cut in cuts(path):
        path.write_bytes(whole[:cut])
        expected = sum(cut >= end for end in ends)
        if ends[1] > cut >= ends[1] - 4096 + 1200:
            expected = 2  # the data of page 1 are there, if not their padding
        assert complete_pages(path) == expected, cut
        assert len(numbers(tmp_path)) == expected
        assert truncate_torn(path) == expected
        if not expected:
            assert not path.exists()
            continue
        mended = path.read_bytes()
        assert truncate_torn(path) == expected
        assert path.read_bytes() == mended  # a second time changes nothing
        with tifffile.TiffFile(path) as tiff:
            assert len(tiff.pages) == expected
            got = tiff.asarray().reshape(-1, 20, 30)
        np.testing.assert_array_equal(got, [picture(i) for i in range(expected)])
        assert numbers(tmp_path) == [r["frame"] for r in read_rows(tmp_path)]


def test_a_torn_file_of_tifffile(tmp_path: Path, make: Make) -> None:
    writer = make(method="tifffile", frames_per_file=10)
    writer.write(frames(0, 4))
    path = tmp_path / "frames_0000.tif"
    whole = path.read_bytes()
    ends = [page.end for page in read_chain(path).pages]
    for cut in cuts(path):
        path.write_bytes(whole[:cut])
        expected = sum(cut >= end for end in ends)
        assert complete_pages(path) == truncate_torn(path) == expected, cut
        if expected:
            np.testing.assert_array_equal(
                tifffile.imread(path).reshape(-1, 20, 30), [picture(i) for i in range(expected)]
            )


def test_a_whole_page_that_nothing_leads_to_is_kept(tmp_path: Path, make: Make) -> None:
    """As a kill between a write and its link leaves it."""
    writer = make(frames_per_file=10)
    writer.write(frames(0, 6))
    path = tmp_path / "frames_0000.tif"
    for last in (0, 1, 3):
        page = read_chain(path).pages[last]
        with open(path, "r+b") as file:
            file.seek(page.link)
            file.write(bytes(4))
        assert complete_pages(path) == last + 1
        assert truncate_torn(path) == 6
        assert numbers(tmp_path) == list(range(6))
    assert b"frames=6\n" in path.read_bytes()


def test_a_chain_that_bites_its_tail(tmp_path: Path, make: Make) -> None:
    writer = make(frames_per_file=10)
    writer.write(frames(0, 3))
    path = tmp_path / "frames_0000.tif"
    pages = read_chain(path).pages
    with open(path, "r+b") as file:
        file.seek(pages[2].link)
        file.write(pages[0].directory.to_bytes(4, "little"))
    assert complete_pages(path) == truncate_torn(path) == 3
    assert read_chain(path).ended


def test_what_is_no_frame_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "frames_0000.tif"
    path.write_bytes(b"not a TIFF file")
    for look in (complete_pages, truncate_torn, read_chain):
        with pytest.raises(RecordingError, match="not a little-endian TIFF"):
            look(path)
    tifffile.imwrite(path, np.zeros((64, 64), "u2"), rowsperstrip=8)
    with pytest.raises(RecordingError, match="cut into strips"):
        complete_pages(path)
    with pytest.raises(RecordingError, match=r"frames_0001.tif cannot be read: No such file"):
        complete_pages(tmp_path / "frames_0001.tif")
    tifffile.imwrite(path, np.zeros((64, 64, 3), "u1"), photometric="rgb")
    assert complete_pages(path) == 0


def test_the_beginning_of_a_file_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "frames_0003.tif.new").write_bytes(bytes(5000))
    assert frame_files(tmp_path) == []


def test_counts_are_told_in_the_room_there_is() -> None:
    text = b"ImageJ=\nunit=nm\n".ljust(99, b"\n") + b"\0"
    told = told_count(text, 12)
    assert told.startswith(b"ImageJ=\nimages=12\nframes=12\nhyperstack=true\nunit=nm\n\n")
    assert len(told) == 100
    assert told_count(told, None) == text
    assert told_count(told, 345678).startswith(b"ImageJ=\nimages=345678\n")
    assert told_count(text[:20] + b"\0", 12) == text[:20] + b"\0"  # no room
    assert told_count(b"something else\n\n\n\n\0", 12) == b"something else\n\n\n\n\0"


# Killed


WRITER = """
import json, sys
from pathlib import Path
import numpy as np
from stmtem_control.recording.page_writer import open_writer
side, batch = int(sys.argv[3]), int(sys.argv[4])
writer = open_writer(Path(sys.argv[1]), shape=(side, side), dtype="u2", pixel_size_nm=1.0,
                     frame_interval_s=0.1, frames_per_file=30, method=sys.argv[2])
while writer.count < 20000:
    numbers = range(writer.count, writer.count + batch)
    writer.write([(np.full((side, side), i, "u2"), json.dumps({"frame": i}).encode())
                  for i in numbers])
    if writer.count > 40:
        writer.amend(writer.count - 40, json.dumps({"frame": writer.count - 40, "x": 1}).encode())
    sys.stdout.write(f"{writer.count}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("method", "side", "batch"),
    [("direct", 512, 1), ("direct", 64, 7), ("buffered", 512, 1), ("buffered", 64, 7),
     ("tifffile", 256, 1)],
)  # fmt: skip
def test_a_killed_process_leaves_all_that_it_counted(
    tmp_path: Path, method: str, side: int, batch: int, seed: int
) -> None:
    after = random.Random(f"{method} {side} {seed}").randrange(1, 120)
    command = [sys.executable, "-c", WRITER, str(tmp_path), method, str(side), str(batch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = 0
        for line in process.stdout:
            told = int(line)
            if told >= after:
                process.send_signal(signal.SIGKILL)
                break
        for line in process.stdout.read().split(b"\n"):  # told before it died
            told = max(told, int(line or 0))
    files = frame_files(tmp_path)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(tifffile.TiffFile(path)) for path in files]
        by_tifffile = [int(p.asarray()[0, 0]) for tiff in opened for p in tiff.pages]
        assert all(tiff.series[0].shape[0] == len(tiff.pages) for tiff in opened[:-1])
    found = numbers(tmp_path)
    assert found == by_tifffile == list(range(len(found)))
    assert told <= len(found) <= told + batch
    rows = [r["frame"] for r in read_rows(tmp_path)]
    assert rows == found
    # Mended: the same or, if it was killed before the link, a few more.
    mended = [truncate_torn(path) for path in files]
    for left in tmp_path.glob("*.new"):
        left.unlink()
    assert len(found) <= sum(mended) <= told + batch
    assert numbers(tmp_path) == list(range(sum(mended)))
    assert [truncate_torn(path) for path in files] == mended


# No room


@pytest.fixture
def small_disk(tmp_path: Path, unmount_later: Callable[[Path], None]) -> Path:
    """A file system of 400 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode:
        pytest.skip(f"mounting is not allowed: {done.stderr.strip()}")
    unmount_later(folder)
    return folder


@METHODS
@pytest.mark.parametrize("batch", [1, 7])
def test_a_disk_that_is_full(small_disk: Path, make: Make, method: str, batch: int) -> None:
    writer = make(small_disk, method=method, frames_per_file=20)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(60_000))

    def fill() -> None:
        for first in range(0, 300, batch):
            writer.write(frames(first, first + batch))

    with pytest.raises(RecordingError) as caught:
        fill()
    count = writer.count
    assert 20 < count < 300
    assert f"frame {count} cannot be written" in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert f"the {count} frames before it are safe" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert numbers(small_disk) == list(range(count))
    by_tifffile = [
        tifffile.imread(path).reshape(-1, 20, 30)[:, 0, 0] for path in frame_files(small_disk)
    ]
    assert np.concatenate(by_tifffile).tolist() == list(range(count))
    # Room again: it goes on.
    ballast.unlink()
    writer.write(frames(count, count + 1))
    writer.close()
    assert numbers(small_disk) == list(range(count + 1))
    assert not list(small_disk.glob("*.new"))


@pytest.mark.parametrize("method", ["direct", "buffered"])
@pytest.mark.parametrize("old", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_whole_frames_of_a_write_that_failed_are_kept(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, method: str, old: int, room: int
) -> None:
    """A batch of 4, for `room` of which there is space, behind `old` pages."""
    writer = make(method=method, frames_per_file=10)
    if old:
        writer.write(frames(0, old))
    real = os.pwritev
    end = 8192 * (1 + old + room) + 5000

    def pwritev(descriptor: int, buffers: Any, place: int) -> int:
        fits: list[memoryview] = []
        for buffer in buffers:
            view = memoryview(buffer)
            if place + sum(b.nbytes for b in fits) + view.nbytes > end:
                break
            fits.append(view)
        if not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, fits, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", pwritev)
        with pytest.raises(RecordingError, match=f"frame {old + room} cannot be written"):
            writer.write(frames(old, old + 4))
        assert writer.count == old + room
        assert numbers(tmp_path) == list(range(old + room))
        if old + room:
            path = tmp_path / "frames_0000.tif"
            assert tifffile.imread(path).reshape(-1, 20, 30)[:, 0, 0].tolist() == numbers(tmp_path)
            assert read_chain(path).ended
    writer.write(frames(old + room, old + room + 3))
    writer.close()
    assert numbers(tmp_path) == [r["frame"] for r in read_rows(tmp_path)]
    assert numbers(tmp_path) == list(range(old + room + 3))


def test_a_disk_that_is_gone(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be mended: what was counted before stays counted."""
    writer = make(frames_per_file=10)
    writer.write(frames(0, 3))

    def gone(*arguments: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        for name in ("pwritev", "pwrite", "ftruncate"):
            patch.setattr(os, name, gone)
        with pytest.raises(RecordingError, match=r"frame 3 cannot be written .*Input/output error"):
            writer.write(frames(3, 5))
        with pytest.raises(RecordingError, match="row of frame 1 cannot be replaced"):
            writer.amend(1, row(1))
        with pytest.raises(RecordingError, match="cannot be closed"):
            writer.close()
    assert writer.count == 3
    assert numbers(tmp_path) == [0, 1, 2]
    assert complete_pages(tmp_path / "frames_0000.tif") == 3
