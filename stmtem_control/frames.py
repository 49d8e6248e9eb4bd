"""Frames on disk: TIFF files that any reader opens, page by page, while they still grow.

Each page is complete, with its row of the table inside, before the file's chain of pages leads to
it; so the files can be read at any moment, and after the process was killed.  The headers on the
first page of each file give Fiji, and HyperSpy through RosettaSciIO, axes in nm and s.
"""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import RecordingError

TEMPLATE = "frames_{:04d}.tif"
TABLE = "frames.csv"
ROW_TAG = 65000  # private: the page's row of the table, as JSON
LARGEST_FILE = 3_500_000_000  # bytes; ImageJ's own reader takes no more than 4 GB, and no BigTIFF
PAGE_OVERHEAD = 4096  # bytes of headers and JSON a page needs at most
# Without a version ImageJ follows the chain of pages; with one it takes all images to lie one after
# another from the first on, and would show the headers between them as pixels.
IMAGEJ = "ImageJ=\n"
COUNT_WIDTH = 6  # digits of the number of frames in the ImageJ header, patched as pages come


@dataclass(frozen=True)
class Column:
    """One column of the table: its name carries the unit.

    Attributes
    ----------
    name : str
        As in the header of ``frames.csv``, for example ``"current_A"``.
    kind : type
        float, int, bool or str.
    unit : str
        As it stands in documents; empty for none.
    about : str
        What it means, in one sentence.
    """

    name: str
    kind: type
    unit: str = ""
    about: str = ""


class _PageFile(io.RawIOBase):
    """A file in which changes to what was there wait until :meth:`commit`.

    tifffile links a page into the chain before it has written it.  New bytes go to the file at
    once; the link, which lies before the end at the last commit, is written when all is there.
    """

    def __init__(self, path: Path, *, new: bool = True) -> None:
        super().__init__()
        mode = "x+b" if new else "r+b"
        self._file = open(path, mode, buffering=0)  # noqa: SIM115 (closed in close)
        self._place = 0
        self._safe = os.fstat(self._file.fileno()).st_size  # before: finished pages
        self._waiting: list[tuple[int, bytes]] = []
        self._undo: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")  # or numpy writes past this class

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._place
        elif whence == os.SEEK_END:
            offset += os.fstat(self._file.fileno()).st_size
        self._place = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._file.fileno(), len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._place < self._safe:
            self._waiting.append((self._place, bytes(view)))
        else:
            self._write_at(self._place, view)
        self._place += len(view)
        return len(view)

    def _write_at(self, place: int, view: memoryview) -> None:
        while len(view):
            n = os.pwrite(self._file.fileno(), view, place)
            view, place = view[n:], place + n

    def patch(self, place: int, data: bytes) -> None:
        """Change bytes of a finished page at the next commit."""
        self._waiting.append((place, data))

    def commit(self) -> None:
        """Make the page that was written part of the file."""
        self._undo = [
            (place, os.pread(self._file.fileno(), len(data), place))
            for place, data in self._waiting
        ]
        # Bytes that exist already are changed in place: this needs no room on the disk.
        for place, data in self._waiting:
            self._write_at(place, memoryview(data))
        self._waiting.clear()
        self._safe = os.fstat(self._file.fileno()).st_size

    def take_back(self) -> None:
        """Undo the last commit: its page is no longer part of the file."""
        for place, data in self._undo:
            self._write_at(place, memoryview(data))
        self._undo.clear()

    def close(self) -> None:
        self._file.close()
        super().close()


class FrameWriter:
    """Writes frames and their table into a folder, a frame at a time.

    Parameters
    ----------
    directory : Path
        The run folder; it must exist and hold no frames yet.
    shape : tuple of int
        Rows and columns of every frame.
    dtype : dtype
        uint8, uint16 or uint32.
    pixel_size_nm, frame_interval_s : float
        For the axes that viewers show; the true times are in the table.
    frames_per_file : int
        After so many frames a new file begins; fewer if a file would pass 3.5 GB.
    columns : sequence of Column
        Of the table, in order.

    Attributes
    ----------
    count : int
        Frames whose page and row are on disk.
    frames_per_file : int
        As it is used.

    Raises
    ------
    RecordingError
        The folder cannot be written, or holds frames already.
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
        columns: Sequence[Column],
    ) -> None:
        import tifffile

        self._tifffile = tifffile
        self.directory = Path(directory)
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.columns = tuple(columns)
        page_bytes = self.dtype.itemsize * shape[0] * shape[1] + PAGE_OVERHEAD
        self.frames_per_file = max(1, min(frames_per_file, LARGEST_FILE // page_bytes))
        self.count = 0
        self._big = page_bytes > LARGEST_FILE
        self._pixel_size_nm = pixel_size_nm
        self._frame_interval_s = frame_interval_s
        self._file: _PageFile | None = None
        self._tiff: Any = None
        self._count_place = 0
        self._table: IO[str] | None = None
        try:
            if (self.directory / TEMPLATE.format(0)).exists():
                raise RecordingError(
                    f"{self.directory}: there are frames already; give each run its own folder"
                )
            self._table = open(  # noqa: SIM115 (closed in close)
                self.directory / TABLE, "x", encoding="utf-8", newline=""
            )
            self._write_line([column.name for column in self.columns])
        except OSError as error:
            self.close()
            if isinstance(error, RecordingError):
                raise
            raise self._refused(error) from error

    def write(self, image: NDArray[Any], row: Mapping[str, Any]) -> None:
        """Write a frame and its row; when it returns, both can be read.

        Raises
        ------
        RecordingError
            They could not be written, for example because the disk is full; what was written
            before is whole.
        ValueError
            The image has another shape or type than the file.
        """
        if image.shape != self.shape or image.dtype != self.dtype:
            raise ValueError(
                f"frame {self.count} is {image.shape} {image.dtype}, the files hold "
                f"{self.shape} {self.dtype}"
            )
        if self._table is None:
            raise RecordingError(f"{self.directory}: the files of this run are closed; reopen them")
        values = {column.name: _plain(row[column.name]) for column in self.columns}
        try:
            file = self._write_page(image, values)
            try:
                self._write_line([_cell(value) for value in values.values()])
            except OSError:
                file.take_back()
                raise
        except OSError as error:
            self._give_up_page()
            raise self._refused(error) from error
        self.count += 1
        if self.count % self.frames_per_file == 0:
            self._close_file()

    def _write_page(self, image: NDArray[Any], values: dict[str, Any]) -> _PageFile:
        index, page = divmod(self.count, self.frames_per_file)
        row_tag = (ROW_TAG, "s", 0, json.dumps(values, separators=(",", ":")), True)
        file = self._file or self._open_file(index, new=page == 0)
        options: dict[str, Any] = {"extratags": [row_tag]}
        if page == 0:
            per_nm = 1.0 / self._pixel_size_nm  # the unit is in the header: ImageJ's way
            options = {
                "description": self._imagej_header(),
                "resolution": (per_nm, per_nm),
                "resolutionunit": "NONE",
                "extratags": [*self._axis_tags(), row_tag],
            }
        self._tiff.write(
            image,
            photometric="minisblack",
            contiguous=False,
            metadata=None,
            software=False,
            **options,
        )
        if page == 0:
            self._count_place = self._find_count()
        for place in self._count_places():
            file.patch(place, b"%0*d" % (COUNT_WIDTH, page + 1))
        file.commit()
        return file

    def _open_file(self, index: int, *, new: bool) -> _PageFile:
        """Open the file with that number; one that has pages already gets more of them."""
        file = self._file = _PageFile(self.directory / TEMPLATE.format(index), new=new)
        file_like: Any = file
        if new:
            options: dict[str, Any] = {"bigtiff": self._big, "byteorder": "<"}
        else:
            options = {"append": "force"}  # though there is an ImageJ header, kept right here
            self._count_place = self._find_count()
        self._tiff = self._tifffile.TiffWriter(file_like, **options)
        return file

    def _give_up_page(self) -> None:
        """Close a file whose last page failed; one without any page is none."""
        index, page = divmod(self.count, self.frames_per_file)
        if self._file is not None and page == 0:
            with contextlib.suppress(OSError):
                (self.directory / TEMPLATE.format(index)).unlink()
        self._close_file()

    def _imagej_header(self) -> str:
        interval = self._frame_interval_s
        return (
            f"{IMAGEJ}images={0:0{COUNT_WIDTH}d}\nframes={0:0{COUNT_WIDTH}d}\n"
            f"hyperstack=true\nunit=nm\nfinterval={interval:.9g}\nfps={1.0 / interval:.9g}\n"
            f"spacing={interval:.9g}\n"
        )

    def _axis_tags(self) -> list[tuple[int, str, int, Any, bool]]:
        """Return the tags in which Digital Micrograph keeps units, origins and scales."""
        pixel, interval = self._pixel_size_nm, self._frame_interval_s
        tags: list[tuple[int, str, int, Any, bool]] = []
        for axis, (unit, scale) in enumerate((("nm", pixel), ("nm", pixel), ("s", interval))):
            tags += [
                (65003 + axis, "s", 0, unit, True),
                (65006 + axis, "d", 1, 0.0, True),
                (65009 + axis, "d", 1, float(scale), True),
            ]
        tags += [
            (65017, "i", 1, 1, True),  # a stack
            (65022, "s", 0, "counts", True),
            (65023, "s", 0, "counts", True),
            (65024, "d", 1, 0.0, True),
            (65025, "d", 1, 1.0, True),
        ]
        return tags

    def _find_count(self) -> int:
        """Return where the ImageJ header of the file's first page begins."""
        assert self._file is not None
        place = self._file.tell()
        self._file.seek(0)
        start = self._file.read(PAGE_OVERHEAD)
        self._file.seek(place)
        return bytes(start or b"").index(IMAGEJ.encode())

    def _count_places(self) -> tuple[int, int]:
        header = self._imagej_header()
        return tuple(  # type: ignore[return-value]
            self._count_place + header.index(name) + len(name) for name in ("images=", "frames=")
        )

    def _write_line(self, cells: Sequence[Any]) -> None:
        """Append one whole line to the table, or nothing."""
        assert self._table is not None
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        descriptor = self._table.fileno()
        before = os.fstat(descriptor).st_size
        data = text.getvalue().encode()
        try:
            written = os.pwrite(descriptor, data, before)
            if written < len(data):
                raise OSError(28, os.strerror(28))
        except OSError:
            os.ftruncate(descriptor, before)
            raise

    def _refused(self, error: OSError) -> RecordingError:
        reason = error.strerror or str(error)
        return RecordingError(
            f"frame {self.count} cannot be written to {self.directory}: {reason}; the "
            f"{self.count} frames before it are safe"
        )

    def _close_file(self) -> None:
        # The writer's own close would only write what is written already.
        file, self._file, self._tiff = self._file, None, None
        if file is not None:
            file.close()

    def reopen(self) -> None:
        """Go on after :meth:`close`, with the next page of the same file; harmless when open.

        Raises
        ------
        RecordingError
            The folder cannot be written any more.
        """
        if self._table is None:
            try:
                self._table = open(  # noqa: SIM115 (closed in close)
                    self.directory / TABLE, "r+", encoding="utf-8", newline=""
                )
            except OSError as error:
                raise self._refused(error) from error

    def close(self) -> None:
        """Close the files; safe to call again."""
        self._close_file()
        if self._table is not None:
            self._table.close()
            self._table = None


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; what is not a number becomes null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else value


def frame_files(folder: Path) -> list[Path]:
    """Return the files of a run that hold frames, in order."""
    return sorted(folder.glob("frames_*.tif"))


def read_frames(folder: Path) -> Iterator[NDArray[Any]]:
    """Yield the frames of a run in order, one at a time; also while it is being recorded.

    Raises
    ------
    RecordingError
        A file cannot be read.
    """
    import tifffile

    for path in frame_files(folder):
        try:
            with tifffile.TiffFile(path) as tiff:
                for page in tiff.pages:
                    yield page.asarray()
        except (OSError, tifffile.TiffFileError) as error:
            raise RecordingError(f"{path} cannot be read: {error}") from None


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows that are kept inside the frames' files, in order.

    Raises
    ------
    RecordingError
        A file cannot be read.
    """
    import tifffile

    for path in frame_files(folder):
        try:
            with tifffile.TiffFile(path) as tiff:
                for page in tiff.pages:
                    yield json.loads(page.aspage().tags[ROW_TAG].value)
        except (OSError, KeyError, tifffile.TiffFileError) as error:
            raise RecordingError(f"{path} cannot be read: {error}") from None
