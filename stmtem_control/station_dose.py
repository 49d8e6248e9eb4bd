"""What a station's file says of the dose, together with the calibrations beside its data."""

from datetime import UTC, datetime
from pathlib import Path

from .config import Station
from .dose.calibration import (
    FILE as CALIBRATIONS,
)
from .dose.calibration import (
    FRESH_S,
    SIMULATED,
    CalibrationFile,
    DoseCalibration,
    of_station,
)
from .dose.ledger import FILE as LEDGER
from .errors import ConfigError

SPECIMEN = "unnamed specimen"
SITE = "site 1"


def ledger_path(station: Station) -> Path:
    """Return where a station's dose ledger is: beside the runs, unless the station says."""
    return Path(station.dose.ledger or Path(station.station.data) / LEDGER)


def calibrations_path(station: Station) -> Path:
    """Return where a station's dose calibrations are: beside the runs, unless the station says."""
    return Path(station.dose.calibrations or Path(station.station.data) / CALIBRATIONS)


def find_calibrations(station: Station, unix_s: float) -> dict[str, DoseCalibration]:
    """Return, by beam setting, the calibrations that count at a Unix time (s).

    That is the newest one of the calibration file or, for the setting that the station file names,
    of the station file.  What a simulated bench was told gives way for a day to what was measured
    there.

    Raises
    ------
    RecordingError
        The calibration file cannot be read.
    """
    beam = station.beam
    found = CalibrationFile(calibrations_path(station)).settings()
    stated = of_station(beam.setting, beam.dose_rate_e_per_A2_s, beam.calibrated, unix_s)
    measured = found.get(beam.setting, stated)
    if stated.how == SIMULATED:
        newest = measured if measured.age_s(unix_s) <= FRESH_S else stated
    else:
        newest = max(measured, stated, key=lambda one: one.calibrated_unix_s)
    return {**found, beam.setting: newest}


def find_calibration(station: Station, setting: str, unix_s: float) -> DoseCalibration:
    """Return the calibration of a beam setting that counts at a Unix time (s).

    Raises
    ------
    ConfigError
        The setting was never calibrated.
    RecordingError
        The calibration file cannot be read.
    """
    found = find_calibrations(station, unix_s)
    if setting not in found:
        raise ConfigError(
            f"beam setting {setting!r} was never calibrated; known: {', '.join(sorted(found))}; "
            "calibrate it with the plan dose_calibration"
        )
    return found[setting]


def fresh_specimen(station: Station, *, attached: bool) -> str:
    """Return the name of the specimen until somebody gives it one.

    A simulated bench that a session starts brings a new specimen every time.
    """
    if station.bench is None:
        return SPECIMEN
    now = datetime.now(UTC)
    kind = "attached at" if attached else "made"
    return f"simulated {station.bench.preset}, {kind} {now:%Y-%m-%d %H:%M:%S}.{now.microsecond:06d}"
