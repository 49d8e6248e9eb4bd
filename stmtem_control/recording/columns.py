"""The table of the frames: its columns and the version of its schema."""

from dataclasses import dataclass

#: Changes whenever a column changes its name, unit or meaning; new columns alone do not change it.
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Column:
    """One column of the table: its name carries the unit.

    Attributes
    ----------
    name : str
        As in the header of ``frames.csv``, for example ``"current_A"``.
    kind : type
        float, int, bool or str.
    unit : str
        As it stands in documents; empty for none.
    about : str
        What it means, in one sentence.
    """

    name: str
    kind: type
    unit: str = ""
    about: str = ""


COLUMNS = (
    Column("frame", int, "", "Number in the run, from 0."),
    Column("sequence", int, "", "The camera's own number, from 1 at each start."),
    Column("dropped_before", int, "", "Frames that were taken but not recorded before this one."),
    Column("camera_time_s", float, "s", "Start of exposure by the camera's own clock, Unix time."),
    Column("host_monotonic_s", float, "s", "Arrival of the first byte, host's monotonic clock."),
    Column("host_time_s", float, "s", "Arrival of the first byte, host's wall clock, Unix time."),
    Column(
        "run_time_s", float, "s", "Start of exposure in run time; negative before the run began."
    ),
    Column(
        "time_uncertainty_s",
        float,
        "s",
        "The run time is right within so much, + or -; empty if it is a guess.",
    ),
    Column("time_source", str, "", "How it was dated: start, trigger, clapperboard or arrival."),
    Column("exposure_s", float, "s", "Exposure time."),
    Column("phase", str, "", "Phase of the experiment in the middle of the exposure."),
    Column("cycle", int, "", "Cycle in the middle of the exposure, from 1; 0 outside."),
    Column(
        "bias_set_V",
        float,
        "V",
        "Level of the source in the middle of the exposure; empty before the first.",
    ),
    Column(
        "bias_edge",
        str,
        "",
        "Whether the bias was changed between the start of this exposure and that of the next: "
        "empty for no, edge for yes, ambiguous where the times do not tell.",
    ),
    Column(
        "voltage_V",
        float,
        "V",
        "Mean voltage read in the exposure; without one, the last before it at the same bias.",
    ),
    Column(
        "voltage_std_V",
        float,
        "V",
        "Their standard deviation (divisor n - 1); empty for less than two.",
    ),
    Column(
        "current_A",
        float,
        "A",
        "Mean current read in the exposure; without one, the last before it at the same bias.",
    ),
    Column(
        "current_std_A",
        float,
        "A",
        "Their standard deviation (divisor n - 1); empty for less than two.",
    ),
    Column(
        "n_readings",
        int,
        "",
        "Readings of the source in the exposure; 0 where the last one before stands in.",
    ),
    Column("compliance", bool, "", "Whether one of them was limited."),
    Column(
        "probe_x_V",
        float,
        "V",
        "DC offset of the probe's x piezo in the middle of the exposure; empty if unknown.",
    ),
    Column("probe_y_V", float, "V", "DC offset of the probe's y piezo, the same."),
    Column("probe_z_V", float, "V", "DC offset of the probe's z piezo, the same."),
    Column("probe_z_steps", int, "step", "Net coarse steps of the probe's z since connecting."),
    Column("blanked", bool, "", "Whether the beam was off in the middle of the exposure."),
    Column("dose_rate_e_per_A2_s", float, "e/A^2/s", "Dose rate of the open beam, as calibrated."),
    Column("dose_e_per_A2", float, "e/A^2", "Dose of this exposure; blanked time costs nothing."),
    Column(
        "total_dose_e_per_A2",
        float,
        "e/A^2",
        "Dose from the run's start to the end of this exposure, between frames too; negative for "
        "an exposure that ended before the start.",
    ),
    Column(
        "dose_e_per_px",
        float,
        "e/px",
        "Electrons of this exposure on the specimen in the area of one pixel.",
    ),
    Column(
        "prior_dose_e_per_A2",
        float,
        "e/A^2",
        "Dose that the site had had, by the ledger, when the run began or came to it.",
    ),
    Column(
        "calibration_age_s",
        float,
        "s",
        "Age of the calibration of the dose rate when the frame came; a simulated one is as old "
        "as the run.",
    ),
    Column("mean_counts", float, "counts", "Mean counts in a pixel."),
    Column(
        "mode",
        str,
        "",
        "Mode of the microscope in the middle of the exposure: imaging, survey or diffraction; "
        "the scale of the pages holds for imaging alone.",
    ),
    Column(
        "camera_length_m", float, "m", "Camera length of diffraction, as asked for; empty else."
    ),
    Column("site", str, "", "Place in the beam, by the name under which its dose is booked."),
    Column(
        "beam_energy_keV", float, "keV", "Energy of the electrons by the station file; or empty."
    ),
)

#: The same for the table of readings.
BIAS_SCHEMA_VERSION = 2

#: Of ``bias.csv``: one row a reading of the source.
BIAS_COLUMNS = (
    Column("run_time_s", float, "s", "Middle of the reading in run time."),
    Column("time_s", float, "s", "The same, Unix time."),
    Column("time_uncertainty_s", float, "s", "Both are right within so much, + or -."),
    Column("instrument_time_s", float, "s", "The source's own time stamp, as it came."),
    Column("bias_set_V", float, "V", "Level of the source."),
    Column("voltage_V", float, "V", "Voltage read."),
    Column("current_A", float, "A", "Current read; positive out of the high terminal."),
    Column("in_compliance", bool, "", "Whether the source was at its limit."),
    Column("phase", str, "", "Phase of the experiment; the stream's name outside of one."),
    Column("cycle", int, "", "Cycle of the experiment, from 1; 0 outside."),
)
