"""Reads the frames of a run, any of them at once, also while more are being recorded."""

import json
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import RecordingError

from .compressed_pages import decode
from .page_chain import Chain, StoredPage, extend_chain
from .page_layout import NO_COMPRESSION

#: The names of a run's frame files, by their number.
TEMPLATE = "frames_{:04d}.tif"


def frame_files(folder: Path) -> list[Path]:
    """Return the files of a run that hold frames, in order."""
    return sorted(folder.glob("frames_*.tif"))


class _File:
    """One file, as far as it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chain = Chain(0)
        self._map: mmap.mmap | None = None

    def look(self) -> int:
        """Look for more pages; return how many there are."""
        with open(self.path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size != self.chain.size or not self.chain.ended:
                extend_chain(self.chain, file.fileno())
        return len(self.chain.pages)

    def _mapped(self, end: int) -> mmap.mmap:
        if self._map is None or len(self._map) < end:
            with open(self.path, "rb", buffering=0) as file:
                # The map before lives as long as arrays that show it.
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def image(self, number: int) -> NDArray[Any]:
        page = self.chain.pages[number]
        if page.compression == NO_COMPRESSION:
            memory = self._mapped(page.end)
            return np.ndarray(page.shape, page.dtype, buffer=memory, offset=page.data)
        plain = decode(self._read(page.data, page.data_bytes), page.compression)
        image = np.frombuffer(plain, page.dtype).reshape(page.shape)
        return image.astype(page.camera_dtype, copy=False)

    def images(self, first: int, stop: int) -> NDArray[Any] | None:
        """Return pages side by side without a copy, or None if they do not lie evenly."""
        pages = self.chain.pages[first:stop]
        stride = pages[1].data - pages[0].data if len(pages) > 1 else 0
        head = pages[0]
        even = all(
            page.data == head.data + i * stride
            and (page.compression, page.shape, page.dtype)
            == (NO_COMPRESSION, head.shape, head.dtype)
            for i, page in enumerate(pages)
        )
        if not even:
            return None
        width = head.shape[1] * np.dtype(head.dtype).itemsize
        return np.ndarray(
            (len(pages), *head.shape),
            head.dtype,
            buffer=self._mapped(pages[-1].end),
            offset=head.data,
            strides=(stride, width, np.dtype(head.dtype).itemsize),
        )

    def row(self, number: int) -> dict[str, Any]:
        page = self.chain.pages[number]
        if not page.row:
            raise RecordingError(f"{self.path} cannot be read: page {number} has no row")
        text = self._read(page.row, page.row_bytes).rstrip(b"\0 ")
        try:
            row: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise RecordingError(
                f"{self.path} cannot be read: the row of page {number} is damaged: {error}"
            ) from None
        return row

    def _read(self, place: int, size: int) -> bytes:
        with open(self.path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, place)

    def close(self) -> None:
        self._map = None  # arrays that show it keep it alive


class FrameFiles:
    """The frames of a run: a sequence of images, which grows while the run is recorded.

    Frames that are not compressed are shown where they lie on disk, without a copy; they cannot be
    changed.

    Parameters
    ----------
    folder : Path
        The run folder.

    Raises
    ------
    RecordingError
        A file cannot be read; from any method.

    Examples
    --------
    ::

        frames = FrameFiles(Path("runs/20261123T101500Z_deposition_stripping_cycles_5267297b"))
        frames[-1].mean(), frames[10:20].shape, frames.row(3)["bias_set_V"]
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._files: list[_File] = []
        self._ends: list[int] = []  # frames up to the end of each file

    def _look(self) -> int:
        """Look for new files and pages; return how many frames there are."""
        paths = frame_files(self.folder)
        if not self._files and not self.folder.is_dir():
            raise RecordingError(f"{self.folder} cannot be read: there is no such folder")
        known = max(0, len(self._files) - 1)  # only the last one grows
        for i, path in enumerate(paths[known:], known):
            if path.name != (name := TEMPLATE.format(i)):
                # Frames behind a gap would pass for others.
                raise RecordingError(
                    f"{self.folder} cannot be read: {name} is missing, and {path.name} is there; "
                    "put it back, or have 'stmtem recover' move what does not follow aside"
                )
            if i == len(self._files):
                self._files.append(_File(path))
                self._ends.append(0)
            try:
                pages = self._files[i].look()
            except OSError as error:
                reason = error.strerror or str(error)
                raise RecordingError(f"{path} cannot be read: {reason}") from None
            self._ends[i] = (self._ends[i - 1] if i else 0) + pages
        return self._ends[-1] if self._ends else 0

    def _find(self, number: int) -> tuple[_File, int]:
        """Return the file and the page of a frame that may not be known yet."""
        if number < 0 or not self._ends or number >= self._ends[-1]:
            count = self._look()
            if not -count <= number < count:
                raise IndexError(f"frame {number} of {count}")
            number %= count
        i = bisect_right(self._ends, number)
        return self._files[i], number - (self._ends[i - 1] if i else 0)

    def __len__(self) -> int:
        """Return how many frames are on disk now."""
        return self._look()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the frames that are there now, in order."""
        for number in range(len(self)):
            yield self[number]

    def __getitem__(self, index: int | slice) -> NDArray[Any]:
        """Return a frame, or those of a slice as one array of three dimensions."""
        if not isinstance(index, slice):
            file, page = self._find(int(index))
            return file.image(page)
        numbers = range(*index.indices(self._look()))
        if not numbers:
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = self._find(numbers[0]), self._find(numbers[-1])
        if numbers.step > 0 and first[0] is last[0]:
            together = first[0].images(first[1], last[1] + 1)
            if together is not None:
                return together[:: numbers.step]
        made = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for i, number in enumerate(numbers):
            made[i] = self[number]
        return made

    @property
    def _first(self) -> StoredPage:
        if not self._ends and not self._look():
            raise RecordingError(f"{self.folder} cannot be read: there are no frames")
        return self._files[0].chain.pages[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many frames, rows and columns there are now."""
        count = len(self)
        return (count, *self._first.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a frame, as the camera gave it."""
        return np.dtype(self._first.camera_dtype)

    def row(self, number: int) -> dict[str, Any]:
        """Return the row that is kept with a frame."""
        file, page = self._find(number)
        return file.row(page)

    def rows(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the rows that are kept with the frames, in order, from number `first` on."""
        for number in range(first, len(self)):
            yield self.row(number)

    def place(self, number: int) -> tuple[Path, int]:
        """Return the file of a frame, and which of its pages it is, from 0."""
        file, page = self._find(number)
        return file.path, page

    def close(self) -> None:
        """Let go of the files; arrays that were taken stay as they are."""
        for file in self._files:
            file.close()
        self._files.clear()
        self._ends.clear()

    def __enter__(self) -> "FrameFiles":
        """Return the frames."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the files."""
        self.close()


def read_frames(folder: Path) -> Iterator[NDArray[Any]]:
    """Yield the frames of a run in order, one at a time; also while it is being recorded.

    Raises
    ------
    RecordingError
        A file cannot be read.
    """
    with FrameFiles(folder) as frames:
        for number in range(len(frames)):
            yield frames[number]


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows that are kept inside the frames' files, in order.

    Raises
    ------
    RecordingError
        A file cannot be read.
    """
    with FrameFiles(folder) as frames:
        yield from frames.rows()
