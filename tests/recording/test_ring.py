"""The ring of frames: slots that go round, and a newest frame that is never half a frame."""

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from stmtem_control.errors import ConfigError
from stmtem_control.recording.ring import FrameRing, shared_memory

SHAPE = (8, 6)
SLOT = 4096


@pytest.fixture
def views() -> Iterator[tuple[FrameRing, FrameRing]]:
    """The owner's view of a ring of four slots, and that of somebody who only looks."""
    memory = shared_memory(FrameRing.size(4, SLOT))
    owner = FrameRing(SHAPE, "<u2", slots=4, slot_bytes=SLOT, descriptor=memory, owner=True)
    looker = FrameRing(SHAPE, "<u2", slots=4, slot_bytes=SLOT, descriptor=memory, owner=False)
    os.close(memory)
    yield owner, looker
    owner.close()
    looker.close()


def put(ring: FrameRing, number: int) -> int | None:
    """Fill a slot with a number; return the slot, or None if there was none."""
    slot = ring.take()
    if slot is not None:
        ring.image(slot)[:] = number
        ring.filled(slot, number)
    return slot


def test_slots_go_round_and_run_out(views: tuple[FrameRing, FrameRing]) -> None:
    ring, _ = views
    slots = [put(ring, i) for i in range(5)]
    assert slots == [0, 1, 2, 3, None]
    assert ring.free == 0
    ring.give_back([2, 0])
    assert [put(ring, i) for i in (5, 6, 7)] == [2, 0, None]  # the one freed first comes first


def test_slots_are_where_direct_writes_want_them(views: tuple[FrameRing, FrameRing]) -> None:
    ring, _ = views
    places = [ring.image(slot).ctypes.data for slot in range(4)]
    assert all(place % 4096 == 0 for place in places)
    assert set(np.diff(places)) == {SLOT}


def test_another_view_sees_the_newest_whole_frame(views: tuple[FrameRing, FrameRing]) -> None:
    ring, looker = views
    assert looker.newest() is None
    put(ring, 7)
    found = looker.newest()
    assert found is not None
    image, number = found
    assert (number, set(image.ravel().tolist())) == (7, {7})
    half = ring.take()
    assert half is not None
    ring.image(half)[:4] = 9
    found = looker.newest()
    assert found is not None
    assert found[1] == 7
    ring.refuse(half)
    image[:] = 0  # it was a copy
    found = looker.newest()
    assert found is not None
    assert found[0][0, 0] == 7


def test_who_looks_cannot_change_a_frame(views: tuple[FrameRing, FrameRing]) -> None:
    _, looker = views
    with pytest.raises(ValueError, match="read-only"):
        looker.image(0)[0, 0] = 1


def test_a_frame_that_is_overwritten_meanwhile_is_not_given_out(
    views: tuple[FrameRing, FrameRing],
) -> None:
    """Every copy is of one frame, however fast they come."""
    ring, looker = views
    over = threading.Event()

    def fill() -> None:
        for number in range(1, 3000):
            slot = put(ring, number)
            assert slot is not None
            ring.give_back([slot])
        over.set()

    filler = threading.Thread(target=fill)
    filler.start()
    seen: list[int] = []
    while not over.is_set() or not seen:
        found = looker.newest()
        if found is not None:
            image, _ = found
            # The number may be of a frame later than the pixels, which are of one frame.
            assert image.min() == image.max()
            seen.append(int(image[0, 0]))
    filler.join()
    assert seen == sorted(seen)


def test_a_ring_that_is_too_small_is_refused_with_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"ring of 1 MB has room for 0 frames of 1024 x 1024"):
        FrameRing.count((1024, 1024), "<u2", 1 << 21, 1_000_000)
    assert FrameRing.count((1024, 1024), "<u2", 1 << 21, 1 << 23) == 4


def test_a_ring_that_is_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"too large for a computer with \d+ MB of memory; set"):
        FrameRing.count((1 << 16, 1 << 16), "<u4", 1 << 34, 1 << 48)
