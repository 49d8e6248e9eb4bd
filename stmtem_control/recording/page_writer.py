"""Writes frames to disk as fast as the disk takes them, each complete before it is counted.

Several frames that wait go out in one call, from where they lie in memory.  The layout is that of
:mod:`.page_layout`.  Killed at any moment, the files hold every frame that was counted.
"""

import errno
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stmtem_control.errors import RecordingError

from .compressed_pages import Codec, image_bytes
from .direct_io import direct_works, sync_file
from .frame_files import TEMPLATE
from .page_chain import read_chain
from .page_file import AlignedBlocks, PageFile
from .page_layout import (
    ALIGNMENT,
    DEFLATE,
    NO_COMPRESSION,
    ROW_BYTES,
    ZSTD,
    Page,
    PageLayout,
    is_classic_enough,
    padded_bytes,
)

if TYPE_CHECKING:
    from .tiff_writer import TiffWriter

__all__ = ["ALIGNMENT", "ROW_BYTES", "PageWriter", "open_writer", "padded_bytes"]

Method = Literal["auto", "direct", "buffered"]
Compression = Literal["zstd", "deflate"]

#: Frames of at least so many bytes are written past the page cache; several of the small ones,
#: where they wait, in one call.
DIRECT_BYTES = 1 << 16
#: Pages, and bytes, that go out in one call at most.
BATCH_PAGES, BATCH_BYTES = 64, 32 << 20
#: Files whose places are remembered, so that their rows can be amended at once.
FILES_KEPT = 64

_COMPRESSIONS = {None: NO_COMPRESSION, "deflate": DEFLATE, "zstd": ZSTD}


class PageWriter:
    """Writes the frames of one run into a folder; from one thread.

    Parameters
    ----------
    directory : Path
        The run folder; it must exist and hold no frames yet.
    shape : tuple of int
        Rows and columns of every frame.
    dtype : dtype
        Of every frame: an unsigned, signed or floating point number.
    pixel_size_nm, frame_interval_s : float
        For the axes that viewers show; the true times are in the rows.
    frames_per_file : int
        After so many frames a new file begins.
    method : {"auto", "direct", "buffered"}
        Whether frames go past the page cache.  "auto": those of 1 MiB and more do.  All go
        through it where the folder's file system has nothing else.
    compression : {"zstd", "deflate"}, optional
        Of unsigned frames, without loss; "zstd" needs the extra ``compression``.
    bigtiff : bool, optional
        By default only files that may pass 3.5 GB are BigTIFF: ImageJ's own reader takes none.
    threads : int
        That compress a batch together.

    Attributes
    ----------
    count : int
        Frames whose pages are on disk.
    directory, shape, dtype, frames_per_file :
        As given.
    direct : bool
        Whether frames go past the page cache.
    layout : PageLayout
        Of the files.

    Raises
    ------
    RecordingError
        The folder cannot be written, or holds frames already; or what compresses is not installed.
    ValueError
        An option that there is not.
    """

    def __init__(
        self,
        directory: Path,
        *,
        shape: tuple[int, int],
        dtype: DTypeLike,
        pixel_size_nm: float,
        frame_interval_s: float,
        frames_per_file: int = 256,
        method: Method = "auto",
        compression: Compression | None = None,
        bigtiff: bool | None = None,
        threads: int = 2,
    ) -> None:
        if method not in ("auto", "direct", "buffered"):
            raise ValueError(f"method must be auto, direct or buffered, not {method!r}")
        if compression not in _COMPRESSIONS:
            raise ValueError(f"compression must be zstd, deflate or None, not {compression!r}")
        self.directory = Path(directory)
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype = np.dtype(dtype)
        self.frames_per_file = max(1, frames_per_file)
        self.count = 0
        self.layout = PageLayout(
            self.shape,
            self.dtype,
            pixel_size_nm,
            frame_interval_s,
            bigtiff=bool(bigtiff),
            compression=_COMPRESSIONS[compression],
        )
        if not is_classic_enough(self.layout, self.frames_per_file) and not bigtiff:
            if bigtiff is not None:
                raise ValueError("files of more than 3.5 GB must be BigTIFF")
            self.layout = replace(self.layout, bigtiff=True)
        self._codec = Codec(compression, self.dtype, threads) if compression else None
        small = compression is not None or self.layout.frame_bytes < DIRECT_BYTES
        no_frames_yet(self.directory)
        wanted = method == "direct" or (method == "auto" and not small)
        self.direct = wanted and direct_works(self.directory)
        room = padded_bytes(self.shape, self.dtype)
        self._batch = max(1, min(BATCH_PAGES, BATCH_BYTES // room))
        self._blocks = AlignedBlocks(self._batch, room) if self.direct else None
        self._files: dict[int, PageFile] = {}
        self._closed = False
        self._unsynced: dict[Path, None] = {}  # files, in order
        self._lock = threading.Lock()  # for them

    def write(self, frames: Sequence[tuple[NDArray[Any], bytes]]) -> None:
        """Write frames with their rows; when it returns, they are on disk and counted.

        Parameters
        ----------
        frames : sequence of (image, row)
            The image as declared; it is written from where it lies if its memory begins at a
            multiple of :data:`ALIGNMENT`, and copied once otherwise.  The row is JSON in ASCII,
            at most :data:`ROW_BYTES` long.

        Raises
        ------
        RecordingError
            Not all could be written, for example because the disk is full.  ``count`` tells what
            is there; that is whole, and any reader opens it.  It can be gone on with.
        ValueError
            An image has another shape or type than the files, or a row is too long.
        """
        if self._closed:
            raise RecordingError(f"{self.directory}: the files of this run are closed; reopen them")
        for i, (image, row) in enumerate(frames):
            if image.shape != self.shape or image.dtype != self.dtype:
                raise ValueError(
                    f"frame {self.count + i} is {image.shape} {image.dtype}, the files hold "
                    f"{self.shape} {self.dtype}"
                )
            if len(row) > ROW_BYTES:
                raise ValueError(
                    f"the row of frame {self.count + i} has {len(row)} bytes, {ROW_BYTES} are the "
                    "most a page holds"
                )
        done = 0
        while done < len(frames):
            room = self.frames_per_file - self.count % self.frames_per_file
            batch = frames[done : done + min(self._batch, room)]
            self._write_batch(batch)
            done += len(batch)

    def _write_batch(self, frames: Sequence[tuple[NDArray[Any], bytes]]) -> None:
        number = self.count // self.frames_per_file
        file = self._file(number)
        images = [
            image if image.flags.c_contiguous else np.ascontiguousarray(image)
            for image, _ in frames
        ]
        if self._codec is not None:
            stored = self._codec.encode(images)
        else:
            bits = 8 * self.dtype.itemsize
            stored = [(image_bytes(image), bits) for image in images]
        try:
            try:
                file.append(stored, [row for _, row in frames])
            finally:
                self.count = number * self.frames_per_file + len(file.pages)
                if file.pages:
                    self._touched(file)
            if len(file.pages) == self.frames_per_file:
                file.close()
        except OSError as error:
            raise refusal(self.directory, self.count, error) from error

    def _file(self, number: int) -> PageFile:
        """Return the file with that number, remembered or new."""
        file = self._files.get(number)
        if file is None:
            path = self.directory / TEMPLATE.format(number)
            file = PageFile(path, self.layout, self._blocks)
            if number < self.count // self.frames_per_file:  # it was forgotten
                file.pages = [
                    Page(page.data, page.directory, page.data_bytes, 8 * int(page.dtype[2:]))
                    for page in read_chain(path).pages
                ]
                return file
            self._files[number] = file
            self._files.pop(number - FILES_KEPT, None)
        return file

    def amend(self, number: int, row: bytes) -> None:
        """Replace the row of a frame that is on disk.

        Parameters
        ----------
        number : int
            Of the frame in the run, from 0.
        row : bytes
            As in :meth:`write`.

        Raises
        ------
        RecordingError
            It cannot be written.
        ValueError
            There is no such frame, or the row is too long.
        """
        self.amend_rows(number, [row])

    def amend_rows(self, first: int, rows: Sequence[bytes]) -> None:
        """Replace the rows of neighbouring frames, from number `first` on; see :meth:`amend`."""
        if not 0 <= first <= first + len(rows) <= self.count:
            bad = first if not 0 <= first < self.count else self.count
            raise ValueError(f"frame {bad} is not on disk, {self.count} are")
        done = 0
        while done < len(rows):
            index, page = divmod(first + done, self.frames_per_file)
            part = rows[done : done + self.frames_per_file - page]
            try:
                file = self._file(index)
                file.amend(page, part)
            except OSError as error:
                raise RecordingError(
                    f"the row of frame {first + done} cannot be replaced in {self.directory}: "
                    f"{error.strerror or error}; the frame itself is safe"
                ) from error
            self._touched(file)
            done += len(part)

    def sync(self) -> None:
        """Wait until all that is counted would outlast a power failure.

        Raises
        ------
        RecordingError
            The disk refuses.
        """
        try:
            self._sync_files()
        except OSError as error:
            raise refusal(self.directory, self.count, error) from error

    def unsynced(self) -> list[Path]:
        """Return the files that changed since they were synced; who asks must sync them.

        For another thread, so that nobody waits for the disk.
        """
        with self._lock:
            files, self._unsynced = list(self._unsynced), {}
        return files

    def _touched(self, file: PageFile) -> None:
        with self._lock:
            self._unsynced[file.path] = None

    def reopen(self) -> None:
        """Go on after :meth:`close`, with the next page of the same file; harmless when open.

        Raises
        ------
        RecordingError
            The folder cannot be written any more.
        """
        try:
            _check_folder(self.directory)
            if self.count % self.frames_per_file:
                self._file(self.count // self.frames_per_file).open()
        except OSError as error:
            raise refusal(self.directory, self.count, error) from error
        self._closed = False

    def close(self) -> None:
        """Tell viewers how many frames there are, and close the files; safe to call again.

        Raises
        ------
        RecordingError
            The disk refuses; the frames that are counted are there all the same.
        """
        self._closed = True
        if self._codec is not None:
            self._codec.close()
        try:
            if self.count % self.frames_per_file:
                file = self._file(self.count // self.frames_per_file)
                file.close()
                self._touched(file)
            self._sync_files()
        except OSError as error:
            raise RecordingError(
                f"{self.directory}: the files cannot be closed: {error.strerror or error}; the "
                f"{self.count} frames in them are safe"
            ) from error

    def _sync_files(self) -> None:
        files = self.unsynced()
        while files:
            try:
                sync_file(files[0])
            except OSError:
                with self._lock:
                    self._unsynced |= dict.fromkeys(files)
                raise
            del files[0]


def no_frames_yet(directory: Path) -> None:
    """Raise RecordingError if a folder is not there, or holds frames."""
    try:
        _check_folder(directory)
    except OSError as error:
        raise refusal(directory, 0, error) from error
    if (directory / TEMPLATE.format(0)).exists():
        raise RecordingError(f"{directory}: there are frames already; give each run its own folder")


def refusal(directory: Path, count: int, error: OSError) -> RecordingError:
    """Return what to tell when the frame behind the first `count` could not be written."""
    reason = error.strerror or str(error)
    return RecordingError(
        f"frame {count} cannot be written to {directory}: {reason}; the {count} frames before it "
        "are safe"
    )


def _check_folder(directory: Path) -> None:
    if not directory.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def open_writer(
    directory: Path, *, method: "Method | Literal['tifffile']" = "auto", **options: Any
) -> "PageWriter | TiffWriter":
    """Return a :class:`PageWriter`, or with method "tifffile" the simple one, of the same use.

    Parameters
    ----------
    directory, method, **options
        As :class:`PageWriter` takes them; "tifffile" knows neither compression nor direct I/O.

    Raises
    ------
    RecordingError, ValueError
        As :class:`PageWriter`.
    """
    if method != "tifffile":
        return PageWriter(directory, method=method, **options)
    from .tiff_writer import TiffWriter

    if options.pop("compression", None) is not None:
        raise ValueError("method tifffile does not compress: use auto")
    return TiffWriter(directory, **options)
