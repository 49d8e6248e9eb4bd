"""A ring of frames in memory that two processes share: where frames land, and wait for the disk.

All memory is there, and touched, before the first frame: fresh memory is slower than a disk.  The
process that makes frames owns the slots; another may look at the newest frame while they come.
"""

import contextlib
import math
import mmap
import os
import struct
import tempfile
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stmtem_control.errors import ConfigError

PAGE = 4096  # bytes; slots begin at multiples of it, as direct I/O wants them
SMALLEST = 4  # slots: one being filled, one being written, one being looked at, one to spare
LARGEST = 1 << 14  # slots
MOST_MEMORY = 0.8  # share of the computer's memory
LOOKS = 8  # tries to copy the newest frame before it is overwritten
_NEWEST = struct.Struct("<qq")  # slot and number of the newest frame; slot is -1 before the first


def shared_memory(size: int) -> int:
    """Return a file descriptor of `size` bytes of memory that vanish with their last user.

    On Linux it is memory without a name; elsewhere a temporary file whose name is gone already.
    Killing who uses it leaves nothing behind.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stmtem-frames", os.MFD_CLOEXEC)
    else:
        descriptor, name = tempfile.mkstemp(prefix="stmtem-frames-")
        Path(name).unlink()
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _memory_bytes() -> float:
    """Return how much memory the computer has; more than any where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


class FrameRing:
    """Slots for frames, in shared memory.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of every frame.
    dtype : dtype
        Of a pixel.
    slots : int
        How many frames there is room for.
    slot_bytes : int
        Room of one frame, with what a writer puts behind its pixels.
    descriptor : int
        Of the shared memory, see :func:`shared_memory`; it is duplicated.
    owner : bool
        Whether frames are put in here; others only look.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: DTypeLike,
        *,
        slots: int,
        slot_bytes: int,
        descriptor: int,
        owner: bool,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype = np.dtype(dtype)
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._head_bytes = _head_bytes(slots)
        size = self._head_bytes + slots * slot_bytes
        if owner:
            # Touched at once, by the kernel where it can.
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(descriptor, size, flags=flags)
        else:
            self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        # A slot's count is odd while the slot is being filled.
        self._counts: NDArray[np.int64] = np.frombuffer(
            self._map, np.int64, slots, offset=_NEWEST.size
        )
        self._images: dict[int, NDArray[Any]] = {}
        self._lock = threading.Lock()
        self._free: deque[int] = deque(range(slots if owner else 0))
        if owner:
            if not hasattr(mmap, "MAP_POPULATE"):
                np.frombuffer(self._map, np.uint8)[::PAGE] = 0
            _NEWEST.pack_into(self._map, 0, -1, -1)

    @staticmethod
    def count(shape: tuple[int, int], dtype: DTypeLike, slot_bytes: int, size: int) -> int:
        """Return how many slots fit into `size` bytes.

        Raises
        ------
        ConfigError
            Too few to work with, or more than the computer's memory.
        """
        slots = min(LARGEST, size // slot_bytes)
        if slots < SMALLEST:
            need = -(-SMALLEST * slot_bytes // 1_000_000)
            raise ConfigError(
                f"a ring of {size / 1e6:.3g} MB has room for {slots} frames of "
                f"{shape[1]} x {shape[0]} {np.dtype(dtype).name}; set [camera] ring_MB to "
                f"{need} at least, better ten times that"
            )
        memory = _memory_bytes()
        if slots * slot_bytes > MOST_MEMORY * memory:
            raise ConfigError(
                f"a ring of {slots * slot_bytes / 1e6:.0f} MB is too large for a computer with "
                f"{memory / 1e6:.0f} MB of memory; set [camera] ring_MB to "
                f"{MOST_MEMORY * memory / 1e6:.0f} at most"
            )
        return slots

    @staticmethod
    def size(slots: int, slot_bytes: int) -> int:
        """Return how many bytes of shared memory so many slots need."""
        return _head_bytes(slots) + slots * slot_bytes

    # The owner's side

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    def take(self) -> int | None:
        """Return a free slot to fill, the one that was freed first; None if the ring is full."""
        with self._lock:
            if not self._free:
                return None
            slot = self._free.popleft()
        self._counts[slot] += 1
        return slot

    def image(self, slot: int) -> NDArray[Any]:
        """Return a slot's pixels, top row first; page-aligned, with the slot's room behind them."""
        image = self._images.get(slot)
        if image is None:
            place = self._head_bytes + slot * self.slot_bytes
            n = self.shape[0] * self.shape[1]
            flat: NDArray[Any] = np.frombuffer(self._map, self.dtype, n, offset=place)
            image = self._images[slot] = flat.reshape(self.shape)
        return image

    def filled(self, slot: int, number: int) -> None:
        """Say that a slot holds a whole frame, the newest, which others may look at."""
        self._counts[slot] += 1
        _NEWEST.pack_into(self._map, 0, slot, number)

    def refuse(self, slot: int) -> None:
        """Free a slot that was taken and did not come to hold a whole frame."""
        self._counts[slot] += 1
        self.give_back([slot])

    def give_back(self, slots: Iterable[int]) -> None:
        """Free slots; their frames stay to be looked at until they are filled again."""
        with self._lock:
            self._free.extend(slots)

    # Anybody's side

    def newest(self) -> tuple[NDArray[Any], int] | None:
        """Return a copy of the newest whole frame, and its number; None when there is none.

        It never waits for who fills the ring: a frame that is overwritten under the copy is
        copied again.
        """
        for _ in range(LOOKS):
            slot, number = _NEWEST.unpack_from(self._map, 0)
            if slot < 0:
                return None
            before = int(self._counts[slot])
            image = self.image(slot).copy()
            if before % 2 == 0 and int(self._counts[slot]) == before:
                return image, number
        return None

    def close(self) -> None:
        """Give up this view of the memory; harmless when called again."""
        self._counts = np.zeros(0, np.int64)
        self._images.clear()
        # Who still holds an image keeps the memory; it goes with the last of them.
        with contextlib.suppress(BufferError):
            self._map.close()


def _head_bytes(slots: int) -> int:
    need = _NEWEST.size + 8 * slots
    return -(-need // PAGE) * PAGE
