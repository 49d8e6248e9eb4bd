"""Mend a run whose recording was killed: cut what is torn, rebuild the rest, close what is open.

What is on disk decides.  Pages of frames come first; rows, table and documents are made to fit
them.  Every step leaves the folder readable, so that a recovery that is itself killed is simply run
again; and run twice, it changes nothing.
"""

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .clock_model import ClockModel
from .declare_rest import declaration
from .errors import RecordingError
from .recording.aligned_clock import read_clock
from .recording.bias_rows import BiasRows
from .recording.columns import BIAS_COLUMNS, BIAS_SCHEMA_VERSION
from .recording.csv_table import write_csv
from .recording.frame_files import frame_files
from .recording.frame_table import TABLE
from .recording.journal import JOURNAL, read_journal
from .recording.line_file import hold, is_held, replace_file, whole_lines
from .recording.mend_documents import NAME, STOP, mend_documents
from .recording.page_chain import (
    UNFINISHED,
    complete_pages,
    end_of_pages,
    read_chain,
    told_count,
    truncate_torn,
    unlinked_page,
)
from .recording.rebuild import Rebuilt, follow_files, rebuild_tables
from .recording.run_documents import Documents, FramesOnDisk, read_documents
from .recovery_report import Report, counted, numbered
from .run_folder import BIAS, DOCUMENTS, OUTCOME, count_rows

LOST = "lost.jsonl"  # what documents and table told of frames that are not on disk
ASIDE = "aside_{}"  # the name of a file of frames that lie behind a gap


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
        model = self._clock_model()
        made = rebuild_tables(self._folder, model, write=False)
        self._report.frames = len(made.rows)
        self._tell_tables(made)
        documents = self._mend_documents(made)
        readings = self._readings(made, documents)
        outcome = self._outcome(made, documents)
        if self._write:
            # First what is about to be taken out elsewhere; the outcome last.
            self._keep_lost()
            if made.amended or made.table_changed:
                rebuild_tables(self._folder, model)
            if documents.changed:
                replace_file(self._folder / DOCUMENTS, documents.encoded())
            if readings:
                path = self._folder / BIAS
                write_csv(path, BIAS_COLUMNS, readings, version=BIAS_SCHEMA_VERSION)
            if outcome is not None:
                data = json.dumps(outcome, indent=1) + "\n"
                replace_file(self._folder / OUTCOME, data.encode())
        return self._report

    def _clock_model(self) -> ClockModel | None:
        """Return the model by which a closed run dates its frames, if one was found.

        The session may have been killed while the frames were being dated by it.
        """
        with contextlib.suppress(RecordingError):
            model = read_clock(self._folder)
            read_journal(self._folder)  # without it no frame can be dated again
            return model
        return None

    def _mend_pages(self) -> None:
        """Cut torn pages off, and move away what lies behind a gap."""
        for path, name in _unfinished(self._folder):
            if name is None:
                self._report.mended.append(f"{path.name}: removed, its first page is torn")
                self._report.cut += 1
                if self._write:
                    path.unlink()
            else:
                self._report.mended.append(f"{path.name}: named {name.name}, it has whole pages")
                if self._write:
                    os.replace(path, name)
        files, behind = follow_files(self._folder)
        for path in files:
            self._mend_file(path)
        for path in behind:
            self._move_away(path)

    def _move_away(self, path: Path) -> None:
        """Give a file that does not follow on the others another name, or remove an empty one."""
        pages = _pages(path)
        if pages == 0:
            self._report.mended.append(f"{path.name}: removed, its first page is torn")
            self._report.cut += 1
            if self._write:
                path.unlink()
            return
        name = ASIDE.format(path.name)
        what = f"its {pages} frames do not follow on the others" if pages else "it cannot be read"
        if pages:
            self._mend_file(path)
        self._report.mended.append(f"{path.name}: named {name}, {what}")
        self._report.lost.append(f"the frames before those in {name}")
        if self._write:
            os.replace(path, path.with_name(name))

    def _mend_file(self, path: Path) -> None:
        """Cut off what is torn, link what is whole, and tell viewers how much there is."""
        chain = read_chain(path)
        led_to = len(chain.pages)
        with open(path, "rb", buffering=0) as file:
            while (page := unlinked_page(chain, file.fileno())) is not None:
                chain.pages.append(page)
                chain.ended = True
            first = chain.pages[0]
            file.seek(first.description)
            text = file.read(first.description_bytes) or b""
        n, behind = len(chain.pages), chain.size - end_of_pages(chain)
        if n > led_to:
            self._report.mended.append(f"{path.name}: {counted(n - led_to, 'whole page')} linked")
        if behind > 0 or not chain.ended:
            self._report.mended.append(f"{path.name}: a torn page cut off, {behind} bytes")
            self._report.cut += 1
        elif told_count(text, n) != text:
            self._report.mended.append(f"{path.name}: viewers are told of {counted(n, 'page')}")
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
            report.mended.append(f"rows in the pages: {numbered(made.amended)} made again")
        if made.damaged:
            report.lost.append(f"rows in the pages: {numbered(made.damaged)}")
        if made.table_changed:
            report.mended.append(f"{TABLE}: written anew, {len(made.rows)} rows")
        if made.beyond:
            report.lost.append(
                f"{len(made.beyond)} frames that {TABLE} has rows of, from number "
                f"{len(made.rows)} on; the rows are kept in {LOST}"
            )
            self._lost += [[TABLE, row] for row in made.beyond]

    def _mend_documents(self, made: Rebuilt) -> Documents:
        """Return the documents as they shall be."""
        report, folder = self._report, self._folder
        found = read_documents(folder / DOCUMENTS)
        had_start = found.first("start") is not None
        if found.torn:
            report.mended.append(f"{DOCUMENTS}: a torn line cut off")
        if found.broken:
            lines = counted(len(found.broken), "line")
            report.lost.append(f"{lines} of {DOCUMENTS} that cannot be read")
            self._lost += [[DOCUMENTS, line.decode("utf-8", "replace")] for line in found.broken]
        if not had_start:
            report.lost.append("what the start document said beyond uid, time and plan")
        stamps = [_unix_time(row, made) for row in made.rows]
        frames = FramesOnDisk(made.rows, stamps, lambda: declaration(folder, len(made.rows)))
        ended = max([*stamps, *_times(found)], default=0.0)
        mend_documents(found, folder, frames, reason=self._reason, ended=ended)
        if found.lost:
            report.lost.append(
                f"frames that were declared and are not on disk, from number {len(made.rows)} on; "
                f"what the documents said of them is kept in {LOST}"
            )
            self._lost += found.lost
        report.mended += [f"{DOCUMENTS}: {what} added" for what in found.added]
        return found

    def _readings(self, made: Rebuilt, documents: Documents) -> list[dict[str, Any]]:
        """Return the rows of all readings, if the table has fewer than the documents."""

        def run_time(moment: float) -> float:
            if made.clock is None:
                return math.nan
            return made.clock.station_time(moment) - made.run_start_s

        def marks(moment: float) -> tuple[str, int]:
            if made.clock is None or made.timeline is None:
                return "", 0
            return made.timeline.mark_at(made.clock.station_time(moment))

        maker = BiasRows(run_time, marks)
        rows = [row for name, doc in documents.lines for row in maker.rows(name, doc)]
        there = count_rows(self._folder / BIAS)
        self._report.readings = max(there, len(rows))
        if there >= len(rows):
            return []
        self._report.mended.append(f"{BIAS}: written anew, {counted(len(rows), 'row')}")
        return rows

    def _reason(self) -> str:
        report = self._report
        lost = "; ".join(report.lost) or (
            "1 frame that was being written" if report.cut else "no frame that was on disk"
        )
        return (
            f"recovered {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: the recording was cut off"
            f"{self._said()}; {report.frames} frames are kept, lost: {lost}"
        )

    def _said(self) -> str:
        """Return what the session still could say of how the run ended."""
        with contextlib.suppress(OSError, ValueError):
            outcome = json.loads((self._folder / OUTCOME).read_bytes())
            if isinstance(outcome, dict) and outcome.get("reason"):
                return f" ({outcome['reason']})"
        return ""

    def _outcome(self, made: Rebuilt, documents: Documents) -> dict[str, Any] | None:
        """Return what ``outcome.json`` shall say of how the run ended, if nobody said it."""
        path = self._folder / OUTCOME
        with contextlib.suppress(OSError, ValueError):
            if isinstance(json.loads(path.read_bytes()), dict):
                return None
        if STOP not in documents.added and not path.exists():
            return None  # the documents were closed: what came after that cannot be known
        rows = made.rows
        dose = rows[-1]["total_dose_e_per_A2"] if rows else 0.0
        self._report.mended.append(f"{OUTCOME}: written")
        return {
            "status": "recovered",
            # The same words as in the stop document.
            "reason": (documents.first("stop") or {}).get("reason") or self._reason(),
            "safe": "unknown: whoever recorded was killed; see that bias and beam are off",
            "frames": len(rows),
            "dropped": sum(row["dropped_before"] or 0 for row in rows),
            "readings": self._report.readings,
            "total_dose_e_per_A2": None if dose is None or dose != dose else dose,
        }

    def _keep_lost(self) -> None:
        """Add what is taken out to the file of lost things, unless it is there."""
        path = self._folder / LOST
        before = path.read_bytes() if path.exists() else b""
        known = set(before.splitlines())
        lines = [json.dumps(item).encode() for item in self._lost]
        new = b"".join(line + b"\n" for line in lines if line not in known)
        if new:
            replace_file(path, before + new)


def _pages(path: Path) -> int | None:
    """Return how many whole pages a file has; None if it is not what this program writes."""
    try:
        return complete_pages(path)
    except RecordingError:
        return None


def _unfinished(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield the files without their name yet, each with it, or None if no page of it is whole."""
    for path in sorted(folder.glob(f"frames_*.tif{UNFINISHED}")):
        name = path.with_name(path.name.removesuffix(UNFINISHED))
        yield path, name if _pages(path) and not name.exists() else None


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
