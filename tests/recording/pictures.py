"""Small frames that tell which they are, and writers of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.recording.page_writer import open_writer

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


def make_writer(folder: Path, **changes: Any) -> Any:
    """Return a writer of small frames, three in a file."""
    options: dict[str, Any] = {
        "shape": SHAPE,
        "dtype": "u2",
        "pixel_size_nm": 2.5,
        "frame_interval_s": 0.04,
        "frames_per_file": 3,
    }
    return open_writer(folder, **{**options, **changes})
