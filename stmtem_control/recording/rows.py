"""The rows of the table of frames: what held during each exposure, looked up for many at once.

Rows are made twice: at once, for the page that goes to disk, and again when all readings of the
exposure are in, for good.  The functions here keep nothing in between, so that the same timeline
gives the same rows, also when a run is recovered.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from stmtem_control.timeline import Cut, Timeline

from .columns import COLUMNS
from .edges import LEVEL, bias_changes, bias_edges
from .facts import FrameFacts
from .site_dose import SiteDose

DIGITS = 9  # decimals of times and doses that are written: what comes after them is rounding
NAMES = tuple(column.name for column in COLUMNS)
_KINDS = {column.name: column.kind for column in COLUMNS}

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


class UnixClock(Protocol):
    """What rows need of the station's clock."""

    def unix_time(self, monotonic_s: float) -> float:
        """Return the Unix time (s) of a time of the host's monotonic clock (s)."""
        ...


def build_rows(
    timeline: Timeline,
    facts: Sequence[FrameFacts],
    *,
    dose_rate_e_per_A2_s: float,
    clock: UnixClock,
    following: FrameFacts | None = None,
    site: SiteDose | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of some frames, in the order of the columns.

    Parameters
    ----------
    timeline : Timeline
        What was true when.
    facts : sequence of FrameFacts
        The frames in order; a batch of neighbours is fastest.  They may lie before the run's
        start: their run time, and their part of the total dose, are then negative.
    dose_rate_e_per_A2_s : float
        Of the open beam.
    clock : UnixClock
        The station's clock, or one with its origin.
    following : FrameFacts, optional
        The frame after the last of them, if it is known: it says when the last one's time is over.
    site : SiteDose, optional
        What the run knows of the dose beyond the rate.

    Returns
    -------
    list of dict
        Keys are the names of :data:`.columns.COLUMNS`; what is unknown is NaN, or empty text.
    """
    if not facts:
        return []
    start = _column(facts, "start_s")
    exposure = _column(facts, "exposure_s")
    # All at one moment: a plan marks a phase just before it sets the bias, so no frame can carry
    # the bias of one phase with the name of the phase before.
    middle, end = start + 0.5 * exposure, start + exposure
    known = _Known(timeline, float(np.min(start)), float(np.max(end)))
    bias = known.cut(LEVEL)
    volts, amperes = known.cut("voltage_V"), known.cut("current_A")
    changed_at = _changes(timeline, (volts, amperes), float(np.min(start)), float(np.max(end)))
    # A reading of before the run stands in for frames of the look-back only.
    since = np.where(start < timeline.run_start, -math.inf, timeline.run_start)
    voltage, voltage_std, _ = _readings(volts, changed_at, since, start, middle, end)
    current, current_std, n = _readings(amperes, changed_at, since, start, middle, end)
    run_end, dark = _dark(timeline, start, end)
    rate, about = dose_rate_e_per_A2_s, site or SiteDose()
    dose = rate * np.maximum(0.0, exposure - dark)
    came = [clock.unix_time(f.host_monotonic_s) for f in facts]
    columns: dict[str, Sequence[Any]] = {
        "frame": [f.number for f in facts],
        "sequence": [f.sequence for f in facts],
        "dropped_before": [f.dropped_before for f in facts],
        "camera_time_s": [f.camera_time_s for f in facts],
        "host_monotonic_s": [f.host_monotonic_s for f in facts],
        "host_time_s": came,
        "run_time_s": _rounded(start - timeline.run_start),
        "time_uncertainty_s": _rounded(_column(facts, "uncertainty_s")),
        "time_source": [f.time_source for f in facts],
        "exposure_s": exposure.tolist(),
        "phase": known.at("phase", middle, ""),
        "cycle": known.at("cycle", middle, 0),
        "bias_set_V": _held(bias, middle, math.nan),
        "bias_edge": bias_edges(timeline, facts, following=following),
        "voltage_V": voltage,
        "voltage_std_V": voltage_std,
        "current_A": current,
        "current_std_A": current_std,
        "n_readings": n,
        "compliance": _limited(known.cut("compliance"), since, start, end),
        "probe_x_V": known.at("probe_x_V", middle, math.nan),
        "probe_y_V": known.at("probe_y_V", middle, math.nan),
        "probe_z_V": known.at("probe_z_V", middle, math.nan),
        "probe_z_steps": known.at("probe_z_steps", middle, 0),
        "blanked": known.at("blanked", middle, False),
        "dose_rate_e_per_A2_s": [rate] * len(facts),
        "dose_e_per_A2": _rounded(dose),
        "total_dose_e_per_A2": _rounded(rate * (end - timeline.run_start - run_end)),
        "dose_e_per_px": _rounded(dose * about.pixel_A2),
        "prior_dose_e_per_A2": _rounded(
            np.array(known.at("prior_dose_e_per_A2", middle, about.prior_e_per_A2))
        ),
        "calibration_age_s": [max(0.0, round(t - about.calibrated_unix_s, 3)) for t in came],
        "mean_counts": [f.mean_counts for f in facts],
        "mode": known.at("mode", middle, "imaging"),
        "camera_length_m": _positive(known.at("camera_length_m", middle, math.nan)),
        "site": known.at("site", middle, ""),
        "beam_energy_keV": known.at("beam_energy_keV", middle, math.nan),
    }
    # The names come from one place and the values from another; they must meet.
    ordered = [columns[name] for name in NAMES]
    return [dict(zip(NAMES, row, strict=True)) for row in zip(*ordered, strict=True)]


class _Known:
    """Pieces of the timeline that cover a batch of exposures."""

    def __init__(self, timeline: Timeline, first: float, last: float) -> None:
        self._timeline, self._first, self._last = timeline, first, last

    def cut(self, channel: str) -> Cut:
        return self._timeline.cut(channel, self._first, self._last)

    def at(self, channel: str, moments: FloatArray, unknown: Any) -> list[Any]:
        return _held(self.cut(channel), moments, unknown)


def _column(facts: Sequence[FrameFacts], name: str) -> FloatArray:
    return np.array([getattr(f, name) for f in facts], dtype=np.float64)


def _rounded(values: FloatArray) -> list[float]:
    rounded: list[float] = (np.round(values, DIGITS) + 0.0).tolist()  # + 0.0: no minus zero
    return rounded


def _held(cut: Cut, moments: FloatArray, unknown: Any) -> list[Any]:
    """Return what a channel was at each moment, as the type of `unknown`, or that."""
    kind = type(unknown)
    values = [unknown, *(unknown if value is None else kind(value) for value in cut.values)]
    if len(values) == 1:
        return values * len(moments)
    return [values[i] for i in np.searchsorted(cut.times, moments, side="right").tolist()]


def _positive(values: Sequence[float]) -> list[float]:
    """Return values with NaN for what is 0, which stands for unknown."""
    return [value if value > 0.0 else math.nan for value in values]


def _inside(times: FloatArray, start: FloatArray, end: FloatArray) -> tuple[IntArray, IntArray]:
    """Return which times lie in (start, end] of which frame: indices of times and of frames."""
    first = np.searchsorted(times, start, side="right")
    counts = np.maximum(np.searchsorted(times, end, side="right") - first, 0)
    frames = np.repeat(np.arange(len(start)), counts)
    before = np.cumsum(counts) - counts
    return np.arange(len(frames)) + (first - before)[frames], frames


def _changes(timeline: Timeline, readings: Sequence[Cut], first: float, last: float) -> FloatArray:
    """Return when the bias changed since the oldest of some readings; set anew is no change.

    From the reading on and not from the first frame on, so that a frame alone gets the same row as
    one among many.
    """
    since = min([first, *(cut.times[0] for cut in readings if cut.times)])
    level = timeline.cut(LEVEL, since, last)
    found = bias_changes((level.times, level.values, level.uncertainties)).t
    # The first entry is itself a change if a reading is older than it.
    return np.array([*level.times[:1], *found])


def _readings(
    cut: Cut,
    changed_at: FloatArray,
    since: FloatArray,
    start: FloatArray,
    middle: FloatArray,
    end: FloatArray,
) -> tuple[list[float], list[float], list[int]]:
    """Return mean, standard deviation and number of what was read in (start, end].

    With no reading in it, the newest one before stands in, if it is not older than `since` and the
    bias did not change after it, up to the middle; with less than two, there is no deviation.
    """
    count = len(start)
    if not cut.times:
        nothing = [math.nan] * count
        return nothing, nothing, [0] * count
    times = np.array(cut.times)
    values = np.array(cut.values, dtype=np.float64)
    which, frames = _inside(times, start, end)
    n = np.bincount(frames, minlength=count)
    read = values[which]
    mean = np.bincount(frames, weights=read, minlength=count) / np.maximum(n, 1)
    squares = np.bincount(frames, weights=(read - mean[frames]) ** 2, minlength=count)
    deviation = np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)
    empty = n == 0
    if empty.any():
        newest = np.searchsorted(times, start, side="right") - 1
        read_at, value = times[newest], values[newest]
        holds = (newest >= 0) & (read_at >= since)
        if len(changed_at):
            change = np.searchsorted(changed_at, middle, side="right") - 1
            holds &= (change < 0) | (changed_at[change] <= read_at)
        mean = np.where(empty, np.where(holds, value, np.nan), mean)
    return mean.tolist(), deviation.tolist(), n.tolist()


def _limited(cut: Cut, since: FloatArray, start: FloatArray, end: FloatArray) -> list[bool]:
    """Return whether any reading in (start, end], or the newest one since then, was limited."""
    times, values = np.array(cut.times), np.array([bool(v) for v in cut.values], dtype=bool)
    if not values.any():
        return [False] * len(start)
    which, frames = _inside(times, start, end)
    count = len(start)
    n = np.bincount(frames, minlength=count)
    limited = np.bincount(frames, weights=values[which], minlength=count) > 0.0
    newest = np.searchsorted(times, start, side="right") - 1
    before = (newest >= 0) & (times[newest] >= since) & values[newest]
    result: list[bool] = np.where(n > 0, limited, before).tolist()
    return result


def _dark(timeline: Timeline, start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the blanked seconds of the run up to each end, and those of each exposure."""
    seconds = np.array(
        timeline.seconds_true_in_run("blanked", [*end.tolist(), *start.tolist()], default=False)
    )
    run = seconds[: len(end)]
    return run, run - seconds[len(end) :]


def row_json(row: Mapping[str, Any], settled: bool) -> bytes:
    """Return a row as JSON, as it stands in a page; what is not a number becomes null.

    Parameters
    ----------
    row : mapping
        Of :func:`build_rows`.
    settled : bool
        Whether all readings of the exposure were in the timeline; kept under ``"settled"``.
    """
    # 0.7 us where json, which has to be told of each NaN, takes 8 us: two rows are made a frame.
    return orjson.dumps({**row, "settled": settled})


def parse_row(text: bytes | str) -> tuple[dict[str, Any], bool]:
    """Return the row, and whether it was settled, from what :func:`row_json` made.

    Raises
    ------
    ValueError
        It is no such row.
    """
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"no row of the table of frames: {error}") from None
    if not isinstance(values, dict) or "settled" not in values:
        raise ValueError("no row of the table of frames")
    settled = bool(values.pop("settled"))
    for name, value in values.items():
        if value is None and _KINDS.get(name) is float:
            values[name] = math.nan
    return values, settled
