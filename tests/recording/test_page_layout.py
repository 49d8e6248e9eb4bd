"""The bytes of a frame file, held against the specifications with a decoder of the test's own."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.recording.page_layout import (
    ALIGNMENT,
    CLASSIC_LIMIT,
    HEADER_BYTES,
    ROW_BYTES,
    PageLayout,
    is_classic_enough,
    padded_bytes,
)
from stmtem_control.recording.page_writer import PageWriter

# TIFF 6.0, page 15: number of a type -> bytes and code of struct; 16 to 18 are BigTIFF's.
TYPES = {
    1: (1, "B"),
    2: (1, "s"),
    3: (2, "H"),
    4: (4, "I"),
    5: (8, "II"),
    12: (8, "d"),
    16: (8, "Q"),
}


def directories(data: bytes) -> list[dict[int, Any]]:
    """Return the tags of every directory of a file; key 0 is where the directory begins."""
    assert data[:2] == b"II"
    (magic,) = struct.unpack_from("<H", data, 2)
    if magic == 43:
        assert struct.unpack_from("<HH", data, 4) == (8, 0)
        (place,) = struct.unpack_from("<Q", data, 8)
    else:
        assert magic == 42
        (place,) = struct.unpack_from("<I", data, 4)
    number, word, entry = ("<Q", "<Q", 20) if magic == 43 else ("<H", "<I", 12)
    found = []
    while place:
        assert place % 2 == 0  # on a word boundary
        tags: dict[int, Any] = {0: place}
        (count,) = struct.unpack_from(number, data, place)
        where = place + struct.calcsize(number)
        seen = []
        for _ in range(count):
            tag, kind = struct.unpack_from("<HH", data, where)
            (n,) = struct.unpack_from(word, data, where + 4)
            size, code = TYPES[kind]
            at = where + 4 + struct.calcsize(word)
            if n * size > struct.calcsize(word):
                (at,) = struct.unpack_from(word, data, at)
                assert at + n * size <= len(data)
            tags[tag] = struct.unpack_from(f"<{n}s" if kind == 2 else f"<{code * n}", data, at)
            if kind == 2:
                assert tags[tag][0].endswith(b"\0")
            seen.append(tag)
            where += entry
        assert seen == sorted(set(seen))  # ascending, none twice
        found.append(tags)
        (place,) = struct.unpack_from(word, data, where)
    return found


def pixels(data: bytes, tags: dict[int, Any]) -> NDArray[Any]:
    (place,), (size,) = tags[273], tags[279]
    kind = {1: "u", 2: "i", 3: "f"}[tags[339][0]]
    image = np.frombuffer(data[place : place + size], f"<{kind}{tags[258][0] // 8}")
    return image.reshape(tags[257][0], tags[256][0])


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4"])
@pytest.mark.parametrize("method", ["direct", "buffered"])
def test_a_file_is_tiff(tmp_path: Path, bigtiff: bool, dtype: str, method: Any) -> None:
    writer = PageWriter(
        tmp_path,
        shape=(37, 53),
        dtype=dtype,
        pixel_size_nm=0.35,
        frame_interval_s=0.04,
        method=method,
        bigtiff=bigtiff,
    )
    images = [(np.arange(37 * 53) % 251 + i).reshape(37, 53).astype(dtype) for i in range(5)]
    rows = [json.dumps({"frame": i}).encode() for i in range(5)]
    writer.write([(images[0], rows[0])])
    writer.write(list(zip(images[1:], rows[1:], strict=True)))
    writer.close()
    data = (tmp_path / "frames_0000.tif").read_bytes()
    found = directories(data)
    assert len(found) == 5
    for i, (tags, image) in enumerate(zip(found, images, strict=True)):
        np.testing.assert_array_equal(pixels(data, tags), image)
        assert (tags[256], tags[257], tags[258]) == ((53,), (37,), (8 * image.itemsize,))
        assert (tags[259], tags[262], tags[277], tags[278]) == ((1,), (1,), (1,), (37,))
        assert tags[282] == tags[283]
        assert tags[282][1] / tags[282][0] == pytest.approx(0.35)
        assert tags[296] == (1,)  # no unit of TIFF's own
        assert len(tags[65000][0]) == ROW_BYTES + 1
        assert json.loads(tags[65000][0].rstrip(b"\0")) == {"frame": i}
    first = found[0]
    assert [first[t][0] for t in (65003, 65004, 65005)] == [b"nm\0", b"nm\0", b"s\0"]
    assert [first[t][0] for t in (65006, 65007, 65008)] == [0.0] * 3
    assert [first[t][0] for t in (65009, 65010, 65011)] == [0.35, 0.35, 0.04]
    assert b"frames=5\n" in first[270][0]
    assert 270 not in found[1]


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (64, 64), (64, 65)])
def test_places_are_known_beforehand(tmp_path: Path, shape: tuple[int, int]) -> None:
    writer = PageWriter(tmp_path, shape=shape, dtype="u2", pixel_size_nm=1.0, frame_interval_s=1.0)
    writer.write([(np.full(shape, i, "u2"), b"{}") for i in range(4)])
    writer.close()
    path = tmp_path / "frames_0000.tif"
    layout, found = writer.layout, directories(path.read_bytes())
    assert layout.stride == padded_bytes(shape, "u2") + ALIGNMENT
    for i, tags in enumerate(found):
        page = layout.page(i)
        assert (tags[0], tags[273][0], tags[279][0]) == (page.directory, page.data, page.data_bytes)
        assert page.data == HEADER_BYTES + i * layout.stride
        assert page.data % ALIGNMENT == page.directory % ALIGNMENT == 0
    assert path.stat().st_size == HEADER_BYTES + 4 * layout.stride


def test_a_row_has_its_room() -> None:
    layout = PageLayout((8, 8), np.dtype("u2"), 1.0, 1.0)
    page = layout.page(3)
    longest = b"x" * ROW_BYTES
    block = layout.directory_page(page, longest, first=False)
    assert len(block) == ALIGNMENT
    assert block.endswith(longest + b"\0")
    with pytest.raises(ValueError, match=f"{ROW_BYTES + 1} bytes"):
        layout.directory_page(page, longest + b"x", first=False)


@pytest.mark.parametrize("pixel_size_nm", [1e-4, 0.35, 1.0, 1.0 / 3.0, 7.77, 123456.7])
def test_every_pixel_size_is_told(pixel_size_nm: float) -> None:
    layout = PageLayout((8, 8), np.dtype("u2"), pixel_size_nm, 1.0, bigtiff=True)
    header = layout.header_page(layout.page(0), 1)
    block = bytes(layout.directory_page(layout.page(0), b"{}", first=True))
    data = (header + bytes(ALIGNMENT) + bytes(ALIGNMENT) + block).ljust(65536, b"\0")
    numerator, denominator = directories(data)[0][282]
    assert denominator / numerator == pytest.approx(pixel_size_nm, rel=1e-9)


def test_viewers_are_told_a_number_only_when_it_will_not_change() -> None:
    layout = PageLayout((8, 8), np.dtype("u2"), 0.5, 0.04)
    growing = layout.description(None)
    # "ImageJ=" and a newline: ImageJ then follows the pages, which do not lie side by side.
    assert growing.startswith(b"ImageJ=\nunit=nm\nfinterval=0.04\n")
    assert b"images=" not in growing
    assert layout.description(7).startswith(b"ImageJ=\nimages=7\nframes=7\nhyperstack=true\n")
    assert b"ImageJ" not in layout.description(7, mixed=True)


def test_small_files_are_classic_and_large_ones_big(tmp_path: Path) -> None:
    large = PageLayout((4096, 4096), np.dtype("u2"), 1.0, 1.0)
    assert is_classic_enough(large, 104)
    assert not is_classic_enough(large, 105)
    assert HEADER_BYTES + 104 * large.stride < CLASSIC_LIMIT
    options: dict[str, Any] = {
        "shape": (4096, 4096),
        "dtype": "u2",
        "pixel_size_nm": 1.0,
        "frame_interval_s": 1.0,
    }
    assert PageWriter(tmp_path, **options).layout.bigtiff
    assert not PageWriter(tmp_path, frames_per_file=100, **options).layout.bigtiff
    assert PageWriter(tmp_path, frames_per_file=100, bigtiff=True, **options).layout.bigtiff
    with pytest.raises(ValueError, match="must be BigTIFF"):
        PageWriter(tmp_path, bigtiff=False, **options)
