"""The documents of a run as they are on disk, which may be torn, or lack some."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAST_BYTES = 1 << 16  # a stop document is far shorter


@dataclass(frozen=True)
class FramesOnDisk:
    """What the documents have to say of the frames that are on disk.

    Attributes
    ----------
    rows : sequence of mapping
        One a frame, in order.
    stamps : sequence of float
        Start of each exposure, Unix time in s.
    declare : callable
        Returns what to declare if no document is left that did: the data keys, and the
        stream resource.
    """

    rows: Sequence[Mapping[str, Any]]
    stamps: Sequence[float]
    declare: Callable[[], tuple[dict[str, Any], dict[str, Any]]]


@dataclass
class Documents:
    """The documents of a run as they are on disk, as far as they can be read.

    Attributes
    ----------
    lines : list of (name, document)
    torn : bytes
        The last line, if it was cut off.
    broken : list of bytes
        Other lines that are no documents.
    changed : bool
        Whether what is here differs from what is on disk.
    lost : list
        Documents, or parts of them, that tell of frames which are not on disk.
    added : list of str
        What was added, in words.
    """

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    torn: bytes = b""
    broken: list[bytes] = field(default_factory=list)
    changed: bool = False
    lost: list[Any] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    def first(self, name: str) -> dict[str, Any] | None:
        """Return the first document of that name."""
        return next((doc for kind, doc in self.lines if kind == name), None)

    def note(self, what: str) -> None:
        """Note that something was added."""
        self.changed = True
        self.added.append(what)

    def encoded(self) -> bytes:
        """Return the lines of the file."""
        return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)


def read_documents(path: Path) -> Documents:
    """Read ``documents.jsonl``; a file that is not there has no documents.

    Raises
    ------
    OSError
        It cannot be read.
    """
    found = Documents()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        found.changed = True
        return found
    from event_model import DocumentNames

    *whole, found.torn = data.split(b"\n")
    for line in whole:
        document = parse_document(line)
        if document is None or document[0] not in DocumentNames.__members__:
            found.broken.append(line)
        else:
            found.lines.append(document)
    found.changed = bool(found.torn or found.broken)
    return found


def first_and_stop(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the start document, and the stop document if the run has ended.

    Reads the first line and the end of the file, however long it is.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file:
        line = file.readline()
        first = parse_document(line) if line.endswith(b"\n") else None
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - LAST_BYTES))
        *_, last, rest = (b"\n" + file.read()).split(b"\n")
    stop = None if rest else parse_document(last)
    return (
        first[1] if first is not None and first[0] == "start" else None,
        stop[1] if stop is not None and stop[0] == "stop" else None,
    )


def parse_document(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return name and document of a line of ``documents.jsonl``; None if it is none."""
    try:
        name, doc = json.loads(line)
    except (ValueError, TypeError):
        return None
    return (name, doc) if isinstance(name, str) and isinstance(doc, dict) else None
