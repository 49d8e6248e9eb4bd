"""One frame file that grows: several pages out in one call, and the chain always leads to an end.

The layout is that of :mod:`.page_layout`.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .direct_io import OpenFile, address, aligned_memory
from .page_chain import UNFINISHED
from .page_layout import ALIGNMENT, HEADER_BYTES, Page, PageLayout, padded, place_page

_ZEROS = bytes(ALIGNMENT)


class AlignedBlocks:
    """Aligned memory for what goes out in one call and does not lie in such memory already.

    Parameters
    ----------
    pages : int
        Pages that go out in one call at most.
    data_bytes : int
        Of the data of a page, at most.
    """

    def __init__(self, pages: int, data_bytes: int) -> None:
        self._pages = pages
        self._room = padded(data_bytes)
        # For each page a directory and the end of its data, and two for what comes before them.
        self._blocks = memoryview(aligned_memory((2 * pages + 2) * ALIGNMENT))
        self._copies: memoryview | None = None

    def before(self, *contents: "bytes | bytearray") -> list[memoryview]:
        """Return up to two times 4096 bytes, copied, for what comes before the pages."""
        return [self._block(number, content) for number, content in enumerate(contents)]

    def data(self, page: int, data: memoryview) -> list[memoryview]:
        """Return the data of a page, padded with zeros, and copied only if it is not aligned."""
        size = data.nbytes
        rest = size % ALIGNMENT
        if address(np.frombuffer(data, np.uint8)) % ALIGNMENT:
            data = self._copied(page, data)
        if not rest:
            return [data]
        end = bytes(data[size - rest :]).ljust(ALIGNMENT, b"\0")
        tail = self._block(2 * page + 2, end)
        return [data[: size - rest], tail] if size > rest else [tail]

    def directory(self, page: int, content: bytearray) -> memoryview:
        """Return the directory of a page, copied."""
        return self._block(2 * page + 3, content)

    def _block(self, number: int, content: "bytes | bytearray") -> memoryview:
        block = self._blocks[number * ALIGNMENT : (number + 1) * ALIGNMENT]
        block[:] = content
        return block

    def _copied(self, page: int, data: memoryview) -> memoryview:
        self._room = max(self._room, padded(data.nbytes))
        if self._copies is None or self._copies.nbytes < self._pages * self._room:
            self._copies = memoryview(aligned_memory(self._pages * self._room))
        copy = self._copies[page * self._room : page * self._room + data.nbytes]
        copy[:] = data
        return copy


class PageFile:
    """A file of frames, from its first page to its last.

    A new one appears under its name when its first page is whole.

    Parameters
    ----------
    path : Path
        Where; the folder exists.
    layout : PageLayout
        Of the pages.
    blocks : AlignedBlocks, optional
        For writing past the page cache; without them it is written through the cache.

    Attributes
    ----------
    pages : list of Page
        That are whole and in the chain.
    """

    def __init__(self, path: Path, layout: PageLayout, blocks: AlignedBlocks | None = None) -> None:
        self.path = path
        self.layout = layout
        self.pages: list[Page] = []
        self._blocks = blocks
        self._last = bytearray()  # the last directory, as it is in the file
        self._file: OpenFile | None = None

    def open(self) -> OpenFile:
        """Open the file for more pages; harmless when it is open.

        Raises
        ------
        OSError
            It cannot be opened.
        """
        if self._file is None:
            direct = self._blocks is not None
            if self.pages:
                self._file = OpenFile(self.path, direct=direct, new=False)
                self._tell_viewers(None)  # the number of pages would soon be wrong
            else:
                unfinished = self.path.with_name(self.path.name + UNFINISHED)
                unfinished.unlink(missing_ok=True)
                self._file = OpenFile(unfinished, direct=direct, new=True)
        return self._file

    def append(self, stored: Sequence[tuple[memoryview, int]], rows: Sequence[bytes]) -> int:
        """Add pages; return the bytes written.

        Parameters
        ----------
        stored : sequence of (data, bits)
            The pixels of each page as they are stored, and the bits of one.
        rows : sequence of bytes
            The row of each page.

        Raises
        ------
        OSError
            Not all could be written.  :attr:`pages` has those that are whole; the file ends behind
            them, and is closed.
        """
        try:
            return self._append(self.open(), stored, rows)
        except OSError:
            file = self._file
            if file is not None and not self.pages:
                with contextlib.suppress(OSError):
                    file.path.unlink()
            self._let_go()
            raise

    def _append(
        self, file: OpenFile, stored: Sequence[tuple[memoryview, int]], rows: Sequence[bytes]
    ) -> int:
        pages = self._places(stored)
        if self.pages and len({page.bits for page in (self.pages[-1], *pages)}) > 1:
            self._tell_viewers(None, mixed=True)
        old = len(self.pages)
        directories = [
            self.layout.directory_page(
                page,
                row,
                first=old + i == 0,
                link=pages[i + 1].directory if i + 1 < len(pages) else 0,
            )
            for i, (page, row) in enumerate(zip(pages, rows, strict=True))
        ]
        place, buffers = self._before(file, pages, directories)
        for i, ((data, _), directory) in enumerate(zip(stored, directories, strict=True)):
            if self._blocks is not None:
                buffers += self._blocks.data(i, data)
                buffers.append(self._blocks.directory(i, directory))
            else:
                rest = data.nbytes % ALIGNMENT
                tail = [memoryview(_ZEROS)[rest:]] if rest else []
                buffers += [data, *tail, memoryview(directory)]
        written, error = file.append(buffers, place)
        whole = sum(page.end <= place + written for page in pages)
        self._take(file, pages[:whole], directories[:whole], whole=error is None)
        if error is not None:
            raise error
        return written

    def _places(self, stored: Sequence[tuple[memoryview, int]]) -> list[Page]:
        place = self.pages[-1].end if self.pages else HEADER_BYTES
        pages: list[Page] = []
        for number, (data, bits) in enumerate(stored, len(self.pages)):
            pages.append(place_page(number, place, data.nbytes, bits))
            place = pages[-1].end
        return pages

    def _before(
        self, file: OpenFile, pages: list[Page], directories: list[bytearray]
    ) -> tuple[int, list[memoryview]]:
        """Return what goes out before the data of the next page, and where it begins."""
        old = len(self.pages)
        if old == 0:
            mixed = len({page.bits for page in pages}) > 1
            header = self.layout.header_page(pages[0], None, mixed=mixed)
            second = directories[1] if len(pages) > 1 else _ZEROS
            if self._blocks is None:
                return 0, [memoryview(header), memoryview(second)]
            return 0, self._blocks.before(header, second)
        if old == 1:  # it lies in the header, and nothing leads to it yet
            file.change(pages[0].directory, directories[0])
        return pages[0].data, []

    def _take(
        self, file: OpenFile, pages: list[Page], directories: list[bytearray], *, whole: bool
    ) -> None:
        """Make whole pages part of the file; after a failed write cut off what lies behind."""
        old = len(self.pages)
        if not whole and (pages or old):
            last, page = (directories[-1], pages[-1]) if pages else (self._last, self.pages[-1])
            self.layout.set_link(last, first=old + len(pages) == 1, to=0)
            file.change(page.directory, last)
            file.cut(page.end)
        if not pages:
            return
        if old == 0:
            file.renamed(self.path)
        else:  # only now the chain leads on
            self.layout.set_link(self._last, first=old == 1, to=pages[0].directory)
            file.change(self.pages[-1].directory, self._last)
        self.pages += pages
        self._last = directories[-1]

    def amend(self, first: int, rows: Sequence[bytes]) -> None:
        """Replace the rows of neighbouring pages.

        Raises
        ------
        OSError
            They cannot all be written.
        """
        if self._file is not None:
            self._amend(self._file, first, rows)
        else:
            with contextlib.closing(OpenFile(self.path, direct=False, new=False)) as file:
                self._amend(file, first, rows)

    def _amend(self, file: OpenFile, first: int, rows: Sequence[bytes]) -> None:
        end = len(self.pages) - 1
        for number, row in enumerate(rows, first):
            page = self.pages[number]
            link = self.pages[number + 1].directory if number < end else 0
            # All of the directory: a part of it might have to be read from the disk first.
            directory = self.layout.directory_page(page, row, first=number == 0, link=link)
            file.change(page.directory, directory)
            if number == end:
                self._last = directory

    def _tell_viewers(self, count: int | None, *, mixed: bool | None = None) -> None:
        """Write the header page anew."""
        assert self._file is not None
        if mixed is None:
            mixed = len({page.bits for page in self.pages}) > 1
        self._file.change(0, self.layout.header_page(self.pages[0], count, mixed=mixed))

    def close(self) -> None:
        """Tell viewers how many pages there are, and close the file; safe to call again.

        Raises
        ------
        OSError
            The disk refuses; the pages are there all the same.
        """
        try:
            if self.pages:
                if self._file is None:
                    self._file = OpenFile(self.path, direct=False, new=False)
                self._tell_viewers(len(self.pages))
        finally:
            self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
