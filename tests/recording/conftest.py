"""Writers of small frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.recording.page_writer import open_writer

from .pictures import SHAPE


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """Return what makes a writer of small frames, three in a file."""

    def made(folder: Path = tmp_path, **changes: Any) -> Any:
        options: dict[str, Any] = {
            "shape": SHAPE,
            "dtype": "u2",
            "pixel_size_nm": 2.5,
            "frame_interval_s": 0.04,
            "frames_per_file": 3,
        }
        return open_writer(folder, **{**options, **changes})

    return made
