"""The timeline on disk while it grows: ``timeline.jsonl``, from which every row can be made again.

The first line says when the run began and how the station's clock maps to the computer's; then one
line an entry, ``[channel, t, value, uncertainty_s]``, in station seconds.  A recorder that takes
the place of one that was killed begins with such a first line again.  Whole lines are
appended with one write each time, so a kill can tear no more than the last of them, and a full
disk none.
"""

import json
import math
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.timeline import START, Timeline

from .line_file import LineFile

JOURNAL = "timeline.jsonl"
JOURNAL_SCHEMA = 1
KEEP_BACK = 200_000  # entries that wait at most for a disk that takes nothing


class Journal:
    """Appends the entries of a timeline to ``timeline.jsonl``.

    Give :meth:`add` to :meth:`.Timeline.listen`, with the time from which entries matter; call
    :meth:`flush` a few times a second, and before rows that rest on the entries are declared.

    Parameters
    ----------
    folder : Path
        The run folder.  A journal that is there already is gone on with: what is added then is
        the whole history again, as the new listener hears it, and takes the place of the old.
    clock : StationClock
        The clock of all times.
    run_start_s : float
        The zero of run time, in station s.
    about : mapping, optional
        What else a row needs and no channel tells, kept in the first line, such as
        ``dose_rate_e_per_A2_s``.

    Raises
    ------
    RecordingError
        It cannot be made, or what is there was written by another clock.
    """

    def __init__(
        self,
        folder: Path,
        clock: StationClock,
        *,
        run_start_s: float,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(folder) / JOURNAL
        self._waiting: deque[tuple[Any, ...]] = deque(maxlen=KEEP_BACK)
        self._lock = threading.Lock()  # of what waits: held for a moment only
        self._writing = threading.Lock()
        self._problem: RecordingError | None = None
        self._told = False
        self._file: LineFile | None = None
        first = {
            "schema": JOURNAL_SCHEMA,
            "run_start_s": run_start_s,
            "clock": clock.mapping(),
            **(about or {}),
        }
        try:
            self._file = LineFile(self.path)
            if self._file.size and _first_line(self.path)["clock"] != first["clock"]:
                raise RecordingError(
                    f"{self.path} was written by another session; give each run its own folder"
                )
            self._file.append(_line(first))
        except (OSError, ValueError, KeyError) as error:
            self.close()
            if isinstance(error, RecordingError):
                raise
            raise RecordingError(f"{self.path} cannot be written: {_why(error)}") from error

    def add(self, channel: str, t: float, value: Any, uncertainty_s: float = 0.0) -> None:
        """Take an entry, to be written by the next :meth:`flush`; never raises, never waits."""
        if channel != START:
            with self._lock:
                self._waiting.append((channel, t, value, uncertainty_s))

    def flush(self) -> None:
        """Write what waits; never raises.

        What the disk does not take waits for the next time, and :meth:`problem` says so once.
        """
        with self._writing:
            with self._lock:
                batch = list(self._waiting)
                self._waiting.clear()
            if not batch or self._file is None:
                return
            try:
                self._file.append(b"".join(_line(entry) for entry in batch))
            except OSError as error:
                with self._lock:
                    batch += self._waiting
                    self._waiting.clear()
                    self._waiting.extend(batch)
                    self._problem = RecordingError(
                        f"{self.path} cannot be written: {_why(error)}; what was true when is kept "
                        "in memory, and in the rows of the frames"
                    )
            else:
                with self._lock:
                    self._problem, self._told = None, False

    def problem(self) -> RecordingError | None:
        """Return why the last flush failed: once, until one has worked and another fails."""
        with self._lock:
            if self._problem is None or self._told:
                return None
            self._told = True
            return self._problem

    def close(self) -> None:
        """Write what waits and close the file; harmless when called again, never raises."""
        self.flush()
        with self._writing:
            file, self._file = self._file, None
            if file is not None:
                file.close()


def read_journal(folder: Path) -> tuple[Timeline, StationClock, dict[str, Any]]:
    """Return the timeline of a run, its clock, and the first line of the journal.

    A last line that was torn by a kill is left out; so is anything else that is no entry.

    Raises
    ------
    RecordingError
        There is no journal, or its first line cannot be read.
    """
    path = Path(folder) / JOURNAL
    try:
        first = _first_line(path)
        clock = StationClock.restored(first["clock"])
        timeline = Timeline(keep=None)
        timeline.start_run(float(first["run_start_s"]))
        for channel, entries in _entries(path).items():
            for entry in entries:
                timeline.record(channel, *entry)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{path} cannot be read: {_why(error)}") from None
    return timeline, clock, first


def _entries(path: Path) -> dict[str, list[tuple[float, Any, float]]]:
    """Return the entries of each channel, those that were told again only once."""
    found: dict[str, list[tuple[float, Any, float]]] = {}
    again: dict[str, list[tuple[float, Any, float]]] = {}
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(b"{"):  # a recorder begins, and tells all that it has heard
                found, again = _merged(found, again), {}
            elif (entry := _entry(line)) is not None:
                again.setdefault(entry[0], []).append(entry[1:])
    return _merged(found, again)


def _merged(
    old: dict[str, list[tuple[float, Any, float]]], new: dict[str, list[tuple[float, Any, float]]]
) -> dict[str, list[tuple[float, Any, float]]]:
    """Return what is new, and what is old and before all of it."""
    merged = dict(old)
    for channel, entries in new.items():
        first = min(t for t, _, _ in entries)
        merged[channel] = [e for e in old.get(channel, []) if e[0] < first] + entries
    return merged


def _first_line(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        first = json.loads(file.readline())
    if not isinstance(first, dict) or first.get("schema") != JOURNAL_SCHEMA:
        raise ValueError(f"its first line does not say schema {JOURNAL_SCHEMA}")
    return first


def _entry(line: bytes) -> tuple[str, float, Any, float] | None:
    try:
        channel, t, value, uncertainty_s = json.loads(line)
        return (
            str(channel),
            float(t),
            math.nan if value is None else value,
            math.nan if uncertainty_s is None else float(uncertainty_s),
        )
    except (ValueError, TypeError):
        return None


def _line(item: Any) -> bytes:
    return json.dumps(_plain(item), separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; what is no number becomes null, and NaN when read back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # of NumPy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
