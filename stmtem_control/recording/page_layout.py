"""The bytes of a frame file: TIFF or BigTIFF whose pages all lie at places known beforehand.

::

    0       header         4096 bytes: TIFF header, values of tags, what viewers are told
    4096    directory 1    4096 bytes: its tags, then the row of the frame as JSON
    8192    data 0         pixels, little-endian, top row first; padded to a multiple of 4096
            directory 0    4096 bytes
            data 1
            (unused)       4096 bytes
            data 2
            directory 2
            ...

All parts begin at multiples of 4096 bytes, so that direct I/O can write them as they are.  The
directory comes right behind its data: one write adds a page, or several.
Then the directory before gets its link, through the page cache; to write it along with the next
data, from where it lies in front of them, would write a block twice and cost a tenth of the disk's
speed.  The room of a row is fixed and filled up with spaces, so that a row can be replaced in
place.

Only directory 1 lies elsewhere.  tifffile takes a file with ImageJ's description for one whose
images lie side by side, if there is room for all of them in front of the second directory; of two
pages it would show the second one shifted.

Sources: TIFF Revision 6.0 (Adobe, 1992), section 2; BigTIFF as in libtiff's specification; tags
65003 to 65025 as Gatan DigitalMicrograph writes them; the description as ImageJ's TiffDecoder
reads it.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

#: Files, memory and lengths of a direct write are multiples of this, bytes.
ALIGNMENT = 4096
#: Before the data of the first page, bytes; the directory of the second is in it.
HEADER_BYTES, SECOND_DIRECTORY = 2 * ALIGNMENT, ALIGNMENT
#: Where the JSON of a row begins in a directory page, bytes.
ROW_PLACE = 768
#: The longest row, bytes; a NUL byte follows it.
ROW_BYTES = ALIGNMENT - ROW_PLACE - 1
#: The private tag that holds the row.
ROW_TAG = 65000
#: The private tag that holds the bits of a pixel as the camera gave it.
CAMERA_BITS_TAG = 65001
#: ImageJ's own reader takes no file of 4 GB and no BigTIFF; bytes.
CLASSIC_LIMIT = 3_500_000_000

NO_COMPRESSION, DEFLATE, ZSTD = 1, 8, 50000
SOFTWARE = b"stmtem-control\0"

# Where things lie in the header page, bytes.
_VALUES_PLACE = 64
_DESCRIPTION_PLACE, _DESCRIPTION_BYTES = 256, 256

_SHORT, _LONG, _RATIONAL, _ASCII, _DOUBLE, _LONG8 = 3, 4, 5, 2, 12, 16
_SIZES = {_SHORT: 2, _LONG: 4, _RATIONAL: 8, _ASCII: 1, _DOUBLE: 8, _LONG8: 8}
_FORMATS = {_SHORT: "<H", _LONG: "<I", _DOUBLE: "<d", _LONG8: "<Q"}
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


_PREPARED = 1024  # directories that are kept to be used again


class Page(NamedTuple):
    """Where a page lies in its file, and how it is stored.

    Attributes
    ----------
    data, directory : int
        Where they begin, bytes.
    data_bytes : int
        Length of the data without padding, bytes.
    bits : int
        Bits of a pixel as stored.
    """

    data: int
    directory: int
    data_bytes: int
    bits: int

    @property
    def end(self) -> int:
        """Where the next page begins, bytes."""
        return self.data + padded(self.data_bytes) + ALIGNMENT


def place_page(number: int, place: int, data_bytes: int, bits: int) -> Page:
    """Return the page with that number in its file, whose data begin at `place`."""
    directory = SECOND_DIRECTORY if number == 1 else place + padded(data_bytes)
    return Page(place, directory, data_bytes, bits)


def padded(size: int) -> int:
    """Return the next multiple of :data:`ALIGNMENT`, bytes."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def padded_bytes(shape: tuple[int, int], dtype: DTypeLike) -> int:
    """Return the bytes that a frame takes in a file or in a slot of memory, padding included."""
    return padded(shape[0] * shape[1] * np.dtype(dtype).itemsize)


@dataclass(frozen=True)
class PageLayout:
    """The layout of the files of one run.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    dtype : numpy.dtype
        Of the frames as the camera gives them.
    pixel_size_nm, frame_interval_s : float
        For the axes that viewers show.
    bigtiff : bool
        Whether offsets have 64 bits; without, a file ends below 4 GiB.
    compression : int
        TIFF's number of it: 1 none, 8 deflate, 50000 zstd.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    pixel_size_nm: float
    frame_interval_s: float
    bigtiff: bool = True
    compression: int = NO_COMPRESSION

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes of a frame as the camera gives it."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @cached_property
    def stride(self) -> int:
        """Bytes from one page to the next, where pages are not compressed."""
        return padded(self.frame_bytes) + ALIGNMENT

    def page(self, number: int) -> Page:
        """Return where an uncompressed page of a file lies."""
        place = HEADER_BYTES + number * self.stride
        return place_page(number, place, self.frame_bytes, 8 * self.dtype.itemsize)

    def header_page(self, first: Page, count: int | None, *, mixed: bool = False) -> bytes:
        """Return the first 4096 bytes of a file.

        Parameters
        ----------
        first : Page
            The first page.
        count : int, optional
            Pages of the file, for viewers.  Without it they count the pages themselves: for a
            file that still grows.
        mixed : bool
            Whether pages differ in depth.  Viewers are then not told of one series: they would
            read all pages as they read the first.
        """
        page = bytearray(ALIGNMENT)
        if self.bigtiff:
            struct.pack_into("<2sHHHQ", page, 0, b"II", 43, 8, 0, first.directory)
        else:
            struct.pack_into("<2sHI", page, 0, b"II", 42, first.directory)
        values = self._values()[1]
        page[_VALUES_PLACE : _VALUES_PLACE + len(values)] = values
        text = self.description(count, mixed=mixed)
        room = text.ljust(_DESCRIPTION_BYTES - 1, b"\n") + b"\0"
        page[_DESCRIPTION_PLACE : _DESCRIPTION_PLACE + _DESCRIPTION_BYTES] = room
        return bytes(page)

    def description(self, count: int | None, *, mixed: bool = False) -> bytes:
        """Return the text in which ImageJ looks for axes; see :meth:`header_page`."""
        interval = self.frame_interval_s
        # Without a version behind it ImageJ follows the chain of pages; with one it takes all
        # images to lie one right behind another.
        begin = "pages of several depths\n" if mixed else "ImageJ=\n"
        counts = "" if count is None else f"images={count}\nframes={count}\nhyperstack=true\n"
        return (
            f"{begin}{counts}unit=nm\nfinterval={interval:.9g}\nfps={1.0 / interval:.9g}\n"
            f"spacing={interval:.9g}\nloop=false\n"
        ).encode("ascii")

    def directory_page(self, page: Page, row: bytes, *, first: bool, link: int = 0) -> bytearray:
        """Return the 4096 bytes behind the data of a page.

        Parameters
        ----------
        page : Page
            Where it lies.
        row : bytes
            JSON in ASCII, at most :data:`ROW_BYTES`.
        first : bool
            Whether it is the first of its file, which tells viewers more.
        link : int
            Where the next directory begins; 0 at the end.

        Raises
        ------
        ValueError
            The row is too long.
        """
        if len(row) > ROW_BYTES:
            raise ValueError(f"the row has {len(row)} bytes, {ROW_BYTES} are the most a page holds")
        word = self._word
        prepared = self._prepared.get(page)  # as it was in the file before
        if prepared is None:
            template, places = self._templates[first]
            block = template.copy()
            word.pack_into(block, places.data, page.data)
            word.pack_into(block, places.data_bytes, page.data_bytes)
            struct.pack_into("<H", block, places.bits, page.bits)
            word.pack_into(block, places.row, page.directory + ROW_PLACE)
            if self.compression == NO_COMPRESSION and len(self._prepared) < _PREPARED:
                self._prepared[page] = (block.copy(), places.link)
            place = places.link
        else:
            block, place = prepared[0].copy(), prepared[1]
        word.pack_into(block, place, link)
        block[ROW_PLACE : ROW_PLACE + len(row)] = row
        return block

    def link_place(self, *, first: bool) -> tuple[int, int]:
        """Return where in a directory page its link stands, and how long it is, bytes."""
        return self._templates[first][1].link, 8 if self.bigtiff else 4

    def set_link(self, directory: bytearray, *, first: bool, to: int) -> None:
        """Change the link of a directory page; 0 ends the chain."""
        place, _ = self.link_place(first=first)
        struct.pack_into("<Q" if self.bigtiff else "<I", directory, place, to)

    # How directories are made

    @cached_property
    def _word(self) -> struct.Struct:
        return struct.Struct("<Q" if self.bigtiff else "<I")

    @cached_property
    def _prepared(self) -> "dict[Page, tuple[bytearray, int]]":
        """Directories without a row, and the places of their links."""
        return {}

    @cached_property
    def _templates(self) -> "dict[bool, tuple[bytearray, _Places]]":
        return {first: self._template(first) for first in (False, True)}

    def _template(self, first: bool) -> "tuple[bytearray, _Places]":
        offset = _LONG8 if self.bigtiff else _LONG
        rows, columns = self.shape
        bits = 8 * self.dtype.itemsize
        place_of = self._values()[0]
        tags: list[tuple[int, int, int, Any]] = [
            (256, _LONG, 1, columns),
            (257, _LONG, 1, rows),
            (258, _SHORT, 1, bits),
            (259, _SHORT, 1, self.compression),
            (262, _SHORT, 1, 1),  # black is 0
            (273, offset, 1, 0),
            (277, _SHORT, 1, 1),
            (278, _LONG, 1, rows),
            (279, offset, 1, 0),
            (282, _RATIONAL, 1, place_of["resolution"]),
            (283, _RATIONAL, 1, place_of["resolution"]),
            (296, _SHORT, 1, 1),  # the unit is in the description
            (305, _ASCII, len(SOFTWARE), place_of["software"]),
            (339, _SHORT, 1, _SAMPLE_FORMATS[self.dtype.kind]),
            (ROW_TAG, _ASCII, ROW_BYTES + 1, 0),
            (CAMERA_BITS_TAG, _SHORT, 1, bits),
        ]
        if first:
            tags += [
                (270, _ASCII, _DESCRIPTION_BYTES, _DESCRIPTION_PLACE),
                *self._axis_tags(place_of),
            ]
        tags.sort()
        block = bytearray(ALIGNMENT)
        block[ROW_PLACE:-1] = b" " * ROW_BYTES
        count, entry, head, word = ("<Q", 20, 12, 8) if self.bigtiff else ("<H", 12, 8, 4)
        struct.pack_into(count, block, 0, len(tags))
        value_place: dict[int, int] = {}
        place = struct.calcsize(count)
        for tag, kind, number, value in tags:
            struct.pack_into("<HH", block, place, tag, kind)
            struct.pack_into("<Q" if self.bigtiff else "<I", block, place + 4, number)
            value_place[tag] = place + head
            inline = number * _SIZES[kind] <= word
            if isinstance(value, bytes):
                block[place + head : place + head + len(value)] = value
            elif inline and kind == _RATIONAL:
                block[place + head : place + head + 8] = self._resolution()
            elif inline and kind in _FORMATS:
                struct.pack_into(_FORMATS[kind], block, place + head, value)
            else:
                struct.pack_into("<Q" if self.bigtiff else "<I", block, place + head, value)
            place += entry
        assert place + word <= ROW_PLACE
        places = _Places(
            data=value_place[273],
            data_bytes=value_place[279],
            bits=value_place[258],
            row=value_place[ROW_TAG],
            link=place,
        )
        return block, places

    def _axis_tags(self, place_of: dict[str, int]) -> list[tuple[int, int, int, Any]]:
        """Return the tags in which DigitalMicrograph keeps units, origins and scales."""

        def number(name: str, value: float) -> Any:
            return value if self.bigtiff else place_of[name]

        tags: list[tuple[int, int, int, Any]] = []
        for axis, (unit, scale, name) in enumerate(
            (
                (b"nm\0", self.pixel_size_nm, "pixel"),
                (b"nm\0", self.pixel_size_nm, "pixel"),
                (b"s\0", self.frame_interval_s, "interval"),
            )
        ):
            tags += [
                (65003 + axis, _ASCII, len(unit), unit),
                (65006 + axis, _DOUBLE, 1, number("zero", 0.0)),
                (65009 + axis, _DOUBLE, 1, number(name, scale)),
            ]
        counts = b"counts\0" if self.bigtiff else place_of["counts"]
        tags += [
            (65017, _LONG, 1, 1),  # a stack
            (65022, _ASCII, 7, counts),
            (65023, _ASCII, 7, counts),
            (65024, _DOUBLE, 1, number("zero", 0.0)),
            (65025, _DOUBLE, 1, number("one", 1.0)),
        ]
        return tags

    def _values(self) -> tuple[dict[str, int], bytes]:
        """Return the values that lie in the header page: where each is, and their bytes."""
        values = {
            "resolution": self._resolution(),
            "zero": struct.pack("<d", 0.0),
            "one": struct.pack("<d", 1.0),
            "pixel": struct.pack("<d", self.pixel_size_nm),
            "interval": struct.pack("<d", self.frame_interval_s),
            "counts": b"counts\0\0",
            "software": SOFTWARE,
        }
        places, place = {}, _VALUES_PLACE
        for name, value in values.items():
            places[name] = place
            place += len(value)
        return places, b"".join(values.values())

    def _resolution(self) -> bytes:
        """Return pixels per nm as TIFF's fraction of two 32 bit numbers."""
        largest = 2**32 - 1
        ratio = Fraction(1.0 / self.pixel_size_nm)
        if ratio >= 1:
            near = Fraction(1) / (Fraction(1) / ratio).limit_denominator(largest)
        else:
            near = ratio.limit_denominator(largest)
        return struct.pack("<II", near.numerator, near.denominator)


class _Places(NamedTuple):
    """Where in a directory page stands what differs from page to page, bytes."""

    data: int
    data_bytes: int
    bits: int
    row: int
    link: int


def is_classic_enough(layout: PageLayout, pages: int) -> bool:
    """Return whether a file of so many pages stays so small that ImageJ's own reader takes it."""
    return HEADER_BYTES + pages * layout.stride <= CLASSIC_LIMIT
