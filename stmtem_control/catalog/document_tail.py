"""Reads the documents of a run from disk while they are being written, without touching them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stmtem_control.errors import RecordingError
from stmtem_control.recording.run_documents import parse_document


class Look(NamedTuple):
    """What tells whether a file is still as it was."""

    file: int
    size: int
    changed_ns: int


def look_at(path: Path) -> Look:
    """Return what tells whether a file is as it was.

    Raises
    ------
    OSError
        It is not there.
    """
    found = path.stat()
    return Look(found.st_ino, found.st_size, found.st_mtime_ns)


class DocumentTail:
    """The documents in a file that grows by whole lines.

    Nothing is locked, written or waited for: whoever records the run never notices.

    Parameters
    ----------
    path : Path
        ``documents.jsonl`` of a run.

    Attributes
    ----------
    place : int
        Bytes that were read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = 0
        self._file = 0

    @property
    def replaced(self) -> bool:
        """Whether another file is in the place of the one that was read, as after a recovery."""
        found = look_at(self.path)
        return self.place > 0 and (found.file != self._file or found.size < self.place)

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents that are there and were not yielded before.

        A line that is not whole yet is left for the next time.

        Raises
        ------
        RecordingError
            A line is no document.
        OSError
            The file cannot be read.
        """
        with open(self.path, "rb") as file:
            self._file = os.fstat(file.fileno()).st_ino
            file.seek(self.place)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                document = parse_document(line)
                if document is None:
                    raise RecordingError(
                        f"{self.path}: byte {self.place}: not a document; "
                        f"'stmtem recover {self.path.parent}' mends it"
                    )
                self.place += len(line)
                yield document
