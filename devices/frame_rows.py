"""The table of the frames: its columns, and the row of a frame from what was true when."""

import math
from typing import Any

from stmtem_control.frames import Column
from stmtem_control.timeline import Timeline

from .merlin_stream import FrameHeader

COLUMNS = (
    Column("frame", int, "", "Number in the run, from 0."),
    Column("camera_time_s", float, "s", "Start of exposure by the camera's own clock, Unix time."),
    Column("run_time_s", float, "s", "Start of exposure in run time."),
    Column("time_uncertainty_s", float, "s", "The run time is right within so much, + or -."),
    Column("exposure_s", float, "s", "Exposure time."),
    Column("phase", str, "", "Phase of the experiment in the middle of the exposure."),
    Column("cycle", int, "", "Cycle in the middle of the exposure, from 1; 0 outside."),
    Column("bias_set_V", float, "V", "Level of the source in the middle of the exposure."),
    Column("voltage_V", float, "V", "Mean voltage read in the exposure, or the last one before."),
    Column("current_A", float, "A", "Mean current read in the exposure, or the last one before."),
    Column("n_readings", int, "", "Readings of the source in the exposure."),
    Column("compliance", bool, "", "Whether one of them was limited."),
    Column("blanked", bool, "", "Whether the beam was off in the middle of the exposure."),
    Column("dose_e_per_A2", float, "e/A^2", "Dose of this exposure."),
    Column("total_dose_e_per_A2", float, "e/A^2", "Dose since the run began, in frames or not."),
    Column("dropped_before", int, "", "Frames that the camera took but that did not come."),
    Column("sequence", int, "", "The camera's own number, from 1 at each start."),
)


DIGITS = 9  # decimals that are written: what comes after them is rounding


def frame_row(
    timeline: Timeline,
    header: FrameHeader,
    start: float,
    uncertainty_s: float,
    *,
    dose_rate_e_per_A2_s: float,
    number: int,
    dropped_before: int,
) -> dict[str, Any]:
    """Return the row of a frame; ask when all readings of its exposure are in the timeline.

    Parameters
    ----------
    timeline : Timeline
        What was true when.
    header : FrameHeader
        What the camera says of the frame.
    start, uncertainty_s : float
        When its exposure began, in station s, and how sure that is.
    dose_rate_e_per_A2_s : float
        Of the open beam.
    number, dropped_before : int
        Of the frame in the run, and how many before it never came.
    """
    exposure = header.exposure_s
    middle, end = start + 0.5 * exposure, start + exposure
    voltage, _ = timeline.mean("voltage_V", start, end)
    current, n = timeline.mean("current_A", start, end)
    limited = [bool(value) for _, value in timeline.between("compliance", start, end)]
    dark = timeline.seconds_true("blanked", start, end, default=False)
    run_start = timeline.run_start
    lit = max(0.0, end - run_start) - timeline.seconds_true(
        "blanked", run_start, end, default=False
    )
    # All at one moment: a plan marks a phase just before it sets the bias, so no frame can carry
    # the bias of one phase with the name of the phase before.
    level, phase, cycle, blanked = (
        timeline.at(channel, middle) for channel in ("bias_set_V", "phase", "cycle", "blanked")
    )
    return {
        "frame": number,
        "camera_time_s": header.unix_time_s,
        "run_time_s": round(timeline.run_time(start), DIGITS),
        "time_uncertainty_s": round(uncertainty_s, DIGITS),
        "exposure_s": exposure,
        "phase": phase or "",
        "cycle": int(cycle or 0),
        "bias_set_V": math.nan if level is None else float(level),
        "voltage_V": voltage,
        "current_A": current,
        "n_readings": n,
        "compliance": any(limited) if limited else bool(timeline.at("compliance", start)),
        "blanked": bool(blanked),
        "dose_e_per_A2": round(dose_rate_e_per_A2_s * max(0.0, exposure - dark), DIGITS),
        "total_dose_e_per_A2": round(dose_rate_e_per_A2_s * max(0.0, lit), DIGITS),
        "dropped_before": dropped_before,
        "sequence": header.sequence,
    }
