"""Calibrations: what is kept, what is too old, and what of a torn file can still be read."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from stmtem_control.dose.calibration import (
    DAY_S,
    FRESH_S,
    REFUSED_S,
    SIMULATED,
    CalibrationFile,
    DoseCalibration,
    check_age,
    of_station,
)
from stmtem_control.errors import ConfigError, InterlockError, RecordingError

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
LOW = DoseCalibration("low", 5.0, 0.06, NOON, by="A. Nonymous", how="vacuum series")


@pytest.fixture
def file(tmp_path: Path) -> CalibrationFile:
    return CalibrationFile(tmp_path / "made" / "dose_calibration.jsonl")


def test_what_is_kept_comes_back(file: CalibrationFile) -> None:
    assert file.read() == []
    assert file.newest("low") is None
    full = replace(LOW, pixel_size_nm=1.5, magnification=20_000.0, spot="spot 5, C2 50 um")
    file.append(full)
    file.append(replace(full, dose_rate_e_per_A2_s=6.0, calibrated_unix_s=NOON + 10.0))
    file.append(replace(full, setting="survey", calibrated_unix_s=NOON + 20.0))
    assert file.read()[0] == full
    newest = file.newest("low")
    assert newest is not None
    assert newest.dose_rate_e_per_A2_s == 6.0
    assert {name: one.calibrated_unix_s - NOON for name, one in file.settings().items()} == {
        "low": 10.0,
        "survey": 20.0,
    }
    file.append(LOW)
    assert math.isnan(file.read()[-1].pixel_size_nm)


def test_a_torn_line_is_passed_over_and_then_gone(file: CalibrationFile) -> None:
    file.append(LOW)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[:30])
    assert len(file.read()) == 1
    file.append(LOW)
    assert file.path.read_bytes() == whole + whole


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"dose_rate_e_per_A2_s": -1.0},
        {"calibrated_unix_s": None},
        {"flux": 3.0},
        {"relative_uncertainty": "small"},
    ],
)
def test_a_line_that_is_none_is_named(file: CalibrationFile, change: dict[str, object]) -> None:
    file.append(LOW)
    values = json.loads(file.path.read_text())
    file.path.write_text(file.path.read_text() + json.dumps(values | change) + "\n")
    with pytest.raises(RecordingError, match="line 2: no calibration") as caught:
        file.read()
    assert "\n" not in str(caught.value)


def test_a_folder_in_its_place_is_told(file: CalibrationFile) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(RecordingError, match="cannot be read"):
        file.read()
    with pytest.raises(RecordingError, match="cannot be written"):
        file.append(LOW)


def test_a_calibration_grows_old() -> None:
    assert check_age(LOW, NOON + FRESH_S) is None
    warning = check_age(LOW, NOON + FRESH_S + 60.0)
    assert warning is not None
    assert "24 h old, more than 24 h" in warning
    assert "\n" not in warning
    assert check_age(LOW, NOON + REFUSED_S) is not None
    with pytest.raises(InterlockError, match=r"7.0 days old.*allow_stale_dose = true"):
        check_age(LOW, NOON + REFUSED_S + 1.0)
    assert "9.0 days" in str(check_age(LOW, NOON + 9 * DAY_S, allow_stale=True))


def test_a_calibration_from_the_future_is_refused() -> None:
    assert check_age(LOW, NOON - 30.0) is None
    with pytest.raises(InterlockError, match=r"3.0 h in the future"):
        check_age(LOW, NOON - 3 * 3600.0, allow_stale=True)


def test_a_date_counts_from_its_first_moment() -> None:
    made = of_station("survey", 5.0, date(2026, 11, 20), NOON)
    assert made.age_s(NOON) == 12 * 3600.0
    assert "survey: 5 e/A^2/s +-20 % (95 %), 2026-11-20 00:00 UTC, 12 h old" in made.one_line(NOON)


def test_a_simulated_rate_is_never_old() -> None:
    made = of_station("default", 20.0, SIMULATED, NOON)
    assert check_age(made, NOON + 100 * DAY_S) is None
    assert "simulated" in made.one_line(NOON)
    with pytest.raises(ConfigError, match="give a date"):
        of_station("default", 20.0, "yesterday", NOON)
