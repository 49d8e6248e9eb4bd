"""Faults in the readings of the source: what comes out of its A/D converter."""

from .fault_board import FaultBoard, LiveFault
from .fault_tap import Tap
from .source_models import NOT_A_NUMBER, OVERFLOW
from .source_readings import Reading
from .source_settings import Settings

_OVERFLOW_BIT = 1


class Spoiler:
    """Spoils readings when their faults are due.

    Parameters
    ----------
    board : FaultBoard
        Says which.
    tap : Tap
        The source's; while it is not watched no fault waits here.
    settings : Settings
        The source's: they know the range.
    """

    def __init__(self, board: FaultBoard, tap: Tap, settings: Settings) -> None:
        self._board = board
        self._tap = tap
        self._settings = settings
        self._last: Reading | None = None

    def __call__(self, reading: Reading) -> None:
        """Spoil a reading in place, if a fault is due."""
        if self._tap.watched:
            text = f"{reading.volts:+.6E},{reading.amps:+.6E}".encode()
            for live in self._board.exchange(self._tap.where, text, ("reading",)):
                self._spoil(reading, live)
        self._last = reading

    def _spoil(self, reading: Reading, live: LiveFault) -> None:
        size = live.fault.size or 0.0
        match live.fault.kind:
            case "overflow":
                reading.amps = reading.ohms = OVERFLOW
                reading.status |= _OVERFLOW_BIT
            case "not_a_number":
                reading.amps = NOT_A_NUMBER
            case "spike":
                reading.amps += size
            case "range_glitch":
                reading.amps += size * self._settings.sense_scale("CURR").full
            case _ if self._last is not None:  # a stale one
                last = self._last
                reading.volts, reading.amps, reading.ohms = last.volts, last.amps, last.ohms
                reading.time, reading.status = last.time, last.status
