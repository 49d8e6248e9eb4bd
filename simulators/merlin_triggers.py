"""The trigger outputs of a Merlin: which of its inner signals each of them shows."""

import threading
from functools import partial

from .clock import Clock
from .lines import Line
from .merlin_settings import Settings

# What TriggerOutTTL and TriggerOutLVDS select.
IN_TTL, IN_LVDS, IN_TTL_DELAYED, IN_LVDS_DELAYED, SHUTTER, BURST, READOUT, BUSY = range(8)


class TriggerOutputs:
    """Two output lines, each following the signal that its variable selects.

    Never call it with a lock held that a listener of the lines may take.
    """

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._lock = threading.Lock()
        self._signals = [False] * 8
        self.ttl = Line("camera trigger out TTL")
        self.lvds = Line("camera trigger out LVDS")

    def show(self, signal: int, level: bool) -> None:
        """Change one of the inner signals."""
        with self._lock:
            self._signals[signal] = level
        self.follow()

    def follow(self) -> None:
        """Drive the lines as the signals and the settings say."""
        for line, suffix in ((self.ttl, "TTL"), (self.lvds, "LVDS")):
            with self._lock:
                selected = self._settings.whole(f"TRIGGEROUT{suffix}")
                inverted = bool(self._settings.whole(f"TRIGGEROUT{suffix}INVERT"))
                level = self._signals[selected] != inverted
                if selected == READOUT:
                    level = (self._signals[READOUT] or self._signals[SHUTTER]) != inverted
            line.drive(level)

    def input_changed(self, lvds: bool, level: bool) -> None:
        """Show the level of a trigger input, at once and delayed."""
        self.show(IN_LVDS if lvds else IN_TTL, level)
        delayed = IN_LVDS_DELAYED if lvds else IN_TTL_DELAYED
        wait_s = self.delay_s(lvds)
        if wait_s == 0.0:
            self.show(delayed, level)
        else:
            self._clock.call_at(self._clock.now() + wait_s, partial(self.show, delayed, level))

    def delay_s(self, lvds: bool) -> float:
        """Return the delay that is set for an input, in seconds."""
        suffix, unit_s = ("LVDS", 1e-6) if lvds else ("TTL", 1e-9)
        return self._settings.whole(f"TRIGGEROUT{suffix}DELAY") * unit_s
