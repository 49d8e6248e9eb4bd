"""Small frames that tell which they are."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = (20, 30)


def picture(i: int, shape: tuple[int, int] = SHAPE, dtype: str = "u2") -> NDArray[Any]:
    """Return a picture that tells which it is, and which way up."""
    image = (np.arange(shape[0] * shape[1]) % 200).astype(dtype).reshape(shape)
    image[0, 0] = i
    return image


def row(i: int, **more: Any) -> bytes:
    """Return the row of a frame."""
    return json.dumps({"frame": i, "run_time_s": 0.04 * i, **more}).encode()


def frames(first: int, stop: int) -> list[tuple[NDArray[Any], bytes]]:
    """Return a batch of frames."""
    return [(picture(i), row(i)) for i in range(first, stop)]
