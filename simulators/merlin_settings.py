"""The variables of a Merlin: names, ranges, and how they are read and written."""

import math
from dataclasses import dataclass

from .merlin_frames import scientific

OK, FAILED, UNKNOWN, OUT_OF_RANGE = 0, 1, 2, 3  # error codes of the control port

# The specification's limit, and the number by which newer software says "as many as there are".
MAX_FRAMES = 100_000
ENDLESS_FRAMES = 42_949_672_950
MAX_DELAY_NS = 68_719_476_720


class BadValueError(Exception):
    """A value that a variable does not take."""


@dataclass(frozen=True)
class Integer:
    """A whole number."""

    default: int
    low: int
    high: int
    others: tuple[int, ...] = ()

    def read(self, text: str) -> int:
        """Return the value in `text`."""
        try:
            value = float(text)
        except ValueError:
            raise BadValueError from None
        if not math.isfinite(value) or value != int(value):
            raise BadValueError
        if not self.low <= value <= self.high and value not in self.others:
            raise BadValueError
        return int(value)

    def write(self, value: int) -> str:
        """Return a value as text."""
        return str(value)


@dataclass(frozen=True)
class OneOf:
    """A whole number out of a few."""

    default: int
    choices: tuple[int, ...]

    def read(self, text: str) -> int:
        """Return the value in `text`."""
        value = Integer(self.default, min(self.choices), max(self.choices)).read(text)
        if value not in self.choices:
            raise BadValueError
        return value

    def write(self, value: int) -> str:
        """Return a value as text."""
        return str(value)


@dataclass(frozen=True)
class Real:
    """A number, single precision in the instrument; some are written in scientific format."""

    default: float
    low: float
    high: float
    in_scientific: bool = False

    def read(self, text: str) -> float:
        """Return the value in `text`."""
        try:
            value = float(text)
        except ValueError:
            raise BadValueError from None
        if not self.low <= value <= self.high:  # false for a NaN too
            raise BadValueError
        return value

    def write(self, value: float) -> str:
        """Return a value as text."""
        return scientific(value) if self.in_scientific else f"{value:.6f}"


@dataclass(frozen=True)
class Text:
    """A path or a name of at most 256 characters."""

    default: str

    def read(self, text: str) -> str:
        """Return the value in `text`."""
        if len(text) > 256:
            raise BadValueError
        return text

    def write(self, value: str) -> str:
        """Return a value as text."""
        return value


Variable = Integer | OneOf | Real | Text
SWITCH = Integer(0, 0, 1)
ENERGY_keV = 999.99
DAY_ms = 86_400_000.0

VARIABLES: dict[str, Variable] = {
    # modes of the chip
    "COLOURMODE": SWITCH,
    "CHARGESUMMING": SWITCH,
    "HIGHGAIN": SWITCH,
    "GAIN": Integer(0, 0, 3),
    "CONTINUOUSRW": SWITCH,
    "ENABLECOUNTER1": SWITCH,
    "THRESHOLD0": Real(40.0, 0.0, ENERGY_keV),
    "THRESHOLD1": Real(511.0, 0.0, ENERGY_keV),  # above every electron: off
    **{f"THRESHOLD{n}": Real(0.0, 0.0, ENERGY_keV) for n in range(2, 8)},
    "OPERATINGENERGY": Real(200.0, 0.0, ENERGY_keV),
    "COUNTERDEPTH": OneOf(12, (1, 6, 12, 24)),
    "HVBIAS": Real(120.0, 0.0, 200.0),
    "POLARITY": Integer(1, 0, 1),
    # acquisition and triggers
    "NUMFRAMESTOACQUIRE": Integer(1, 0, MAX_FRAMES, (ENDLESS_FRAMES,)),
    "ACQUISITIONTIME": Real(100.0, 0.001, DAY_ms, in_scientific=True),
    "ACQUISITIONPERIOD": Real(100.0, 0.0, DAY_ms, in_scientific=True),
    "TRIGGERSTART": Integer(0, 0, 5),
    "TRIGGERSTOP": Integer(0, 0, 4),
    "NUMFRAMESPERTRIGGER": Integer(1, 1, MAX_FRAMES),
    "TRIGGEROUTTTL": Integer(4, 0, 7),
    "TRIGGEROUTLVDS": Integer(4, 0, 7),
    "TRIGGEROUTTTLINVERT": SWITCH,
    "TRIGGEROUTLVDSINVERT": SWITCH,
    "TRIGGEROUTTTLDELAY": Integer(0, 0, MAX_DELAY_NS),
    "TRIGGEROUTLVDSDELAY": Integer(0, 0, MAX_DELAY_NS),
    "TRIGGERUSEDELAY": SWITCH,
    # threshold scan
    "THSCAN": Integer(0, 0, 7),
    "THWINDOWMODE": SWITCH,
    "THWINDOWSIZE": Real(10.0, 0.0, ENERGY_keV),
    "THSTART": Real(20.0, 0.0, ENERGY_keV),
    "THSTOP": Real(200.0, 0.0, ENERGY_keV),
    "THSTEP": Real(10.0, 0.0, ENERGY_keV),
    "THNUMSTEPS": Integer(0, 0, 511),
    # files that the instrument's own computer writes
    "FILEDIRECTORY": Text("c:\\MERLIN"),
    "FILENAME": Text("default"),
    "FILEFORMAT": Integer(0, 0, 1),
    "FILECOUNTER": Integer(1, 1, MAX_FRAMES),
    "FILEENABLE": SWITCH,
    "SAVEALLTOFILE": SWITCH,
    "RUNHEADLESS": SWITCH,
    # corrections
    "FLATFIELDCORRECTION": SWITCH,
    "FLATFIELDFILE": Text("None"),
    "DEADTIMECORRECTION": SWITCH,
    "MASKINDATA": SWITCH,
    "FILLMODE": Integer(0, 0, 2),
    "DACFILE": Text("c:\\MERLIN\\default.dacs"),
    "PIXELMATRIXLOADFILE": Text("c:\\MERLIN\\default.bpc"),
    "PIXELMATRIXSAVEFILE": Text("c:\\MERLIN\\saved.bpc"),
}


class Settings:
    """The present values of all variables."""

    def __init__(self) -> None:
        self._values: dict[str, int | float | str] = {}
        self.restore()

    def restore(self) -> None:
        """Set everything to its default."""
        self._values = {name: variable.default for name, variable in VARIABLES.items()}

    def set(self, name: str, text: str) -> None:
        """Set a variable from text.

        Raises
        ------
        BadValueError
            The value is not in the variable's range.
        """
        self._values[name] = VARIABLES[name].read(text)

    def text(self, name: str) -> str:
        """Return a variable as the instrument writes it."""
        variable, value = VARIABLES[name], self._values[name]
        match variable:
            case Text():
                return str(value)
            case Real():
                return variable.write(float(value))
            case _:
                return variable.write(int(value))

    def whole(self, name: str) -> int:
        """Return a variable that is a whole number."""
        return int(self._values[name])

    def real(self, name: str) -> float:
        """Return a variable that is a number."""
        return float(self._values[name])

    @property
    def thresholds_keV(self) -> tuple[float, ...]:
        """The eight thresholds."""
        return tuple(self.real(f"THRESHOLD{number}") for number in range(8))
