"""Follows the pages of a TIFF file, also of one that ends in the middle of a page, and mends it.

Reads what :mod:`.page_layout` and tifffile write: little-endian TIFF and BigTIFF, each image in one
piece.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from stmtem_control.errors import RecordingError

from .page_layout import (
    ALIGNMENT,
    CAMERA_BITS_TAG,
    HEADER_BYTES,
    NO_COMPRESSION,
    ROW_TAG,
    SECOND_DIRECTORY,
    padded,
)

#: Behind the name of a file until its first page is whole.
UNFINISHED = ".new"

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_MOST_TAGS = 200
_READ_BYTES = 4096


class StoredPage(NamedTuple):
    """A page that is whole.

    Attributes
    ----------
    directory, link : int
        Where its directory begins, and where the link in it stands; bytes.
    data, data_bytes : int
        Where its pixels are, and how many bytes they take as stored.
    shape : tuple of int
        Rows and columns.
    dtype, camera_dtype : str
        Of a pixel as it is stored, and as the camera gave it; little-endian.
    compression : int
        TIFF's number of it.
    row, row_bytes : int
        Where its row is, and how long with its padding; 0 if it has none.
    description, description_bytes : int
        The same of the text that viewers read.
    end : int
        Where all that belongs to it ends.
    """

    directory: int
    link: int
    data: int
    data_bytes: int
    shape: tuple[int, int]
    dtype: str
    camera_dtype: str
    compression: int
    row: int
    row_bytes: int
    description: int
    description_bytes: int
    end: int


@dataclass
class Chain:
    """The pages of a file.

    Attributes
    ----------
    size : int
        Of the file, bytes.
    bigtiff : bool
        Whether offsets have 64 bits.
    pages : list of StoredPage
        That are whole, up to the first that is not.
    ended : bool
        Whether the chain ends there, as it should.
    """

    size: int
    bigtiff: bool = False
    pages: list[StoredPage] = field(default_factory=list)
    ended: bool = False


def read_chain(path: Path) -> Chain:
    """Follow the pages of a file.

    Raises
    ------
    RecordingError
        It cannot be read, or has a page of another kind than this program writes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            chain = Chain(os.fstat(descriptor).st_size)
            extend_chain(chain, descriptor)
            return chain
        finally:
            os.close(descriptor)
    except RecordingError as error:
        raise RecordingError(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from None


def extend_chain(chain: Chain, descriptor: int) -> None:
    """Add the pages that a file has more than when it was read last.

    Raises
    ------
    OSError, RecordingError
        As :func:`read_chain`.
    """
    chain.size = os.fstat(descriptor).st_size
    if chain.pages:
        place = _link(chain, descriptor, chain.pages[-1].link)
    else:
        head = os.pread(descriptor, 16, 0)
        if len(head) < 8 or not any(head):
            return  # nothing was written yet
        chain.bigtiff = head[:4] == b"II\x2b\0"
        if not chain.bigtiff and head[:4] != b"II\x2a\0":
            raise RecordingError("not a little-endian TIFF file")
        place = _link(chain, descriptor, 8 if chain.bigtiff else 4)
    seen = {page.directory for page in chain.pages}
    while place and place not in seen:
        page = read_page(chain, descriptor, place)
        if page is None:
            break
        chain.pages.append(page)
        seen.add(place)
        place = _link(chain, descriptor, page.link)
    chain.ended = place == 0 and bool(chain.pages)


def _link(chain: Chain, descriptor: int, place: int) -> int:
    data = os.pread(descriptor, 8 if chain.bigtiff else 4, place)
    return int.from_bytes(data, "little")


def read_page(chain: Chain, descriptor: int, directory: int) -> StoredPage | None:
    """Return the page whose directory begins there, or None if it is not whole."""
    block = os.pread(descriptor, _READ_BYTES, directory)
    count_bytes, entry_bytes, word = (8, 20, 8) if chain.bigtiff else (2, 12, 4)
    count = int.from_bytes(block[:count_bytes], "little")
    link = count_bytes + count * entry_bytes
    if not 0 < count <= _MOST_TAGS or link + word > len(block):
        return None
    end = directory + link + word
    numbers: dict[int, int] = {}
    places: dict[int, tuple[int, int]] = {}
    entry = "<HHQ" if chain.bigtiff else "<HHI"
    for i in range(count):
        place = count_bytes + i * entry_bytes
        tag, kind, n = struct.unpack_from(entry, block, place)
        place += struct.calcsize(entry)
        size = n * _SIZES.get(kind, 1)
        at = directory + place
        if size > word:
            at = int.from_bytes(block[place : place + word], "little")
            end = max(end, at + size)
        elif kind in _NUMBERS:
            numbers[tag] = struct.unpack_from("<" + _NUMBERS[kind], block, place)[0]
        places[tag] = at, size
        if tag == 273 and n != 1:
            raise RecordingError("its images are cut into strips; read it with tifffile")
    try:
        shape = numbers[257], numbers[256]
        bits, kind_name = numbers[258], _KINDS[numbers.get(339, 1)]
        data, data_bytes = numbers[273], numbers[279]
    except KeyError:
        return None
    end = max(end, data + data_bytes)
    compression = numbers.get(259, NO_COMPRESSION)
    pixels = shape[0] * shape[1]
    if end > chain.size or not pixels or bits not in (8, 16, 32, 64):
        return None
    if compression == NO_COMPRESSION and data_bytes != pixels * bits // 8:
        return None
    row, row_bytes = places.get(ROW_TAG, (0, 0))
    description, description_bytes = places.get(270, (0, 0))
    return StoredPage(
        directory=directory,
        link=directory + link,
        data=data,
        data_bytes=data_bytes,
        shape=shape,
        dtype=f"<{kind_name}{bits // 8}",
        camera_dtype=f"<{kind_name}{numbers.get(CAMERA_BITS_TAG, bits) // 8}",
        compression=compression,
        row=row,
        row_bytes=row_bytes,
        description=description,
        description_bytes=description_bytes,
        end=end,
    )


# Mending


def complete_pages(path: Path) -> int:
    """Return how many whole pages a file has; what is torn behind them does not count.

    Raises
    ------
    RecordingError
        It cannot be read.
    """
    return len(read_chain(path).pages)


def end_of_pages(chain: Chain) -> int:
    """Return where a file ends that has its whole pages and nothing else; bytes."""
    last = chain.pages[-1]
    end = max(page.end for page in chain.pages)
    if last.data % ALIGNMENT or last.directory % ALIGNMENT:
        return end  # not laid out by this program
    # Behind the second page there is room for a directory, though its own lies elsewhere.
    return max(end, last.data + padded(last.data_bytes) + ALIGNMENT)


def truncate_torn(path: Path) -> int:
    """Cut off what lies behind the last whole page, and tell viewers how many pages there are.

    Pages of :mod:`.page_layout` that are whole, but that nothing leads to yet, become part of the
    file.  A file without any whole page is removed.  A second call changes nothing.

    Parameters
    ----------
    path : Path
        Of a file that nobody writes any more.

    Returns
    -------
    int
        Whole pages.

    Raises
    ------
    RecordingError
        The file cannot be read or written.
    """
    chain = read_chain(path)
    try:
        if not chain.pages:
            path.unlink()
            return 0
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            _adopt(descriptor, chain)
            _end(descriptor, chain)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RecordingError(f"{path} cannot be mended: {error.strerror or error}") from None
    return len(chain.pages)


def unlinked_page(chain: Chain, descriptor: int) -> StoredPage | None:
    """Return the page that lies where the next one belongs, if it is whole and nothing leads there.

    Between the write of some pages and that of the link to them a kill leaves such.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    if not chain.pages or chain.pages[0].data != HEADER_BYTES:
        return None  # nobody knows where it would lie
    last, number = chain.pages[-1], len(chain.pages)
    place = last.data + padded(last.data_bytes) + ALIGNMENT
    if number == 1:
        places = range(SECOND_DIRECTORY, SECOND_DIRECTORY + 1)
    elif last.compression == NO_COMPRESSION:
        directory = place + padded(last.data_bytes)
        places = range(directory, directory + 1)
    else:  # somewhere behind its data, whose length only it tells
        places = range(place, chain.size, ALIGNMENT)
    for directory in places:
        page = read_page(chain, descriptor, directory)
        if page is None or (page.data, page.shape) != (place, last.shape):
            continue
        if number == 1 or directory == place + padded(page.data_bytes):
            return page
    return None


def _adopt(descriptor: int, chain: Chain) -> None:
    """Link whole pages that lie where the next ones belong."""
    while (page := unlinked_page(chain, descriptor)) is not None:
        link = page.directory.to_bytes(8 if chain.bigtiff else 4, "little")
        os.pwrite(descriptor, link, chain.pages[-1].link)
        chain.pages.append(page)
        chain.ended = _link(chain, descriptor, page.link) == 0


def _end(descriptor: int, chain: Chain) -> None:
    changed = False
    if not chain.ended:
        os.pwrite(descriptor, bytes(8 if chain.bigtiff else 4), chain.pages[-1].link)
        changed = True
    end = end_of_pages(chain)
    if chain.size > end:
        os.ftruncate(descriptor, end)
        changed = True
    first = chain.pages[0]
    text = os.pread(descriptor, first.description_bytes, first.description)
    told = told_count(text, len(chain.pages))
    if told != text:
        os.pwrite(descriptor, told, first.description)
        changed = True
    if changed:
        os.fsync(descriptor)


def told_count(description: bytes, count: int | None) -> bytes:
    """Return an ImageJ description that tells of so many frames, of the same length.

    Parameters
    ----------
    description : bytes
        With the room behind its text.
    count : int, optional
        Without it viewers count the pages themselves.

    Returns
    -------
    bytes
        Any other text, and one without room for the numbers, comes back as it is.
    """
    lines = description.rstrip(b"\n\0").split(b"\n")
    if not lines[0].startswith(b"ImageJ="):
        return description
    told = (b"images=", b"frames=", b"hyperstack=")
    rest = [line for line in lines[1:] if not line.startswith(told)]
    numbers = [b"images=%d" % count, b"frames=%d" % count, b"hyperstack=true"] if count else []
    text = b"\n".join([lines[0], *numbers, *rest, b""])
    if len(text) >= len(description):
        return description
    return text.ljust(len(description) - 1, b"\n") + b"\0"
