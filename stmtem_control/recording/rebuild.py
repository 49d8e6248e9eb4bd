"""Make the tables of a run again, from what is in the pages of its frames and in its journal.

A page goes to disk with what is known at once, and its row becomes final a moment later.  After a
kill the rows of the last frames are not; after a clapperboard at the end of a run all frames can be
dated better than while they came.  Either way the rows are made once more, from the camera's facts
in the pages and from ``timeline.jsonl``, and written where they were.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.timeline import Timeline

from .columns import COLUMNS
from .facts import FrameFacts
from .frame_files import TEMPLATE, frame_files
from .frame_table import TABLE, read_table, replace_table
from .journal import JOURNAL, read_journal
from .page_chain import StoredPage, read_chain
from .rows import build_rows, parse_row, row_json
from .site_dose import SiteDose

BATCH = 1000  # rows that are made at once


class Dates(Protocol):
    """What dates frames anew: a clock model of the camera."""

    def station_time(self, instrument_time_s: float) -> tuple[float, float]:
        """Return the station time (s) of a stamp, and its 95 % half width (s)."""
        ...


@dataclass
class Rebuilt:
    """What :func:`rebuild_tables` found and did.

    Attributes
    ----------
    rows : list of dict
        The rows of all frames on disk, in order, as they are now.
    amended : list of int
        Frames whose page has another row than before.
    damaged : list of int
        Frames whose page had no readable row; what ``frames.csv`` said of them stands in.
    table_changed : bool
        Whether ``frames.csv`` is another than before.
    beyond : list of dict
        Rows that ``frames.csv`` had of frames which are not on disk.
    behind : list of Path
        Files of frames that do not follow on those before them: there is a gap.
    timeline : Timeline or None
        What was true when; None without a journal.
    clock : StationClock or None
        The run's, if there is a journal.
    run_start_s : float
        The zero of run time in station s; 0 without a journal.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    amended: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    table_changed: bool = False
    beyond: list[dict[str, Any]] = field(default_factory=list)
    behind: list[Path] = field(default_factory=list)
    clock: StationClock | None = None
    timeline: Timeline | None = None
    run_start_s: float = 0.0


@dataclass
class _Frame:
    """A page, and the row in it."""

    path: Path
    page: StoredPage
    row: dict[str, Any]
    settled: bool
    text: bytes


def rebuild_tables(
    folder: Path,
    clock_model: Dates | None = None,
    *,
    time_source: str = "clapperboard",
    write: bool = True,
) -> Rebuilt:
    """Make the rows of a run again that are not final, in the pages and in ``frames.csv``.

    Nobody must be recording into the folder.  A second call changes nothing.

    Parameters
    ----------
    folder : Path
        The run folder.
    clock_model : Dates, optional
        Dates all frames by the camera's own stamps; then all rows are made again.
    time_source : str
        What the rows then say of how they were dated.
    write : bool
        False: only say what would be done.

    Raises
    ------
    RecordingError
        A file cannot be read or written, or frames shall be dated and there is no journal.
    """
    made = Rebuilt()
    files, made.behind = follow_files(folder)
    frames = [frame for path in files for frame in _read_frames(path)]
    known = _old_table(folder)
    for number, frame in enumerate(frames):
        if not frame.row:
            made.damaged.append(number)
            old = known[number] if known is not None and number < len(known) else {}
            frame.row = {**dict.fromkeys(column.name for column in COLUMNS), **old}
            frame.row["frame"] = number
            frame.settled = bool(old)  # the table has only rows that are final
    if (folder / JOURNAL).exists():
        timeline, made.clock, about = _journal(folder, required=clock_model is not None)
        if timeline is not None and made.clock is not None:
            made.run_start_s = timeline.run_start
            made.timeline = timeline
            rate = float(about.get("dose_rate_e_per_A2_s", math.nan))
            dates = None if clock_model is None else (clock_model, time_source)
            _settle(frames, timeline, made.clock, rate, dates, SiteDose.from_about(about))
    elif clock_model is not None:
        raise RecordingError(f"{folder / JOURNAL} is missing; without it no frame can be dated")
    for number, frame in enumerate(frames):
        text = row_json(frame.row, frame.settled)
        if text != frame.text:
            made.amended.append(number)
            if write:
                _amend(frame, text)
    names = [column.name for column in COLUMNS]
    made.rows = [{name: frame.row.get(name) for name in names} for frame in frames]
    _sync([frames[number].path for number in made.amended] if write else [])
    if known is not None:
        made.beyond = known[len(frames) :]
    if frames or known is not None:
        made.table_changed = known is None or not _same(known, made.rows)
    if made.table_changed and write:
        replace_table(folder, made.rows)
    return made


def _journal(
    folder: Path, *, required: bool
) -> tuple[Timeline | None, StationClock | None, dict[str, Any]]:
    try:
        return read_journal(folder)
    except RecordingError:
        if required:
            raise
        return None, None, {}


def follow_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of frames up to the first gap between frames, and those behind it.

    A file that cannot be read counts as a gap.
    """
    paths = frame_files(folder)
    expected = 0
    for place, path in enumerate(paths):
        try:
            pages = read_chain(path).pages
            first = next(_read_frames(path)).row.get("frame", expected) if pages else None
        except RecordingError:
            first, pages = None, []  # not what this program writes
        if path.name != TEMPLATE.format(place) or first != expected:
            return paths[:place], paths[place:]
        expected += len(pages)
    return paths, []


def _read_frames(path: Path) -> Iterator[_Frame]:
    try:
        with open(path, "rb", buffering=0) as file:
            for page in read_chain(path).pages:
                file.seek(page.row)
                text = (file.read(page.row_bytes) or b"").rstrip(b"\0 ")
                try:
                    row, settled = parse_row(text)
                except ValueError:
                    row, settled = {}, False
                yield _Frame(path, page, row, settled, text)
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from None


def _old_table(folder: Path) -> list[dict[str, Any]] | None:
    try:
        return read_table(folder / TABLE)
    except RecordingError:
        return None


def _settle(
    frames: Sequence[_Frame],
    timeline: Timeline,
    clock: StationClock,
    rate: float,
    dates: tuple[Dates, str] | None,
    site: SiteDose,
) -> None:
    """Make rows final, those that are not or, with new dates, all."""
    periods = _periods(frames)
    todo = [n for n, frame in enumerate(frames) if dates is not None or not frame.settled]
    todo = [n for n in todo if frames[n].row.get("camera_time_s") is not None]
    for first in range(0, len(todo), BATCH):
        batch = todo[first : first + BATCH]
        facts = [_facts(n, frames[n].row, periods[n], timeline, dates) for n in batch]
        after, following = batch[-1] + 1, None
        if after < len(frames) and frames[after].row.get("camera_time_s") is not None:
            following = _facts(after, frames[after].row, periods[after], timeline, dates)
        # One a run: that of the journal, or what its rows say.
        one = _number(frames[batch[0]].row, "dose_rate_e_per_A2_s", rate)
        rows = build_rows(
            timeline,
            facts,
            dose_rate_e_per_A2_s=one,
            clock=clock,
            following=following,
            site=site,
        )
        for n, row in zip(batch, rows, strict=True):
            frames[n].row, frames[n].settled = row, True


def _facts(
    number: int,
    row: dict[str, Any],
    period: float,
    timeline: Timeline,
    dates: tuple[Dates, str] | None,
) -> FrameFacts:
    """Return what the camera's reader knew of a frame, dated again if there is a model."""
    start = _number(row, "run_time_s") + timeline.run_start
    unsure, source = _number(row, "time_uncertainty_s"), str(row.get("time_source") or "arrival")
    if dates is not None:
        model, source = dates
        start, unsure = model.station_time(row["camera_time_s"])
    return FrameFacts(
        number=number,
        sequence=int(row.get("sequence") or 0),
        dropped_before=int(row.get("dropped_before") or 0),
        camera_time_s=_number(row, "camera_time_s"),
        host_monotonic_s=_number(row, "host_monotonic_s"),
        start_s=start,
        uncertainty_s=unsure,
        time_source=source,
        exposure_s=_number(row, "exposure_s"),
        period_s=period,
        mean_counts=_number(row, "mean_counts"),
    )


def _periods(frames: Sequence[_Frame]) -> list[float]:
    """Return the time from each frame to the next, in s.

    Where a row does not tell, it is that between the camera's stamps of neighbours; the last frame
    of an acquisition has that of the frame before.
    """
    periods = [_number(frame.row, "period_s") for frame in frames]
    for n, (one, after) in enumerate(pairwise(frames)):
        apart = _number(after.row, "camera_time_s") - _number(one.row, "camera_time_s")
        steps = int(after.row.get("sequence") or 0) - int(one.row.get("sequence") or 0)
        if math.isnan(periods[n]) and steps > 0 and apart > 0.0:
            periods[n] = apart / steps
    last = math.nan
    for n, frame in enumerate(frames):
        if math.isnan(periods[n]):
            periods[n] = _number(frame.row, "exposure_s") if math.isnan(last) else last
        last = periods[n]
    return periods


def _number(row: dict[str, Any], name: str, unknown: float = math.nan) -> float:
    value = row.get(name)
    return unknown if value is None else float(value)


def _amend(frame: _Frame, text: bytes) -> None:
    """Put another row in the place of the one in a page."""
    page = frame.page
    if len(text) > page.row_bytes - 1:
        raise RecordingError(f"{frame.path}: a page has no room for the row of its frame")
    try:
        file = os.open(frame.path, os.O_WRONLY)
        try:
            os.pwrite(file, text.ljust(page.row_bytes - 1) + b"\0", page.row)
        finally:
            os.close(file)
    except OSError as error:
        raise RecordingError(f"{frame.path} cannot be mended: {error.strerror or error}") from None


def _sync(paths: Sequence[Path]) -> None:
    for path in sorted(set(paths)):
        try:
            file = os.open(path, os.O_RDWR)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise RecordingError(f"{path} cannot be mended: {error.strerror or error}") from None


def _same(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> bool:
    """Tell whether two tables say the same; NaN is NaN, and so is a cell without a number."""
    return len(old) == len(new) and all(
        _cells(one) == _cells(other) for one, other in zip(old, new, strict=True)
    )


def _cells(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, "" if value is None or value != value else repr(value))
        for name, value in row.items()
    ]
