"""A frame that lies in the ring, with what is known of it then."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.clock_model import ClockModel
from stmtem_control.recording.facts import FrameFacts

from .frame_times import Acquisition
from .merlin_headers import FrameHeader

ALL_PIXELS = 256 * 256  # of a larger frame some rows stand for all


@dataclass(slots=True)
class ReceivedFrame:
    """A frame in the ring.

    Attributes
    ----------
    arrival : float
        Of its first byte, in station s; of a frame that others waited for, when it was read.
    monotonic : float
        The same, on ``time.monotonic()``.
    dropped_before : int
        Frames that were taken but did not come to the ring, between the one before and this.
    mean_counts : float
        In a pixel.
    number : int
        In the run, from 0, when it is known.
    facts : FrameFacts or None
        What was found of it, if that cannot change any more, but with `dated_by`.
    dated_by : (ClockModel, str) or None
        The model of the camera's clock that it was dated by.
    """

    acquisition: Acquisition
    header: FrameHeader
    slot: int
    arrival: float
    monotonic: float
    dropped_before: int
    mean_counts: float
    number: int = -1
    facts: FrameFacts | None = None
    dated_by: tuple[ClockModel, str] | None = None


def mean_counts(images: NDArray[Any]) -> list[float]:
    """Return the mean of all pixels of each image, or of evenly spaced rows of large ones.

    Parameters
    ----------
    images : array, shape (n, rows, columns)
        Unsigned.
    """
    step = -(-images[0].size // ALL_PIXELS)
    rows = images[:, ::step] if step > 1 else images
    count, columns = rows.shape[1:]
    if (
        images.dtype == np.uint16
        and columns % 4 == 0
        and images.strides[2] == 2
        and int(np.maximum.reduce(rows, None)) * count < 1 << 16
    ):
        # The sum of a column fits into 16 bits, so that four lie side by side in a number of 64
        # and none can carry into the next: exact, and four times as fast.
        sums = np.add.reduce(rows.view(np.uint64), 1).view(np.uint16)
        totals = np.add.reduce(sums, 1, np.uint64)
    elif images.dtype.itemsize < 4 and columns <= 1 << 16:
        # Sums of rows fit into 32 bits, which are three times as fast as 64.
        totals = np.add.reduce(np.add.reduce(rows, 2, np.uint32), 1, np.uint64)
    else:
        totals = rows.sum(axis=(1, 2), dtype=np.uint64)
    pixels = count * columns
    return [total / pixels for total in totals.tolist()]
