"""Mend a run whose recording was killed: cut what is torn, rebuild the rest, close what is open.

What is on disk decides.  Pages of frames come first; rows, table and documents are made to fit
them.  Every step leaves the folder readable, so that a recovery that is itself killed is simply run
again; and run twice, it changes nothing.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .errors import RecordingError
from .recording.frame_files import FrameFiles, frame_files
from .recording.frame_table import TABLE
from .recording.journal import JOURNAL
from .recording.line_file import hold, is_held, replace_file, whole_lines
from .recording.mend_documents import (
    NAME,
    Documents,
    FramesOnDisk,
    mend_documents,
    read_documents,
)
from .recording.page_chain import (
    UNFINISHED,
    StoredPage,
    complete_pages,
    read_chain,
    remove_unfinished,
    told_count,
    truncate_torn,
)
from .recording.rebuild import Rebuilt, follow_files, rebuild_tables
from .run_folder import BIAS, DOCUMENTS, OUTCOME, count_rows

LOST = "lost.jsonl"  # what documents and table told of frames that are not on disk
FRAMES_PER_FILE = 256  # unless the files tell
ASIDE = "aside_{}"  # the name of a file of frames that lie behind a gap


@dataclass
class Report:
    """What was found in a run folder, mended and lost, in words.

    Attributes
    ----------
    folder : Path
    frames, readings : int
        On disk now.
    mended : list of str
        What was changed, or would be.
    cut : int
        Frames that were being written, and are cut off.
    lost : list of str
        What is lost beyond those.
    """

    folder: Path
    frames: int = 0
    readings: int = 0
    mended: list[str] = field(default_factory=list)
    cut: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 mended, or nothing to do; 1 something is lost beyond the frame being written."""
        return 1 if self.lost else 0

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """Yield what a person wants to know."""
        if not self.mended and not self.lost:
            yield f"{self.folder}: nothing to do, {self.frames} frames"
            return
        yield f"{self.folder}:"
        yield f"  found   {self.frames} frames, {self.readings} readings of the source"
        for what in self.mended:
            yield f"  {'to mend' if dry_run else 'mended '} {what}"
        for what in self.lost:
            yield f"  lost    {what}"
        if not self.lost:
            lost = "1 frame, which was being written" if self.cut else "no frame that was on disk"
            yield f"  lost    {lost}"
        if self.mended:
            yield (
                "  unknown frames that the camera took after the last one here; "
                "nothing on disk can count them"
            )


def recover(folder: Path, *, dry_run: bool = False) -> Report:
    """Mend a run folder, and say what was found.

    Parameters
    ----------
    folder : Path
        Of a run that nobody records any more.
    dry_run : bool
        Only say what would be done.

    Raises
    ------
    RecordingError
        It is no run folder, is being recorded, or cannot be read or written.
    """
    folder = Path(folder)
    if not _is_run(folder):
        raise RecordingError(
            f"{folder} is not a run folder: it has neither {DOCUMENTS} nor frames; give the folder "
            "of one run"
        )
    try:
        with _held(folder):
            return _Recovery(folder, write=not dry_run).mend()
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(
            f"{error.filename or folder} cannot be mended: {error.strerror or error}; "
            "what was there is as it was"
        ) from None


def run_recover(folders: Sequence[str], *, dry_run: bool = False) -> int:
    """Mend run folders, print what came of it, and return the exit code, that of the worst."""
    worst = 0
    for name in folders:
        try:
            report = recover(Path(name), dry_run=dry_run)
        except RecordingError as error:
            print(f"stmtem recover: {error}", file=sys.stderr)
            worst = 2
            continue
        for line in report.lines(dry_run=dry_run):
            print(line)
        worst = max(worst, report.exit_code)
    return worst


def _is_run(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    kept = any((folder / name).exists() for name in (DOCUMENTS, JOURNAL))
    return kept or (bool(frame_files(folder)) and NAME.match(folder.name) is not None)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make sure that nobody records into a folder, or mends it, while the block runs."""
    busy = next((n for n in (DOCUMENTS, JOURNAL) if _is_held(folder / n)), None)
    if busy is not None:
        raise RecordingError(
            f"{folder} is being recorded: {busy} is open in another process; end that session first"
        )
    if not hasattr(os, "O_DIRECTORY"):  # Windows: a file that is open cannot be replaced
        yield
        return
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        hold(place)
        yield
    except BlockingIOError:
        raise RecordingError(f"{folder} is being mended by another process") from None
    finally:
        os.close(place)


def _is_held(path: Path) -> bool:
    try:
        return is_held(path)
    except FileNotFoundError:
        return False


class _Recovery:
    """One recovery of one folder, step by step."""

    def __init__(self, folder: Path, *, write: bool) -> None:
        self._folder = folder
        self._write = write
        self._report = Report(folder)
        self._lost: list[Any] = []

    def mend(self) -> Report:
        """Take all steps; each needs those before it."""
        self._mend_pages()
        self._cut_lines(JOURNAL)
        self._cut_lines(BIAS)
        made = rebuild_tables(self._folder, write=self._write)
        self._report.frames = len(made.rows)
        self._report.readings = count_rows(self._folder / BIAS)
        self._tell_tables(made)
        stopped = self._mend_documents(made)
        self._mend_outcome(made, stopped)
        if self._lost and self._write:
            self._keep_lost()
        return self._report

    def _mend_pages(self) -> None:
        """Cut torn pages off, and move away what lies behind a gap."""
        unfinished = sorted(self._folder.glob(f"frames_*.tif{UNFINISHED}"))
        for path in unfinished:
            self._report.mended.append(f"{path.name}: removed, its first page is torn")
            self._report.cut += 1
        if self._write:
            remove_unfinished(self._folder)
        files, behind = follow_files(self._folder)
        if behind and not _pages(behind[0]):
            torn = behind.pop(0)
            self._report.mended.append(f"{torn.name}: removed, its first page is torn")
            self._report.cut += 1
            if self._write:
                truncate_torn(torn)
        for path in files:
            self._mend_file(path)
        for path in behind:
            name = ASIDE.format(path.name)
            self._report.lost.append(
                f"the frames before those in {path.name}; they are whole but do not follow on "
                f"what is left, so they are kept in {name}"
            )
            if self._write:
                self._mend_file(path)
                os.replace(path, path.with_name(name))

    def _mend_file(self, path: Path) -> None:
        chain = read_chain(path)
        behind = chain.size - max(page.end for page in chain.pages)
        text = _description(path, chain.pages[0])
        if behind > 0 or not chain.ended:
            self._report.mended.append(f"{path.name}: a torn page cut off, {behind} bytes of it")
            self._report.cut += 1
        elif told_count(text, len(chain.pages)) != text:
            self._report.mended.append(f"{path.name}: viewers are told of {len(chain.pages)} pages")
        if self._write:
            truncate_torn(path)

    def _cut_lines(self, name: str) -> None:
        """Cut a line off that was being written."""
        path = self._folder / name
        if not path.exists():
            return
        whole, size = whole_lines(path), path.stat().st_size
        if whole < size:
            self._report.mended.append(f"{name}: a torn line cut off")
            if self._write:
                os.truncate(path, whole)

    def _tell_tables(self, made: Rebuilt) -> None:
        report = self._report
        if made.amended:
            report.mended.append(f"rows in the pages: {_numbers(made.amended)} made final")
        if made.damaged:
            report.lost.append(f"the rows in the pages of {_numbers(made.damaged)}")
        if made.table_changed:
            report.mended.append(f"{TABLE}: written anew, {len(made.rows)} rows")
        if made.beyond:
            report.lost.append(
                f"{len(made.beyond)} frames that {TABLE} has rows of, from number "
                f"{len(made.rows)} on; the rows are kept in {LOST}"
            )
            self._lost += [[TABLE, row] for row in made.beyond]

    def _mend_documents(self, made: Rebuilt) -> bool:
        """Return whether a stop document had to be made."""
        report, folder = self._report, self._folder
        found = read_documents(folder / DOCUMENTS)
        had_stop = found.first("stop") is not None
        had_start = found.first("start") is not None
        if found.torn:
            report.mended.append(f"{DOCUMENTS}: a torn line cut off")
        if found.broken:
            report.lost.append(f"{len(found.broken)} lines of {DOCUMENTS} that cannot be read")
            self._lost += [[DOCUMENTS, line.decode("utf-8", "replace")] for line in found.broken]
        if not had_start:
            report.lost.append("what the start document said beyond uid, time and plan")
        stamps = [_unix_time(row, made) for row in made.rows]
        frames = FramesOnDisk(made.rows, stamps, lambda: self._declare(made))
        ended = max([*stamps, *_times(found)], default=0.0)
        mend_documents(found, folder, frames, reason=self._reason, ended=ended)
        if found.lost:
            report.lost.append(
                f"frames that were declared and are not on disk, from number {len(made.rows)} on; "
                f"what the documents said of them is kept in {LOST}"
            )
            self._lost += found.lost
        report.mended += [f"{DOCUMENTS}: {what} added" for what in found.added]
        if found.changed and self._write:
            replace_file(folder / DOCUMENTS, found.encoded())
        return not had_stop

    def _reason(self) -> str:
        report = self._report
        lost = "; ".join(report.lost) or (
            "1 frame that was being written" if report.cut else "no frame that was on disk"
        )
        return (
            f"recovered {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: the recording was cut off; "
            f"{report.frames} frames are kept, lost: {lost}"
        )

    def _declare(self, made: Rebuilt) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the data keys of the frames, and their stream resource, from the frames alone."""
        # With the devices comes ophyd, which takes its time, and is hardly ever needed here.
        from stmtem_control.devices.frame_documents import data_keys, stream_resource

        with FrameFiles(self._folder) as files:
            _, height, width = files.shape
            dtype = files.dtype
            first = files.place(0)[0]
            pages = _pages(first)
        writer: Any = SimpleNamespace(
            directory=self._folder, shape=(height, width), frames_per_file=max(pages, 1)
        )
        if len(made.rows) == pages:
            writer.frames_per_file = max(pages, FRAMES_PER_FILE)  # it does not show yet
        resource = stream_resource("camera", writer).stream_resource_doc
        return data_keys("camera", (height, width), dtype), dict(resource)

    def _mend_outcome(self, made: Rebuilt, stopped: bool) -> None:
        """Say in ``outcome.json`` how the run ended, if nobody did."""
        path = self._folder / OUTCOME
        with contextlib.suppress(OSError, ValueError):
            if isinstance(json.loads(path.read_bytes()), dict) and not stopped:
                return
        if not stopped and not path.exists():
            return  # the session does not write one for every run
        rows = made.rows
        dose = rows[-1]["total_dose_e_per_A2"] if rows else 0.0
        outcome = {
            "status": "recovered",
            "reason": self._reason(),
            "safe": "unknown: whoever recorded was killed; see that bias and beam are off",
            "frames": len(rows),
            "dropped": sum(row["dropped_before"] or 0 for row in rows),
            "readings": self._report.readings,
            "total_dose_e_per_A2": None if dose is None or dose != dose else dose,
        }
        self._report.mended.append(f"{OUTCOME}: written")
        if self._write:
            replace_file(path, (json.dumps(outcome, indent=1) + "\n").encode())

    def _keep_lost(self) -> None:
        """Add what was taken out to the file of lost things."""
        path = self._folder / LOST
        before = path.read_bytes() if path.exists() else b""
        lines = [json.dumps(item).encode() + b"\n" for item in self._lost]
        replace_file(path, before + b"".join(lines))


def _pages(path: Path) -> int:
    try:
        return complete_pages(path)
    except RecordingError:
        return -1  # there is something, but not what this program writes


def _description(path: Path, page: StoredPage) -> bytes:
    with open(path, "rb") as file:
        file.seek(page.description)
        return file.read(page.description_bytes)


def _unix_time(row: dict[str, Any], made: Rebuilt) -> float:
    """Return the Unix time (s) of a frame, as the camera tells it to the documents."""
    run_time = row["run_time_s"]
    if made.clock is None or run_time is None or run_time != run_time:
        return float(row["host_time_s"] or 0.0)
    return made.clock.wall_time(run_time + made.run_start_s)


def _times(found: Documents) -> Iterator[float]:
    for _, doc in found.lines:
        time = doc.get("time")
        if isinstance(time, int | float):
            yield float(time)


def _numbers(frames: Sequence[int]) -> str:
    return f"{len(frames)} of them, frames {frames[0]} to {frames[-1]}"
