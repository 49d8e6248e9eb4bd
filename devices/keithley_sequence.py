"""Bias sequences that the source steps through by itself: its list of levels and trigger model.

The host sends the list beforehand and reads the readings from the instrument's buffer afterwards;
when each level came is told by the instrument's own time stamps.  Source: User's Manual
2400S-900-01, sections 9 (data store), 10 (sweeps), 11 (triggering) and 18.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import LimitError
from stmtem_control.exchanges import Exchange

from .keithley_answers import Reading

MOST_LEVELS = 2500  # of a list, of the buffer, and of arm count x trigger count
IN_A_COMMAND = 100  # levels that one command may carry
LINES = (1, 2, 3, 4)  # of the trigger link
LONGEST_S = 9999.0  # of the source delay
LONGEST_WAIT_S, WAIT_STEP_S = 999.0, 1e-4  # of the trigger delay
CONVERSION_S = 185e-6  # of the A/D converter, beside its integration time
OVERHEAD_S = 0.64e-3  # of a reading with a current in it, without autozero


def typical_reading_s(nplc: float, line_frequency_Hz: float) -> float:
    """Return what a reading of voltage and current takes by the manual's speed tables, in s."""
    return 2.0 * (nplc / line_frequency_Hz + CONVERSION_S) + OVERHEAD_S


Event = Literal["none", "source", "delay", "sense"]
EVENTS: dict[str, str] = {"none": "NONE", "source": "SOUR", "delay": "DEL", "sense": "SENS"}


@dataclass(frozen=True)
class BiasSequence:
    """Levels that follow each other in the instrument's own time; one reading at each.

    It begins with the output off and ends at 0 V with the output off, whatever becomes of the
    host: a last level of 0 V is added if it is not there, and the instrument switches the output
    off by itself.

    Parameters
    ----------
    levels_V : tuple of float
        At most 2500, with the last 0 V; a level that is to last longer is repeated.
    step_s : float
        How long a level lasts, if no trigger is waited for: a delay, then the reading.  With
        ``step_line`` the reading ends so long after the edge.
    read_by_s : float, optional
        The reading ends so long after the edge, or as soon as it can, and what is left of the step
        is waited for after it.  By default the reading is the end of the step.
    nplc : float
        Integration time of the readings in power-line cycles.
    pulse : {"none", "source", "delay", "sense"}
        After which action a pulse goes out on the trigger link: a new level, the delay after it,
        or its reading.
    pulse_line : int
        Output line of the trigger link, 1 to 4.
    start_line : int, optional
        The sequence begins at a falling edge on this input line of the trigger link.
    step_line : int, optional
        Each level, the first and the last 0 V too, waits for a falling edge on this line.

    Raises
    ------
    LimitError
        The instrument could not run it.
    """

    levels_V: tuple[float, ...]
    step_s: float
    nplc: float = 0.1
    pulse: Event = "none"
    pulse_line: int = 2
    start_line: int | None = None
    step_line: int | None = None
    read_by_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what the instrument could not run."""
        object.__setattr__(self, "levels_V", tuple(float(level) for level in self.levels_V))
        if not self.levels_V or not all(map(math.isfinite, self.levels_V)):
            raise LimitError("bias sequence: give at least one level, and numbers only")
        if len(self.levels) > MOST_LEVELS:
            raise LimitError(
                f"bias sequence: {len(self.levels)} levels with the last 0 V; the source takes "
                f"{MOST_LEVELS}"
            )
        if not 0.01 <= self.nplc <= 10.0:
            raise LimitError(f"bias sequence: nplc is {self.nplc}; the source takes 0.01 to 10")
        if not 0.0 < self.step_s < LONGEST_S:
            raise LimitError(
                f"bias sequence: steps of {self.step_s} s; give more than 0 and less than "
                f"{LONGEST_S:g} s"
            )
        if self.read_by_s is not None and self.step_line is not None:
            raise LimitError("bias sequence: read_by_s is for steps that wait for no trigger")
        if self.read_by_s is not None and not 0.0 < self.read_by_s <= self.step_s:
            raise LimitError(
                f"bias sequence: read_by_s is {self.read_by_s}; give a time within the step of "
                f"{self.step_s:g} s"
            )
        if self.pulse not in EVENTS:
            raise LimitError(f"bias sequence: pulse is {self.pulse!r}; one of {', '.join(EVENTS)}")
        for line in (self.pulse_line, self.start_line, self.step_line):
            if line is not None and line not in LINES:
                raise LimitError(f"bias sequence: trigger line {line}; the link has lines 1 to 4")

    @property
    def levels(self) -> tuple[float, ...]:
        """What the instrument gets, with the last 0 V, in V."""
        return self.levels_V if self.levels_V[-1] == 0.0 else (*self.levels_V, 0.0)

    @property
    def triggered(self) -> bool:
        """Whether anything in it waits for a trigger from outside."""
        return self.start_line is not None or self.step_line is not None

    def shortest_reading_s(self, line_frequency_Hz: float) -> float:
        """Return what the conversions of one reading take at least, in s."""
        return 2.0 * self.nplc / line_frequency_Hz

    def reading_s(self, line_frequency_Hz: float) -> float:
        """Return what one reading takes by the manual's speed tables, in s."""
        return typical_reading_s(self.nplc, line_frequency_Hz)

    def delay_s(self, line_frequency_Hz: float) -> float:
        """Return the source delay, from the level to its reading, in s.

        With :meth:`wait_s` it makes a step as long as it should be.

        Raises
        ------
        LimitError
            A reading takes longer than a step.
        """
        reading = self.reading_s(line_frequency_Hz)
        if self.step_s < reading:
            raise LimitError(
                f"bias sequence: a step of {self.step_s:g} s is shorter than a reading of "
                f"{reading:.4g} s at nplc {self.nplc:g}; make it longer, or nplc smaller"
            )
        if self.read_by_s is None:
            return round(self.step_s - reading, 6)
        return round(self.step_s - reading - self.wait_s(line_frequency_Hz), 6)

    def wait_s(self, line_frequency_Hz: float) -> float:
        """Return the trigger delay, which comes before each level, in s."""
        if self.read_by_s is None:
            return 0.0
        reading = self.reading_s(line_frequency_Hz)
        left = self.step_s - max(self.read_by_s, reading)
        return min(math.floor(max(0.0, left) / WAIT_STEP_S) * WAIT_STEP_S, LONGEST_WAIT_S)

    def commands(self, line_frequency_Hz: float) -> Iterator[str]:
        """Yield the commands that set it up, from the output off at 0 V."""
        levels = [f"{level:.7E}" for level in self.levels]
        yield ":TRIG:CLE"  # triggers that came when nobody waited for them
        yield f":SENS:CURR:NPLC {self.nplc:.6g}"
        for first in range(0, len(levels), IN_A_COMMAND):
            append = ":APP" if first else ""
            yield f":SOUR:LIST:VOLT{append} {','.join(levels[first : first + IN_A_COMMAND])}"
        yield ":SOUR:SWE:RANG FIX"  # a change of range would show on the sample
        yield ":SOUR:SWE:CAB NEV"
        yield ":SOUR:VOLT:MODE LIST"
        yield f":SOUR:DEL {self.delay_s(line_frequency_Hz):.6f}"
        yield f":TRIG:DEL {round(self.wait_s(line_frequency_Hz), 4):g}"
        yield ":ARM:COUN 1"
        yield f":TRIG:COUN {len(levels)}"
        yield from self._inputs("ARM", self.start_line)
        yield from self._inputs("TRIG", self.step_line)
        yield f":TRIG:INP {'NONE' if self.step_line is None else 'SOUR'}"
        yield f":TRIG:OLIN {self.pulse_line}"
        yield f":TRIG:OUTP {EVENTS[self.pulse]}"
        yield ":TRAC:FEED:CONT NEV"
        yield ":TRAC:CLE"
        yield f":TRAC:POIN {len(levels)}"
        yield ":TRAC:FEED SENS"
        yield ":TRAC:TST:FORM ABS"
        yield ":TRAC:FEED:CONT NEXT"
        # The output goes off when the trigger count is over, without the host.
        yield ":SOUR:CLE:AUTO:MODE TCO"
        yield ":SOUR:CLE:AUTO ON"

    @staticmethod
    def _inputs(layer: str, line: int | None) -> Iterator[str]:
        if line is None:
            yield f":{layer}:SOUR IMM"
        else:
            yield f":{layer}:DIR ACC"
            yield f":{layer}:ILIN {line}"
            yield f":{layer}:SOUR TLIN"


# Back to one level and one reading at a time; the output is off.
BACK_TO_FIXED = (
    ":SOUR:VOLT 0",
    ":SOUR:VOLT:MODE FIX",
    ":SOUR:CLE:AUTO OFF",
    ":SOUR:DEL 0",
    ":TRIG:DEL 0",
    ":ARM:SOUR IMM",
    ":TRIG:SOUR IMM",
    ":TRIG:INP NONE",
    ":TRIG:OUTP NONE",
    ":ARM:COUN 1",
    ":TRIG:COUN 1",
    ":TRAC:FEED:CONT NEV",
)


@dataclass(frozen=True)
class SequencePoint:
    """One level of a sequence that was run.

    Attributes
    ----------
    level_V : float
        What was set.
    edge_t, edge_uncertainty_s : float
        When it was set, in station s, and how sure that is (+-).
    reading : Reading
        What was measured at it.
    """

    level_V: float
    edge_t: float
    edge_uncertainty_s: float
    reading: Reading


@dataclass(frozen=True)
class SequenceRun:
    """What came of a sequence.

    Attributes
    ----------
    sequence : BiasSequence
        As it was asked for.
    started : Exchange
        From before it was started to when its end was known, in station s.
    points : tuple of SequencePoint
        As many as were read: fewer than levels if it was ended.
    model : ClockModel or None
        Of the instrument's timer, from its stamps plus half a tick.
    """

    sequence: BiasSequence
    started: Exchange
    points: tuple[SequencePoint, ...]
    model: ClockModel | None

    @property
    def complete(self) -> bool:
        """Whether every level was set and read."""
        return len(self.points) == len(self.sequence.levels)
