"""Runs on disk as a session leaves them: real frame files, and the documents of the real camera."""

import json
import math
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_run
from numpy.typing import NDArray

from stmtem_control.devices.frame_documents import FrameDocuments, data_keys
from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.page_writer import PageWriter

T0 = 1_795_000_000.0
EMPTY: dict[type, Any] = {float: math.nan, int: 0, bool: False, str: ""}


def frame(number: int, shape: tuple[int, int] = (12, 16)) -> NDArray[Any]:
    """Return an image that tells its number, row and column."""
    rows, columns = np.indices(shape)
    return np.asarray(1000 * (number % 50) + 16 * rows + columns, np.uint16)


class RecordedRun:
    """A run of which more and more comes onto the disk."""

    def __init__(
        self,
        root: Path,
        *,
        shape: tuple[int, int] = (12, 16),
        frames_per_file: int = 8,
        compression: Any = None,
        plan: str = "deposit",
    ) -> None:
        self.bundle = compose_run(uid=str(uuid.uuid4()), time=T0, metadata={"plan_name": plan})
        self.uid = self.bundle.start_doc["uid"]
        self.folder = root / f"20261118T110640Z_{plan}_{self.uid[:8]}"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "documents.jsonl"
        self.shape = shape
        self.rows: list[dict[str, Any]] = []
        self.frames_per_file = frames_per_file
        self._writer = PageWriter(
            self.folder,
            shape=shape,
            dtype=np.uint16,
            pixel_size_nm=0.1,
            frame_interval_s=0.04,
            frames_per_file=frames_per_file,
            compression=compression,
        )
        self._documents = FrameDocuments("camera")
        self._descriptor: Any = None
        self._readings: Any = None
        self._closed = False
        self.write("start", self.bundle.start_doc)

    def write(self, name: str, doc: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps([name, doc]) + "\n")

    def record(self, count: int) -> None:
        """Put more frames and their rows on disk, and declare them in one batch."""
        if self._descriptor is None:
            self._descriptor = self.bundle.compose_descriptor(
                name="frames", data_keys=data_keys("camera", self.shape, np.dtype(np.uint16))
            )
            self.write("descriptor", self._descriptor.descriptor_doc)
        first = self._writer.count
        rows = [self._row(number) for number in range(first, first + count)]
        frames = [frame(row["frame"], self.shape) for row in rows]
        self._writer.write(
            [
                (image, json.dumps({"frame": row["frame"]}).encode())
                for image, row in zip(frames, rows, strict=True)
            ]
        )
        columns = {column.name: [row[column.name] for row in rows] for column in COLUMNS}
        descriptor = self._descriptor.descriptor_doc["uid"]
        for name, doc in self._documents.assets(
            self.folder, self.shape, self.frames_per_file, first, [columns]
        ):
            if name == "stream_resource":
                doc["run_start"] = self.uid
            else:
                doc["descriptor"] = descriptor
                doc["seq_nums"] = {"start": first + 1, "stop": first + count + 1}
            self.write(name, doc)
        for page in self._documents.pages(T0, 1.0):
            self.write(
                "event_page",
                self._descriptor.compose_event_page(
                    data=page["data"],
                    timestamps=page["timestamps"],
                    seq_num=list(range(first + 1, first + count + 1)),
                    time=page["time"],
                    validate=False,
                ),
            )
        self.rows += rows

    def read_source(self, current_A: float) -> None:
        """Declare one reading of the source, in a stream of its own."""
        if self._readings is None:
            key = {"source": "sim", "dtype": "number", "shape": [], "units": "A"}
            self._readings = self.bundle.compose_descriptor(
                name="readings", data_keys={"bias_current": key}
            )
            self.write("descriptor", self._readings.descriptor_doc)
        event = self._readings.compose_event(
            data={"bias_current": current_A}, timestamps={"bias_current": T0}, time=T0
        )
        self.write("event", event)

    def stop(self, status: str = "success", reason: str = "") -> None:
        """Close files and documents."""
        self.close()
        self.write("stop", self.bundle.compose_stop(exit_status=status, reason=reason))

    def close(self) -> None:
        """Close the files only; harmless when called again."""
        if not self._closed:
            self._closed = True
            self._writer.close()

    def _row(self, number: int) -> dict[str, Any]:
        row = {column.name: EMPTY[column.kind] for column in COLUMNS}
        row.update(
            frame=number,
            sequence=number + 1,
            run_time_s=0.04 * number,
            exposure_s=0.035,
            phase="deposit" if number else "",
            bias_set_V=-5.0 if number % 2 else 0,  # JSON makes an int of it
            current_A=-1e-9 * number,
        )
        return row
