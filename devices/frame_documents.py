"""The documents of the stream "frames": images on disk, and a table with a row for each.

The shapes are those that Bluesky's RunEngine takes from a flyer that gives both.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_stream_resource

from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.frame_files import TEMPLATE

from .signals import DTYPES, NUMPY

Columns = dict[str, list[Any]]  # rows of the table, as a list for each column

NUMBERS = [column.name for column in COLUMNS if column.kind is float]

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


def stream_resource(name: str, folder: Path, shape: tuple[int, int], frames_per_file: int) -> Any:
    """Return event-model's bundle for the files of a run; one for each run."""
    height, width = shape
    uri = folder.resolve().as_uri().replace("file:///", "file://localhost/", 1)
    return compose_stream_resource(
        mimetype=MIMETYPE,
        uri=uri + "/",  # the template is put right behind it
        data_key=f"{name}_image",
        parameters={
            "template": TEMPLATE,
            "frames_per_file": frames_per_file,
            "chunk_shape": [1, height, width],
        },
    )


class FrameDocuments:
    """The documents of one run, in the order in which the RunEngine asks for them.

    Rows come and go as lists of columns: what a frame costs here is some list items.

    Parameters
    ----------
    name : str
        Of the camera; the documents' keys begin with it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys = [(f"{name}_{column.name}", column.name) for column in COLUMNS]
        self._resource: Any = None
        self._batch: list[Columns] = []

    def assets(
        self,
        folder: Path,
        shape: tuple[int, int],
        frames_per_file: int,
        first: int,
        rows: list[Columns],
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the asset documents for frames that are on disk, from number `first` on."""
        self._batch += rows
        documents: list[tuple[str, dict[str, Any]]] = []
        if not rows:
            return documents
        if self._resource is None:
            self._resource = stream_resource(self._name, folder, shape, frames_per_file)
            documents.append(("stream_resource", dict(self._resource.stream_resource_doc)))
        count = sum(len(columns["frame"]) for columns in rows)
        indices = {"start": first, "stop": first + count}
        documents.append(("stream_datum", dict(self._resource.compose_stream_datum(indices))))
        return documents

    def pages(self, wall0: float, per_second: float) -> Iterator[dict[str, Any]]:
        """Yield the rows of the assets told last.

        Their Unix time is ``wall0 + run_time_s * per_second``.
        """
        batch, self._batch = self._batch, []
        if not batch:
            return
        stamps = [wall0 + t * per_second for columns in batch for t in columns["run_time_s"]]
        yield {
            "time": stamps,
            "data": {key: joined(batch, column) for key, column in self._keys},
            "timestamps": {key: stamps for key, _ in self._keys},
        }


def joined(batch: Sequence[Columns], column: str) -> list[Any]:
    """Return one column of all batches."""
    if len(batch) == 1:
        return batch[0][column]
    return [value for columns in batch for value in columns[column]]


def with_nan(columns: Columns) -> Columns:
    """Return columns as the recorder tells them, with NaN for each number that is not known."""
    for name in NUMBERS:
        column = columns[name]
        if None in column:
            columns[name] = [math.nan if value is None else value for value in column]
    return columns
