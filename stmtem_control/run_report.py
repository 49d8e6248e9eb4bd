"""What a run holds, read from its folder in one pass over each table, however long it was."""

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import RecordingError
from .recording.columns import BIAS_COLUMNS, COLUMNS
from .recording.csv_table import iterate_csv
from .recording.frame_files import FrameFiles, frame_files
from .recording.frame_table import TABLE
from .run_folder import BIAS, RunSummary, summarise

#: What is read of ``frames.csv``.
FRAME_COLUMNS = (
    "frame",
    "sequence",
    "dropped_before",
    "run_time_s",
    "time_uncertainty_s",
    "time_source",
    "exposure_s",
    "phase",
    "cycle",
    "bias_set_V",
    "bias_edge",
    "dose_e_per_A2",
    "total_dose_e_per_A2",
    "dose_rate_e_per_A2_s",
)
GAPS = 1000  # places of lost frames that are kept; their number is counted to the end


@dataclass
class Range:
    """Smallest and largest of some numbers; None of none."""

    low: float | None = None
    high: float | None = None

    def add(self, value: float | None) -> None:
        """Take a number; NaN and None count for nothing."""
        if value is None or math.isnan(value):
            return
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.high is None else max(self.high, value)


@dataclass
class Stretch:
    """One phase of one cycle, from its first to its last frame or reading.

    Attributes
    ----------
    phase, cycle : str, int
    span : Range
        First and last run time in s: of the start of an exposure, or of the middle of a reading.
    frames, readings : int
    levels : list of float
        Levels of the bias in V that frames and readings had, in order, each once.
    current : Range
        Smallest and largest reading in A.
    charge_C : float
        Integral of the current over the readings, by the trapezoidal rule.
    dose_e_per_A2 : float
        Of the frames.
    """

    phase: str
    cycle: int
    span: Range = field(default_factory=Range)
    frames: int = 0
    readings: int = 0
    levels: list[float] = field(default_factory=list)
    current: Range = field(default_factory=Range)
    charge_C: float = 0.0
    dose_e_per_A2: float = 0.0

    def add_level(self, volts: float | None) -> None:
        """Take a level of the bias."""
        if volts is not None and not math.isnan(volts) and volts not in self.levels:
            self.levels.append(volts)


@dataclass
class RunReport:
    """What a run holds.

    Attributes
    ----------
    summary : RunSummary
        What the list of runs tells.
    duration_s : float or None
        Wall seconds from the start document to the stop document.
    size_bytes : int
        Of all files in the folder.
    files, shape, dtype : int, tuple or None, str
        Files with frames, rows and columns of a frame, and the type of its pixels.
    pages : int
        Frames whose page is whole on disk.
    lost, lost_after : int
        Frames that were taken but not recorded: before one that was, and after the last.
    gaps : list of (int, int, float)
        Where those before one were: the number of that frame, how many, and its run time in s.
    span : Range
        Run time of the first and the last frame in s.
    period_s : float or None
        Median time from one frame to the next.
    exposure_s : Range
    uncertainty_s : Range
        Of the frames' times.
    guesses : int
        Frames whose time has no stated uncertainty.
    time_sources : Counter
        How many frames were dated how.
    edges : Counter
        How many frames have a change of the bias: "edge", "ambiguous".
    dose_e_per_A2, dose_rate_e_per_A2_s : float or None
        Total dose of the run up to the last frame, and the rate of the open beam.
    stretches : list of Stretch
        In order of time.
    problems : list of str
        What could not be read, or does not fit together.
    """

    summary: RunSummary
    duration_s: float | None = None
    size_bytes: int = 0
    files: int = 0
    shape: tuple[int, int] | None = None
    dtype: str = ""
    pages: int = 0
    lost: int = 0
    lost_after: int = 0
    gaps: list[tuple[int, int, float]] = field(default_factory=list)
    span: Range = field(default_factory=Range)
    period_s: float | None = None
    exposure_s: Range = field(default_factory=Range)
    uncertainty_s: Range = field(default_factory=Range)
    guesses: int = 0
    time_sources: "Counter[str]" = field(default_factory=Counter)
    edges: "Counter[str]" = field(default_factory=Counter)
    dose_e_per_A2: float | None = None
    dose_rate_e_per_A2_s: float | None = None
    stretches: list[Stretch] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def report_run(folder: Path) -> RunReport:
    """Read what a run holds; a folder that is damaged, or still being written, is read as it is.

    Raises
    ------
    RecordingError
        It is not a run folder.
    """
    summary = summarise(folder)
    report = RunReport(summary)
    begun, ended = summary.start.get("time"), summary.stop.get("time")
    if isinstance(begun, int | float) and isinstance(ended, int | float):
        report.duration_s = ended - begun
    report.size_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    stretches: dict[tuple[str, int], Stretch] = {}
    for read in (_read_pages, _read_frame_table, _read_bias_table):
        try:
            read(folder, report, stretches)
        except RecordingError as error:
            report.problems.append(str(error))
    if report.pages != summary.frames and summary.state != "recording":
        report.problems.append(
            f"{report.pages} frames are on disk, {summary.frames} rows in {TABLE}; "
            f"'stmtem recover {folder}' makes them fit"
        )
    elif summary.state == "not closed":
        report.problems.append(f"nobody has closed this run; 'stmtem recover {folder}' does")
    report.stretches = sorted(stretches.values(), key=_begin)
    return report


def _begin(stretch: Stretch) -> float:
    return math.inf if stretch.span.low is None else stretch.span.low


def _stretch(stretches: dict[tuple[str, int], Stretch], row: Mapping[str, Any]) -> Stretch:
    key = (str(row.get("phase") or ""), int(row.get("cycle") or 0))
    found = stretches.get(key)
    if found is None:
        found = stretches[key] = Stretch(*key)
    found.span.add(row["run_time_s"])
    found.add_level(row.get("bias_set_V"))
    return found


def _read_pages(folder: Path, report: RunReport, _: dict[tuple[str, int], Stretch]) -> None:
    report.files = len(frame_files(folder))
    with FrameFiles(folder) as frames:
        report.pages = len(frames)
        if report.pages:
            report.shape, report.dtype = frames.shape[1:], frames.dtype.name


def _read_frame_table(
    folder: Path, report: RunReport, stretches: dict[tuple[str, int], Stretch]
) -> None:
    steps = array("d")
    before: tuple[int | None, float] = (None, math.nan)
    row: dict[str, Any] = {}
    if not (folder / TABLE).exists():
        return
    for row in iterate_csv(folder / TABLE, COLUMNS, FRAME_COLUMNS):
        t, sequence = row["run_time_s"], row.get("sequence")
        report.span.add(t)
        if before[0] is not None and sequence == before[0] + 1:
            steps.append(t - before[1])
        before = (sequence, t)
        dropped = row.get("dropped_before") or 0
        if dropped:
            report.lost += dropped
            if len(report.gaps) < GAPS:
                report.gaps.append((row["frame"], dropped, t))
        report.exposure_s.add(row.get("exposure_s"))
        unsure = row.get("time_uncertainty_s", math.nan)
        report.uncertainty_s.add(unsure)
        report.guesses += math.isnan(unsure)
        report.time_sources[row.get("time_source") or "unknown"] += 1
        if row.get("bias_edge"):
            report.edges[row["bias_edge"]] += 1
        stretch = _stretch(stretches, row)
        stretch.frames += 1
        dose = row.get("dose_e_per_A2", math.nan)
        stretch.dose_e_per_A2 += 0.0 if math.isnan(dose) else dose
    if steps:
        report.period_s = statistics.median(steps)
    report.dose_e_per_A2 = _number(row.get("total_dose_e_per_A2"))
    report.dose_rate_e_per_A2_s = _number(row.get("dose_rate_e_per_A2_s"))
    told = report.summary.outcome.get("dropped")
    if isinstance(told, int):
        report.lost_after = max(0, told - report.lost)


def _read_bias_table(
    folder: Path, report: RunReport, stretches: dict[tuple[str, int], Stretch]
) -> None:
    before: tuple[Stretch | None, float, float] = (None, math.nan, math.nan)
    for row in iterate_csv(folder / BIAS, BIAS_COLUMNS):
        t, amperes = row["run_time_s"], row.get("current_A", math.nan)
        stretch = _stretch(stretches, row)
        stretch.readings += 1
        stretch.current.add(amperes)
        if stretch is before[0]:
            charge = 0.5 * (amperes + before[2]) * (t - before[1])
            stretch.charge_C += 0.0 if math.isnan(charge) else charge
        before = (stretch, t, amperes)


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
