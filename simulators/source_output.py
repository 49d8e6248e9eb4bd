"""The output stage of a SourceMeter: what it puts on the two terminals."""

import math
from collections.abc import Callable

from .ports import Terminals
from .source_settings import Settings

_AUTO_OHMS_VOLTS = 21.0  # voltage limit of the auto ohms test current


class OutputStage:
    """Source, output relay, output enable line and voltage limit.

    Parameters
    ----------
    terminals : Terminals
        What is driven.
    settings : Settings
        Read each time; the stage keeps only whether it is on and what a sweep has put out.
    """

    def __init__(self, terminals: Terminals, settings: Settings) -> None:
        self._terminals = terminals
        self._settings = settings
        self.on = False
        self.enable_line = True  # the interlock plug is in
        self.interlocked = False  # the line counts, whatever ``:OUTPut:ENABle`` says
        self.hot = False  # too hot: the output is off until it has cooled down
        # Called whenever the output or its level may have changed.
        self.on_change: Callable[[], None] = lambda: None
        self.point: float | None = None  # what a sweep or list sources now
        self.apply()

    @property
    def function(self) -> str:
        """The source in use: ``VOLT`` or ``CURR``."""
        return "CURR" if self._settings.auto_ohms else self._settings.source

    @property
    def level(self) -> float:
        """The level (V or A) that the source is programmed to."""
        if self._settings.auto_ohms:
            return self._settings.ohms_test_current()
        if self.point is not None:
            return self.point
        return self._settings.source_side(self._settings.source).level

    @property
    def blocked(self) -> bool:
        """True if the output enable line or the temperature forbids the output."""
        in_use = self._settings.output_enable or self.interlocked
        return self.hot or (in_use and not self.enable_line)

    @property
    def blocked_code(self) -> int:
        """The error of who wants a blocked output on."""
        return 810 if self.hot else 802

    @property
    def volts_clipped(self) -> bool:
        """True while the V-source is held back by its voltage limit."""
        return self.on and self.function == "VOLT" and abs(self.level) > self._settings.volt_limit

    def switch(self, on: bool) -> None:
        """Turn the output on or off."""
        self.on = on
        if not on:
            self.point = None
        self.apply()

    def apply(self) -> None:
        """Put the present state on the terminals."""
        if self.on:
            self._source()
        else:
            self._rest()
        self.on_change()

    def _source(self) -> None:
        settings, level = self._settings, self.level
        if self.function == "VOLT":
            bound = settings.volt_limit
            self._terminals.drive(min(max(level, -bound), bound), settings.current_limit())
        elif level == 0.0:
            self._terminals.drive(None, 0.0)
        else:
            # A current source with a voltage limit is a voltage source with a current limit.
            bound = _AUTO_OHMS_VOLTS if settings.auto_ohms else settings.voltage_limit()
            bound = min(bound, settings.volt_limit)
            self._terminals.drive(math.copysign(bound, level), abs(level))

    def _rest(self) -> None:
        settings = self._settings
        small = 0.005 * settings.sense_scale("CURR").full
        if settings.off_state in ("HIMP", "GUAR"):
            # GUARd is a current source of 0 A: for the load the same as an open circuit.
            self._terminals.drive(None, 0.0)
        elif settings.off_state == "NORM":
            self._terminals.drive(0.0, small)
        elif settings.source == "VOLT":
            self._terminals.drive(0.0, settings.current_limit())
        else:
            self._terminals.drive(0.0, max(abs(settings.curr.level), small))

    def in_compliance(self) -> bool:
        """Tell whether the source is limited now by its compliance."""
        if not self.on:
            return False
        if self.function == "VOLT":
            return self._terminals.limiting()
        return self.level != 0.0 and not self._terminals.limiting()

    def range_compliance(self) -> bool:
        """Tell whether the limit is that of a fixed measurement range, not the one set."""
        settings = self._settings
        if self.function == "VOLT":
            return settings.current_limit() < settings.sense_curr.protection
        return settings.voltage_limit() < settings.sense_volt.protection
