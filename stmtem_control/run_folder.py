"""A run on disk: one folder with the documents, the readings and the station that made them.

The frames and their table are written by the camera, into the same folder.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .errors import RecordingError
from .recording.bias_rows import BiasRows
from .recording.columns import BIAS_COLUMNS, BIAS_SCHEMA_VERSION
from .recording.csv_table import CsvTable
from .recording.line_file import LineFile, is_held, replace_file
from .recording.run_documents import first_and_stop

FREE_BYTES = 200_000_000  # a run of some seconds at 512 x 512 and 25 frames a second

DOCUMENTS = "documents.jsonl"
BIAS = "bias.csv"
OUTCOME = "outcome.json"
PROTOCOL = "protocol.yaml"


def _plain(value: object) -> object:
    """Turn NumPy values into what JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written to documents.jsonl")


def check_writable(folder: Path) -> None:
    """Make sure that runs can be written under `folder`; make it if it is not there.

    Raises
    ------
    RecordingError
        The folder cannot be made or written, or its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".writable-{os.getpid()}"
        try:
            trial.write_bytes(b"\0" * 65536)
        finally:
            trial.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RecordingError(
            f"data folder {folder}: {error.strerror}; choose another with --out or [station] data"
        ) from None
    if free < FREE_BYTES:
        raise RecordingError(
            f"data folder {folder}: {free / 1e6:.0f} MB free, {FREE_BYTES / 1e6:.0f} MB are needed "
            "to start; make room, or choose another with --out or [station] data"
        )


class RunFolder:
    """A subscriber of the RunEngine that keeps each run in a folder of its own.

    Parameters
    ----------
    root : Path
        Where the folders of the runs go.
    station_toml : str
        Text of the station file, kept with every run.
    run_time : callable
        Turns a Unix time (s) into run time (s).
    marks : callable, optional
        Returns phase and cycle at a Unix time (s), for readings that do not carry them.
    on_open : callable, optional
        Called with the new folder and the start document before the run goes on.
    """

    def __init__(
        self,
        root: Path,
        *,
        station_toml: str,
        run_time: Callable[[float], float],
        marks: Callable[[float], tuple[str, int]] | None = None,
        on_open: Callable[[Path, dict[str, Any]], None] | None = None,
    ) -> None:
        self.root = root
        self.folder: Path | None = None
        self._station_toml = station_toml
        self._run_time = run_time
        self._marks = marks
        self._on_open = on_open
        self._documents: LineFile | None = None
        self._bias: CsvTable | None = None
        self._rows = BiasRows(run_time, marks)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document.

        Raises
        ------
        RecordingError
            It cannot be written; the RunEngine then ends the plan, and the sample is made safe.
        """
        try:
            if name == "start":
                self._open(doc)
            if self._documents is None:
                return
            # One write a document: a kill tears the last line at most, a full disk none.
            self._documents.append(json.dumps([name, doc], default=_plain).encode() + b"\n")
            if (rows := self._rows.rows(name, doc)) and self._bias is not None:
                self._bias.append(rows)
            if name == "stop":
                self._documents.sync()
                self.close()
        except OSError as error:
            self.close()
            where = self.folder or self.root
            if error.errno == errno.ENOENT:
                raise RecordingError(
                    f"run folder {where}: {error.strerror}; nothing more of this run can be kept"
                ) from error
            raise RecordingError(
                f"run folder {where}: {error.strerror or error}; what is in it is whole, "
                f"'stmtem recover {where}' closes it"
            ) from error

    def _open(self, doc: dict[str, Any]) -> None:
        self.close()
        moment = datetime.fromtimestamp(doc["time"], UTC)
        # The name comes from metadata, which anybody may write; it must stay one part of a path.
        called = doc.get("protocol") or doc.get("plan_name", "run")
        plan = re.sub(r"[^A-Za-z0-9_-]+", "-", str(called))[:60]
        folder = self.root / f"{moment:%Y%m%dT%H%M%SZ}_{plan}_{doc['uid'][:8]}"
        folder.mkdir(parents=True)
        self.folder = folder
        self._rows = BiasRows(self._run_time, self._marks)
        (folder / "station.toml").write_text(self._station_toml, "utf-8")
        if isinstance(text := doc.get("protocol_text"), str):
            (folder / PROTOCOL).write_text(text, "utf-8", newline="")
        # Kept open, and held, for the whole run; closed at its stop document.
        self._documents = LineFile(folder / DOCUMENTS)
        self._bias = CsvTable(folder / BIAS, BIAS_COLUMNS, version=BIAS_SCHEMA_VERSION)
        if self._on_open is not None:
            self._on_open(folder, doc)

    def close(self) -> None:
        """Close the files of the run; harmless when none is open."""
        files = (self._documents, self._bias)
        self._documents = self._bias = None
        for file in files:
            if file is not None:
                file.close()


#: How a run ended, from what its stop document and ``outcome.json`` call it.
STATES = {
    "success": "done",
    "abort": "aborted",
    "aborted": "aborted",
    "fail": "failed",
    "failed": "failed",
    "recovered": "recovered",
}
NO_OUTCOME = (
    "its documents are closed, but how its plan ended was not written: the session died after it, "
    "or the plan still goes on; see that bias and beam are off"
)


@dataclass(frozen=True)
class RunSummary:
    """What a finished, or broken-off, run folder holds.

    Attributes
    ----------
    folder : Path
    uid, plan : str
        Of the start document.
    started : datetime
        UTC.
    status : str
        As the stop document has it; "not closed" without one.
    state : str
        "done", "aborted", "failed", "recovered", "not closed", or "recording" while it is; "no
        outcome" if its documents tell of a good end, and the session told of none.
    reason : str
        Why it did not end well; else empty.
    frames, readings : int
        Rows of the tables.
    start, stop, outcome : dict
        The two documents and ``outcome.json``; empty where there are none.
    """

    folder: Path
    uid: str
    plan: str
    started: datetime
    status: str
    state: str
    reason: str
    frames: int
    readings: int
    start: dict[str, Any] = field(repr=False)
    stop: dict[str, Any] = field(repr=False)
    outcome: dict[str, Any] = field(repr=False)


def summarise(folder: Path) -> RunSummary:
    """Read what is in a run folder, finished or not.

    Raises
    ------
    RecordingError
        It is not a run folder.
    """
    path = folder / DOCUMENTS
    try:
        first, last = first_and_stop(path)
        if first is None:
            raise ValueError("the first document is no start")
        start, stop = first, last or {}
        moment = datetime.fromtimestamp(start["time"], UTC)
        uid = str(start["uid"])
    except OSError as error:
        raise RecordingError(f"{folder} is not a run folder: {error}") from None
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        raise RecordingError(
            f"{folder} is not a run folder: documents.jsonl has no start document"
        ) from None
    # Bluesky's stop document has no words for an abort; the session knows them.
    outcome: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / OUTCOME).read_text("utf-8"))
        outcome = found if isinstance(found, dict) else {}
    status = str(stop.get("exit_status", "not closed"))
    state = STATES.get(str(outcome.get("status", status)), status)
    reason = _reason(str(stop.get("reason", "")), str(outcome.get("reason", "")))
    if not stop:
        state = "recording" if _is_held(path) else "not closed"
    elif not outcome and state == "done":
        # Every run that a session has seen the end of has one.
        state, reason = "no outcome", NO_OUTCOME
    return RunSummary(
        folder=folder,
        uid=uid,
        plan=str(start.get("plan_name", "run")),
        started=moment,
        status=status,
        state=state,
        reason=reason,
        frames=count_rows(folder / "frames.csv"),
        readings=count_rows(folder / BIAS),
        start=start,
        stop=stop,
        outcome=outcome,
    )


def _reason(stop: str, outcome: str) -> str:
    """Return why a run did not end well: in the session's words, unless it was recovered since."""
    return stop if "recovered " in stop else outcome or " ".join(stop.split())


def _is_held(path: Path) -> bool:
    try:
        return is_held(path)
    except OSError:
        return False  # it cannot be told


def count_rows(table: Path) -> int:
    """Return the number of whole rows under the header of a CSV file; 0 if it cannot be read."""
    try:
        with open(table, "rb") as file:
            return max(
                0, sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) - 1
            )
    except OSError:
        return 0


def write_outcome(folder: Path, outcome: dict[str, Any]) -> None:
    """Write how a run ended into its folder; a disk that is full by now changes nothing."""
    with contextlib.suppress(OSError):
        replace_file(folder / OUTCOME, (json.dumps(outcome, indent=1) + "\n").encode())


def list_runs(root: Path) -> tuple[list[RunSummary], list[str]]:
    """Return the runs under `root`, oldest first, and why others cannot be read.

    Raises
    ------
    RecordingError
        There is no such folder.
    """
    runs: list[RunSummary] = []
    unreadable: list[str] = []
    try:
        folders = sorted(root.iterdir())
    except OSError as error:
        raise RecordingError(f"data folder {root}: {error.strerror}") from None
    for folder in folders:
        if (folder / DOCUMENTS).exists():
            try:
                runs.append(summarise(folder))
            except RecordingError as error:
                unreadable.append(str(error))
    return runs, unreadable
