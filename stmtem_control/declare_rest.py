"""Declare frames that a run ended too abruptly to declare: they are on disk, and in the table.

A halt, or a subscriber that fails, leaves a plan no time to collect its last frames; or they were
collected, and their documents never came, while those of later frames did.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import RecordingError
from .recording.frame_files import FrameFiles
from .recording.frame_table import read_table
from .recording.line_file import replace_file
from .recording.mend_documents import mend_documents
from .recording.page_chain import complete_pages
from .recording.run_documents import FramesOnDisk, read_documents
from .run_folder import DOCUMENTS

log = logging.getLogger(__name__)

CAMERA = "camera"  # its name, where no document is left to tell
FRAMES_PER_FILE = 256  # unless the files tell


class FramesTold:
    """A subscriber that counts what the present run's documents tell of a camera's frames.

    Parameters
    ----------
    camera : str
        Its name, with which its data keys begin.
    """

    def __init__(self, camera: str = CAMERA) -> None:
        self._image = f"{camera}_image"
        self._stream = ""
        self._declared = self._rows = 0

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        if name == "start":
            self._stream, self._declared, self._rows = "", 0, 0
        elif name == "descriptor" and self._image in doc["data_keys"]:
            self._stream = doc["uid"]
        elif doc.get("descriptor") != self._stream:
            return
        elif name == "stream_datum":
            start, stop = doc["indices"]["start"], doc["indices"]["stop"]
            if start == self._declared == doc["seq_nums"]["start"] - 1:
                self._declared = stop
        elif name == "event_page" and doc["seq_num"][:1] == [self._rows + 1]:
            self._rows += len(doc["seq_num"])

    @property
    def count(self) -> int:
        """How many frames were declared, with their rows, one after the other."""
        return min(self._declared, self._rows)


def declare_rest(folder: Path, unix_time: Callable[[float], float]) -> list[str]:
    """Add to a closed run's documents the frames that none of them declares.

    Parameters
    ----------
    folder : Path
        Of the run; nobody writes into it any more.
    unix_time : callable
        Turns a run time (s) into a Unix time (s).

    Returns
    -------
    list of str
        What was added, in words; empty if nothing was missing.

    Raises
    ------
    RecordingError
        The folder cannot be read or written; it is as it was.
    """
    rows = read_table(folder)
    stamps = [unix_time(row["run_time_s"]) for row in rows]
    frames = FramesOnDisk(rows, stamps, lambda: declaration(folder, len(rows)))
    try:
        found = read_documents(folder / DOCUMENTS)
        if found.first("stop") is None:
            raise RecordingError(f"{folder}: the run is not closed; 'stmtem recover {folder}' does")
        mend_documents(found, folder, frames, reason=_reason, ended=0.0)
        if found.changed:
            replace_file(folder / DOCUMENTS, found.encoded())
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(
            f"{folder}: {error.strerror or error}; 'stmtem recover {folder}' declares the frames "
            "that its documents lack"
        ) from error
    for what in found.added:
        log.info("%s: %s added after the end", folder, what)
    return found.added


def declaration(folder: Path, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the data keys of `count` frames, and their stream resource, from the files alone.

    Raises
    ------
    RecordingError
        The files cannot be read.
    """
    from stmtem_control.devices import data_keys, stream_resource

    with FrameFiles(folder) as files:
        _, height, width = files.shape
        dtype = files.dtype
        pages = complete_pages(files.place(0)[0])
    # Of one file nothing tells how many frames it could hold, and nobody needs it.
    per_file = pages if pages < count else max(pages, FRAMES_PER_FILE)
    bundle = stream_resource(CAMERA, folder, (height, width), per_file)
    return data_keys(CAMERA, (height, width), dtype), dict(bundle.stream_resource_doc)


def _reason() -> str:
    return "the last frames were declared after the end"
