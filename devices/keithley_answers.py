"""What a source-measure unit of the SCPI-2400 dialect answers, taken apart.

Source: Keithley 2400 Series SourceMeter User's Manual, 2400S-900-01, section 18.
"""

import math
import re
from dataclasses import dataclass

from stmtem_control.errors import ProtocolError

ERROR_LINE = re.compile(r'^\s*([+-]?\d+)\s*,\s*"([^"]*)"?\s*$')
REAL_COMPLIANCE = 1 << 3  # bits of the status word, element STAT of a reading
RANGE_COMPLIANCE = 1 << 16
NOT_A_READING = 9.9e37  # what the instrument sends for "not measured" and for overflow


@dataclass(frozen=True)
class Identity:
    """What an instrument says it is, from ``*IDN?``."""

    manufacturer: str
    model: str
    serial: str
    firmware: str
    text: str


@dataclass(frozen=True)
class Reading:
    """One measurement.

    Attributes
    ----------
    voltage, current : float
        In V and A; NaN for an overflow.
    instrument_time : float
        The instrument's own time stamp, in s since its timer was reset.
    compliance : bool
        Whether the current was limited, by the compliance or by the range.
    status : int
        The instrument's status word, as sent.
    t : float
        The middle of the measurement, in s on the clock that the driver was given.
    uncertainty_s : float
        It was within so much of `t`, + or -.
    """

    voltage: float
    current: float
    instrument_time: float
    compliance: bool
    status: int
    t: float
    uncertainty_s: float = 0.0


@dataclass(frozen=True)
class SourceState:
    """How the source is set, as read back from it."""

    compliance_A: float
    current_range_A: float
    voltage_range_V: float
    nplc: float


def parse_identity(line: str) -> Identity:
    """Take an ``*IDN?`` answer apart.

    Raises
    ------
    ProtocolError
        It does not have the four parts of IEEE 488.2.
    """
    parts = [part.strip() for part in line.strip().split(",", 3)]
    if len(parts) != 4:
        raise ProtocolError(f"*IDN? was answered {line!r}, not maker, model, serial, firmware")
    model = re.sub(r"^MODEL\s+", "", parts[1], flags=re.IGNORECASE)
    return Identity(parts[0], model, parts[2], parts[3], line.strip())


def parse_error(line: str) -> tuple[int, str]:
    """Return the code and the text of one ``:SYST:ERR?`` answer; code 0 means none."""
    match = ERROR_LINE.match(line)
    if match is None:
        raise ProtocolError(f":SYST:ERR? was answered {line!r}, not a code and a text")
    return int(match[1]), match[2].split(";")[0].strip()


def parse_reading(line: str, t: float = math.nan) -> Reading:
    """Take a reading with the elements VOLT, CURR, TIME, STAT apart.

    Raises
    ------
    ProtocolError
        It is not four numbers.
    """
    try:
        voltage, current, stamp, status = (float(part) for part in line.split(","))
        return _reading(voltage, current, stamp, int(status), t)
    except (ValueError, OverflowError):
        raise ProtocolError(
            f":READ? was answered {line!r}, not voltage, current, time and status"
        ) from None


def parse_readings(line: str) -> list[Reading]:
    """Take apart what the buffer holds: VOLT, CURR, TIME, STAT of one reading after the other.

    Raises
    ------
    ProtocolError
        It is not four numbers for each reading.
    """
    try:
        numbers = [float(part) for part in line.split(",")]
        rows = zip(*(numbers[i::4] for i in range(4)), strict=True)
        return [_reading(v, i, stamp, int(status), math.nan) for v, i, stamp, status in rows]
    except (ValueError, OverflowError):
        text = line if len(line) <= 60 else line[:60] + "..."
        raise ProtocolError(
            f":TRAC:DATA? was answered {text!r}, not voltage, current, time and status of "
            "each reading"
        ) from None


def _reading(voltage: float, current: float, stamp: float, word: int, t: float) -> Reading:
    return Reading(
        voltage=math.nan if abs(voltage) >= NOT_A_READING else voltage,
        current=math.nan if abs(current) >= NOT_A_READING else current,
        instrument_time=stamp,
        compliance=bool(word & (REAL_COMPLIANCE | RANGE_COMPLIANCE)),
        status=word,
        t=t,
    )
