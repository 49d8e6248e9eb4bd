"""The simple way to write frames: tifffile, a page at a time.

For systems on which :mod:`.page_writer` does not work, and to check it against.  It takes a third
of a millisecond a page and goes through the page cache.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stmtem_control.errors import RecordingError

from .direct_io import write_all
from .frame_files import TEMPLATE
from .page_chain import UNFINISHED, Chain, StoredPage, extend_chain, read_chain, told_count
from .page_layout import ROW_BYTES, ROW_TAG, PageLayout, is_classic_enough
from .page_writer import no_frames_yet, refusal

_DESCRIPTION_BYTES = 256


class _PageStream(io.RawIOBase):
    """A file in which changes to what was there wait until :meth:`commit`.

    tifffile links a page into the chain before it has written it.  New bytes go to the file at
    once; the link, which lies before the end at the last commit, is written when all is there.
    """

    def __init__(self, path: Path, *, new: bool) -> None:
        super().__init__()
        self.path = path
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | (os.O_CREAT | os.O_EXCL if new else 0)
        self.descriptor = os.open(path, flags, 0o644)
        self._place = 0
        self._safe = os.fstat(self.descriptor).st_size  # before: whole pages
        self._waiting: list[tuple[int, bytes]] = []

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
            offset += os.fstat(self.descriptor).st_size
        self._place = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self.descriptor, len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._place < self._safe:
            self._waiting.append((self._place, bytes(view)))
        else:
            self.change(self._place, view)
        self._place += len(view)
        return len(view)

    def change(self, place: int, data: "bytes | memoryview") -> None:
        """Write at once."""
        _, error = write_all(self.descriptor, [memoryview(data)], place)
        if error is not None:
            raise error

    def commit(self) -> None:
        """Make the page that was written part of the file."""
        # Bytes that exist already are changed in place: this needs no room on the disk.
        for place, data in self._waiting:
            self.change(place, data)
        self._waiting.clear()
        self._safe = os.fstat(self.descriptor).st_size

    def take_back(self) -> None:
        """Cut off the page that was begun."""
        self._waiting.clear()
        os.ftruncate(self.descriptor, self._safe)

    def close(self) -> None:
        if not self.closed:
            os.close(self.descriptor)
        super().close()


class TiffWriter:
    """Writes the frames of one run into a folder, as :class:`.page_writer.PageWriter` does.

    Parameters
    ----------
    directory, shape, dtype, pixel_size_nm, frame_interval_s, frames_per_file :
        As there.

    Attributes
    ----------
    count : int
        Frames whose pages are in the files.

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
    ) -> None:
        import tifffile

        self._tifffile = tifffile
        self.directory = Path(directory)
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype = np.dtype(dtype)
        self.frames_per_file = max(1, frames_per_file)
        self.count = 0
        self._layout = PageLayout(self.shape, self.dtype, pixel_size_nm, frame_interval_s)
        self._big = not is_classic_enough(self._layout, self.frames_per_file)
        self._stream: _PageStream | None = None
        self._tiff: Any = None
        self._chain = Chain(0)
        self._closed = False
        no_frames_yet(self.directory)

    def write(self, frames: Sequence[tuple[NDArray[Any], bytes]]) -> None:
        """Write frames with their rows; raises as :meth:`.page_writer.PageWriter.write`."""
        if self._closed:
            raise RecordingError(f"{self.directory}: the files of this run are closed; reopen them")
        for image, row in frames:
            if image.shape != self.shape or image.dtype != self.dtype:
                raise ValueError(
                    f"frame {self.count} is {image.shape} {image.dtype}, the files hold "
                    f"{self.shape} {self.dtype}"
                )
            if len(row) > ROW_BYTES:
                raise ValueError(
                    f"the row of frame {self.count} has {len(row)} bytes, {ROW_BYTES} are the "
                    "most a page holds"
                )
            try:
                self._write_page(image, row)
                self.count += 1
                if self.count % self.frames_per_file == 0:
                    self._finish_file()
            except OSError as error:
                self._give_up()
                raise refusal(self.directory, self.count, error) from error

    def _path(self, number: int) -> Path:
        return self.directory / TEMPLATE.format(number)

    def _write_page(self, image: NDArray[Any], row: bytes) -> None:
        index, page = divmod(self.count, self.frames_per_file)
        stream = self._stream or self._open(index, new=page == 0)
        row_tag = (ROW_TAG, "s", 0, row.ljust(ROW_BYTES).decode("ascii"), True)
        options: dict[str, Any] = {"extratags": [row_tag]}
        if page == 0:
            per_nm = 1.0 / self._layout.pixel_size_nm
            text = self._layout.description(None).ljust(_DESCRIPTION_BYTES - 1, b"\n")
            options = {
                "description": text.decode("ascii"),
                "resolution": (per_nm, per_nm),
                "resolutionunit": "NONE",  # the unit is in the description: ImageJ's way
                "extratags": [*self._axis_tags(), row_tag],
            }
        self._tiff.write(
            image,
            photometric="minisblack",
            contiguous=False,
            metadata=None,
            software="stmtem-control",
            **options,
        )
        stream.commit()
        if page == 0:
            os.rename(stream.path, self._path(index))
        extend_chain(self._chain, stream.descriptor)

    def _open(self, index: int, *, new: bool) -> _PageStream:
        path = self._path(index)
        if new:
            path = path.with_name(path.name + UNFINISHED)
            path.unlink(missing_ok=True)
        stream = self._stream = _PageStream(path, new=new)
        if new:
            self._chain = Chain(0)
            options: dict[str, Any] = {"bigtiff": self._big, "byteorder": "<"}
        else:
            self._tell_viewers(None)
            options = {"append": "force"}  # though there is an ImageJ header, kept right here
        stream_as_file: Any = stream
        self._tiff = self._tifffile.TiffWriter(stream_as_file, **options)
        return stream

    def _axis_tags(self) -> list[tuple[int, str, int, Any, bool]]:
        """Return the tags in which DigitalMicrograph keeps units, origins and scales."""
        pixel, interval = self._layout.pixel_size_nm, self._layout.frame_interval_s
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

    def _tell_viewers(self, count: int | None) -> None:
        assert self._stream is not None
        first = self._chain.pages[0]
        text = os.pread(self._stream.descriptor, first.description_bytes, first.description)
        self._stream.change(first.description, told_count(text, count))

    def _finish_file(self) -> None:
        """Tell viewers how many pages there are, and let go of the file."""
        if self._stream is not None:
            try:
                self._tell_viewers(len(self._chain.pages))
                os.fsync(self._stream.descriptor)
            finally:
                self._let_go()

    def _let_go(self) -> None:
        # The writer's own close would only write what is written already.
        stream, self._stream, self._tiff = self._stream, None, None
        if stream is not None:
            stream.close()

    def _give_up(self) -> None:
        """Leave only whole pages behind; best effort."""
        stream = self._stream
        try:
            if stream is not None:
                stream.take_back()
                if not self._chain.pages:
                    stream.path.unlink(missing_ok=True)
        except OSError:
            return  # the error before it is told
        finally:
            self._let_go()

    def amend(self, number: int, row: bytes) -> None:
        """Replace the row of a frame; raises as :meth:`.page_writer.PageWriter.amend`."""
        if not 0 <= number < self.count:
            raise ValueError(f"frame {number} is not on disk, {self.count} are")
        if len(row) > ROW_BYTES:
            raise ValueError(f"the row has {len(row)} bytes, {ROW_BYTES} are the most a page holds")
        index, page = divmod(number, self.frames_per_file)
        try:
            place = self._pages(index)[page].row
            stream = _PageStream(self._path(index), new=False)
            try:
                stream.change(place, row.ljust(ROW_BYTES))
            finally:
                stream.close()
        except OSError as error:
            raise RecordingError(
                f"the row of frame {number} cannot be replaced in {self.directory}: "
                f"{error.strerror or error}; the frame itself is safe"
            ) from error

    def _pages(self, index: int) -> list[StoredPage]:
        if index == (self.count - 1) // self.frames_per_file:
            return self._chain.pages
        return read_chain(self._path(index)).pages

    def sync(self) -> None:
        """Wait until all that is counted would outlast a power failure."""
        try:
            if self._stream is not None:
                os.fsync(self._stream.descriptor)
        except OSError as error:
            raise refusal(self.directory, self.count, error) from error

    def reopen(self) -> None:
        """Go on after :meth:`close`; raises as :meth:`.page_writer.PageWriter.reopen`."""
        try:
            index, page = divmod(self.count, self.frames_per_file)
            if page and self._stream is None:
                self._open(index, new=False)
            elif not self.directory.is_dir():
                raise FileNotFoundError(2, os.strerror(2))
        except OSError as error:
            self._let_go()
            raise refusal(self.directory, self.count, error) from error
        self._closed = False

    def close(self) -> None:
        """Tell viewers how many frames there are, and close the files; safe to call again."""
        self._closed = True
        try:
            if self._stream is not None:
                self._finish_file()
        except OSError as error:
            raise refusal(self.directory, self.count, error) from error
