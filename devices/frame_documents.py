"""The documents of the stream "frames": images on disk, and a table with a row for each.

The shapes are those that Bluesky's RunEngine takes from a flyer that gives both.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from event_model import compose_stream_resource

from stmtem_control.frames import TEMPLATE, FrameWriter

from .frame_reader import COLUMNS
from .signals import DTYPES, NUMPY

MIMETYPE = "multipart/related;type=image/tiff;pages=multi"


def data_keys(name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> dict[str, dict[str, Any]]:
    """Return the data keys: ``<name>_image``, external, and ``<name>_<column>``."""
    keys: dict[str, dict[str, Any]] = {
        f"{name}_image": {
            "source": f"merlin:{name}",
            "dtype": "array",
            "dtype_numpy": dtype.newbyteorder("<").str,
            "shape": list(shape),
            "dims": ["y", "x"],
            "units": "counts",
            "external": "STREAM:",
        }
    }
    for column in COLUMNS:
        key: dict[str, Any] = {
            "source": f"stmtem:{name}.{column.name}",
            "dtype": DTYPES[column.kind],
            "dtype_numpy": NUMPY.get(column.kind, "<U32"),
            "shape": [],
        }
        if column.unit:
            key["units"] = column.unit
        keys[f"{name}_{column.name}"] = key
    return keys


def stream_resource(name: str, writer: FrameWriter) -> Any:
    """Return event-model's bundle for the files of a run; one for each run."""
    height, width = writer.shape
    folder = writer.directory.resolve().as_uri().replace("file:///", "file://localhost/", 1)
    return compose_stream_resource(
        mimetype=MIMETYPE,
        uri=folder + "/",  # the template is put right behind it
        data_key=f"{name}_image",
        parameters={
            "template": TEMPLATE,
            "frames_per_file": writer.frames_per_file,
            "chunk_shape": [1, height, width],
        },
    )


def event_page(name: str, rows: Sequence[dict[str, Any]], stamps: list[float]) -> dict[str, Any]:
    """Return the page of some rows of the table; `stamps` are their Unix times in s."""
    columns = [column.name for column in COLUMNS]
    return {
        "time": stamps,
        "data": {f"{name}_{column}": [row[column] for row in rows] for column in columns},
        "timestamps": {f"{name}_{column}": list(stamps) for column in columns},
    }
