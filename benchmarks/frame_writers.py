"""Ways of writing a stream of frames to disk, to be timed against each other.

Each takes frames one after another from memory that lies ready, and has the data on the disk when
it is done: the time of ``fdatasync`` is part of it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stmtem_control.recording.direct_io import aligned_memory
from stmtem_control.recording.page_writer import PageWriter

__all__ = ["WRITERS", "Frames", "Push", "frame_ring", "writer"]

Frames = Sequence[NDArray[np.uint16]]
#: Takes some frames; when it returns they are in files.
Push = Callable[[Frames], None]
#: As a settled row of the frame table: about a kilobyte.
ROW: Final = (
    '{"frame": 123456, "settled": true' + ', "some_column_V": 1.2345678' * 34 + "}"
).encode()


def frame_ring(side: int, slots: int) -> list[NDArray[np.uint16]]:
    """Return frames in aligned memory, of Poisson counts that differ from frame to frame."""
    memory = np.frombuffer(aligned_memory(slots * side * side * 2), np.uint16)
    ring = memory[: slots * side * side].reshape(slots, side, side)
    rng = np.random.default_rng(1)
    base = rng.poisson(10.0, (side + slots, side)).astype(np.uint16)
    for i in range(slots):
        ring[i] = base[i : i + side]
    return list(ring)


@contextlib.contextmanager
def _raw(folder: Path, side: int, flags: int) -> Iterator[Push]:
    descriptor = os.open(folder / "raw", os.O_RDWR | os.O_CREAT | flags, 0o600)
    place = 0

    def push(frames: Frames) -> None:
        nonlocal place
        for frame in frames:
            place += os.pwrite(descriptor, memoryview(frame).cast("B"), place)  # type: ignore[arg-type]

    try:
        yield push
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _pages(folder: Path, side: int, **options: Any) -> Iterator[Push]:
    made = PageWriter(
        folder,
        shape=(side, side),
        dtype="u2",
        pixel_size_nm=1.0,
        frame_interval_s=0.01,
        **options,
    )
    yield lambda frames: made.write([(frame, ROW) for frame in frames])
    made.close()


@contextlib.contextmanager
def _tifffile(folder: Path, side: int, *, contiguous: bool) -> Iterator[Push]:
    """Write a page a frame with its JSON, or one series with no word about frames."""
    import tifffile

    with open(folder / "stack.tif", "wb") as file:
        with tifffile.TiffWriter(file, bigtiff=True) as tiff:
            text = None if contiguous else ROW.decode()

            def push(frames: Frames) -> None:
                for frame in frames:
                    tiff.write(frame, contiguous=contiguous, description=text, metadata=None)

            yield push
        file.flush()
        os.fdatasync(file.fileno())


@contextlib.contextmanager
def _suitcase(folder: Path, side: int) -> Iterator[Push]:
    """suitcase-tiff's stack, fed with the documents of one event a frame."""
    from event_model import compose_run
    from suitcase.tiff_stack import Serializer

    run = compose_run()
    key = {"source": "x", "dtype": "array", "shape": [side, side]}
    stream = run.compose_descriptor(name="frames", data_keys={"image": key}, validate=False)
    suitcase: Any = Serializer(folder, bigtiff=True)
    suitcase("start", run.start_doc)
    suitcase("descriptor", stream.descriptor_doc)

    def push(frames: Frames) -> None:
        for frame in frames:
            data, stamps = {"image": frame}, {"image": 0.0}
            event = stream.compose_event(data=data, timestamps=stamps, validate=False)
            suitcase("event", event)

    yield push
    suitcase("stop", run.compose_stop())
    suitcase.close()
    for path in folder.glob("*.tif*"):
        descriptor = os.open(path, os.O_RDWR)
        os.fdatasync(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def _h5py(folder: Path, side: int) -> Iterator[Push]:
    import h5py

    with open(folder / "frames.h5", "w+b") as file:
        with h5py.File(file, "w", libver="latest") as h5:
            data = h5.create_dataset(
                "frames", (0, side, side), "u2", maxshape=(None, side, side), chunks=(1, side, side)
            )
            count = 0

            def push(frames: Frames) -> None:
                nonlocal count
                for frame in frames:
                    data.resize(count + 1, axis=0)
                    data.id.write_direct_chunk((count, 0, 0), frame)
                    count += 1

            yield push
        file.flush()
        os.fdatasync(file.fileno())


#: Name, and what opens the writer in a folder for frames of a side.
WRITERS: Final[dict[str, Callable[[Path, int], contextlib.AbstractContextManager[Push]]]] = {
    "raw O_DIRECT": lambda folder, side: _raw(folder, side, getattr(os, "O_DIRECT", 0)),
    "raw buffered": lambda folder, side: _raw(folder, side, 0),
    "PageWriter": lambda folder, side: _pages(folder, side),
    "PageWriter buffered": lambda folder, side: _pages(folder, side, method="buffered"),
    "PageWriter zstd": lambda folder, side: _pages(folder, side, compression="zstd", threads=1),
    "PageWriter deflate": lambda f, side: _pages(f, side, compression="deflate", threads=1),
    "tifffile page + JSON": lambda folder, side: _tifffile(folder, side, contiguous=False),
    "tifffile contiguous": lambda folder, side: _tifffile(folder, side, contiguous=True),
    "suitcase-tiff stack": _suitcase,
    "h5py direct chunk": _h5py,
}


def writer(name: str, folder: Path, side: int) -> contextlib.AbstractContextManager[Push]:
    """Open a writer in an empty folder; leaving it has all on the disk.

    Raises
    ------
    KeyError
        There is no writer of that name.
    """
    return WRITERS[name](folder, side)
