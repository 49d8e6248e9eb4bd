"""The calibrated dose rate of each beam setting, in a file beside the data.

One JSON line a calibration, only ever appended to: what was believed on a day stays to be read.
"""

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from stmtem_control.errors import ConfigError, InterlockError, RecordingError

FILE = "dose_calibration.jsonl"
SCHEMA = 1
#: SerialEM's property DoseLifetimeHours is 24, too: a calibration is trusted for a day.
FRESH_S = 24 * 3600.0
#: An assumption: a week covers an experiment, and no alignment lasts longer.
REFUSED_S = 7 * 24 * 3600.0
#: A calibration from the future by more than this was made by a clock that is wrong, in s.
AHEAD_S = 60.0
DAY_S = 86400.0
SIMULATED = "simulated"
STATION_UNCERTAINTY = 0.2  # relative, 95 %: an assumption for a number that a person has typed


@dataclass(frozen=True)
class DoseCalibration:
    """The dose rate of the open beam in one setting of the microscope.

    Attributes
    ----------
    setting : str
        Name of the beam setting, for example ``"low"``.
    dose_rate_e_per_A2_s : float
        On the specimen, in e/A^2/s.
    relative_uncertainty : float
        95 % half width of the rate over the rate.
    calibrated_unix_s : float
        When it was measured, Unix time in s.
    by, how : str
        Who measured it, and how.
    pixel_size_nm : float
        Of the image it was measured in, in nm; NaN if it was none.
    magnification : float
        Of the microscope; NaN if it was not noted.
    spot : str
        Spot size, condenser aperture and what else names the illumination; may be empty.
    """

    setting: str
    dose_rate_e_per_A2_s: float
    relative_uncertainty: float
    calibrated_unix_s: float
    by: str = ""
    how: str = ""
    pixel_size_nm: float = math.nan
    magnification: float = math.nan
    spot: str = ""

    def age_s(self, unix_s: float) -> float:
        """Return its age in s at a Unix time (s); 0 for one that is simulated."""
        return 0.0 if self.how == SIMULATED else unix_s - self.calibrated_unix_s

    def one_line(self, unix_s: float) -> str:
        """Return rate, uncertainty, date and age in one line."""
        when = datetime.fromtimestamp(self.calibrated_unix_s, UTC)
        if self.how == SIMULATED:
            return (
                f"{self.setting}: {self.dose_rate_e_per_A2_s:.4g} e/A^2/s, simulated: what the "
                "bench was told, right on any day"
            )
        return (
            f"{self.setting}: {self.dose_rate_e_per_A2_s:.4g} e/A^2/s "
            f"+-{100 * self.relative_uncertainty:.2g} % (95 %), {when:%Y-%m-%d %H:%M} UTC, "
            f"{old(self.age_s(unix_s))}" + (f", {self.how}" if self.how else "")
        )


def old(seconds: float) -> str:
    """Return an age as a person says it."""
    if seconds < 2 * 3600.0:
        return f"{max(0.0, seconds) / 60.0:.0f} min old"
    if seconds < 2 * DAY_S:
        return f"{seconds / 3600.0:.0f} h old"
    return f"{seconds / DAY_S:.1f} days old"


def check_age(
    calibration: DoseCalibration, unix_s: float, *, allow_stale: bool = False
) -> str | None:
    """Return a warning in one line for a calibration that is a day old, or None.

    Parameters
    ----------
    calibration : DoseCalibration
    unix_s : float
        Unix time in s.
    allow_stale : bool
        Take one of any age.

    Raises
    ------
    InterlockError
        It is older than :data:`REFUSED_S`, or from the future.
    """
    age = calibration.age_s(unix_s)
    what = f"dose rate of beam setting {calibration.setting!r}"
    cure = "calibrate with the plan dose_calibration"
    if age < -AHEAD_S:
        raise InterlockError(
            f"{what}: its calibration is {-age / 3600.0:.1f} h in the future; put the computer's "
            "clock right, or the date in the station file"
        )
    if age > REFUSED_S and not allow_stale:
        raise InterlockError(
            f"{what} is {old(age)}, {REFUSED_S / DAY_S:g} days are the most; {cure}, or allow it: "
            "[dose] allow_stale_dose = true, or session.dose.allow_stale = True"
        )
    if age > FRESH_S:
        return f"{what} is {old(age)}, more than {FRESH_S / 3600.0:g} h; {cure}"
    return None


def of_station(
    setting: str, dose_rate_e_per_A2_s: float, calibrated: date | str, unix_s: float
) -> DoseCalibration:
    """Return the calibration that a station file tells.

    A date counts from its first moment on (UTC): the oldest that it can be.  ``"simulated"`` is
    the rate that a simulated bench was told, which is right on any day.
    """
    if calibrated == SIMULATED:
        return DoseCalibration(setting, dose_rate_e_per_A2_s, 0.0, unix_s, how=SIMULATED)
    if not isinstance(calibrated, date):
        raise ConfigError(f"[beam] calibrated is {calibrated!r}; give a date, as 2026-11-20")
    midnight = datetime(calibrated.year, calibrated.month, calibrated.day, tzinfo=UTC)
    return DoseCalibration(
        setting,
        dose_rate_e_per_A2_s,
        STATION_UNCERTAINTY,
        midnight.timestamp(),
        how="station file",
    )


class CalibrationFile:
    """The calibrations of a station, oldest first; see the module.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[DoseCalibration]:
        """Return all calibrations, in the order in which they were written.

        A last line that is torn, by a power failure, is passed over.

        Raises
        ------
        RecordingError
            It cannot be read, or another line is none of a calibration.
        """
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise RecordingError(f"{self.path} cannot be read: {_why(error)}") from None
        found = []
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip() or number == len(lines):  # what does not end in a newline is torn
                continue
            try:
                found.append(_parse(line))
            except (ValueError, TypeError, KeyError) as error:
                raise RecordingError(
                    f"{self.path}, line {number}: no calibration ({error}); mend the line, or move "
                    "the file away and calibrate again"
                ) from None
        return found

    def newest(self, setting: str) -> DoseCalibration | None:
        """Return the newest calibration of a beam setting, or None; raises as :meth:`read`."""
        found = [one for one in self.read() if one.setting == setting]
        return max(found, key=lambda one: one.calibrated_unix_s, default=None)

    def settings(self) -> dict[str, DoseCalibration]:
        """Return the newest calibration of each setting; raises as :meth:`read`."""
        found: dict[str, DoseCalibration] = {}
        for one in self.read():
            before = found.get(one.setting)
            if before is None or before.calibrated_unix_s <= one.calibrated_unix_s:
                found[one.setting] = one
        return found

    def append(self, calibration: DoseCalibration) -> None:
        """Add a calibration, on disk when this returns.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        values = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(calibration).items()
        }
        line = json.dumps({"schema": SCHEMA, **values}, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                whole = os.pread(file, os.fstat(file).st_size, 0).rfind(b"\n") + 1
                os.ftruncate(file, whole)  # a line that a power failure has torn is none
                os.write(file, line.encode())
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be written: {_why(error)}") from None


def _parse(line: str) -> DoseCalibration:
    values: dict[str, Any] = json.loads(line)
    if values.pop("schema", None) != SCHEMA:
        raise ValueError(f"schema is not {SCHEMA}")
    floats = {field.name for field in fields(DoseCalibration) if field.type is float}
    for name in floats & set(values):
        values[name] = math.nan if values[name] is None else float(values[name])
    made = DoseCalibration(**values)
    if not 0.0 < made.dose_rate_e_per_A2_s < math.inf:
        raise ValueError(f"dose rate is {made.dose_rate_e_per_A2_s}")
    if not (math.isfinite(made.calibrated_unix_s) and made.relative_uncertainty >= 0.0):
        raise ValueError("no date, or no uncertainty")
    return made


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
