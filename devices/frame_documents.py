"""The documents of the stream "frames": images on disk, and a table with a row for each.

The shapes are those that Bluesky's RunEngine takes from a flyer that gives both.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from event_model import compose_stream_resource

from stmtem_control.frames import TEMPLATE, FrameWriter

from .frame_rows import COLUMNS
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


class FrameDocuments:
    """The documents of one run, in the order in which the RunEngine asks for them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._resource: Any = None
        self._batch: list[dict[str, Any]] = []

    def assets(
        self, writer: FrameWriter, first: int, rows: list[dict[str, Any]]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the asset documents for frames that are on disk, from number `first` on."""
        self._batch += rows
        documents: list[tuple[str, dict[str, Any]]] = []
        if not rows:
            return documents
        if self._resource is None:
            self._resource = stream_resource(self._name, writer)
            documents.append(("stream_resource", dict(self._resource.stream_resource_doc)))
        indices = {"start": first, "stop": first + len(rows)}
        documents.append(("stream_datum", dict(self._resource.compose_stream_datum(indices))))
        return documents

    def pages(self, unix_time: Callable[[float], float]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the assets told last; `unix_time` is that of a run time."""
        rows, self._batch = self._batch, []
        if rows:
            yield event_page(self._name, rows, [unix_time(row["run_time_s"]) for row in rows])
