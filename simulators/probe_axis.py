"""One axis of the piezo controller: its module, its settings, and its motion in time."""

import math
from dataclasses import dataclass

import numpy as np

from .piezo import Amplifier, Gait, Stack
from .ports import Mount

CAPACITANCE_S = 1.0  # what a measurement of the capacitance takes
CABLE_NF = 0.2  # 2 m of cable with nothing at its end
BEND_TICK_S = 1e-3  # how finely a bend in progress is handed on


@dataclass(frozen=True)
class Module:
    """What a plug-in module of the controller can do."""

    name: str
    modes: tuple[str, ...]
    steps: bool
    scans: bool
    filters: dict[str, float | None]


MODULES = {
    module.name: module
    for module in (
        Module("ANM150", ("gnd", "cap", "stp"), steps=True, scans=False, filters={}),
        Module(
            "ANM200",
            ("gnd", "inp", "cap", "off"),
            steps=False,
            scans=True,
            filters={"1.6": 1.6, "16": 16.0, "160": 160.0, "1600": 1600.0},
        ),
        Module(
            "ANM300",
            ("gnd", "inp", "cap", "stp", "off", "stp+", "stp-"),
            steps=True,
            scans=True,
            filters={"off": None, "16": 16.0, "160": 160.0},
        ),
    )
}
STEPPING = ("stp", "stp+", "stp-")
OFFSETTING = ("off", "stp+", "stp-")


@dataclass
class _Train:
    """Steps under way; number k of them slips at ``since + k / frequency``."""

    since: float
    upwards: bool
    total: int | None
    done: int = 0


class Axis:
    """State of one axis; all methods expect the controller's lock to be held.

    Parameters
    ----------
    number : int
        1, 2, 3 as on the front plate.
    module : Module
        What is plugged in.
    mount : Mount
        What it carries.
    seed : int
        Of the bench.
    """

    def __init__(self, number: int, module: Module, mount: Mount, seed: int) -> None:
        self.number = number
        self.module = module
        self.serial = f"{module.name}A-M-1545-{3010040 + number}"
        self.front_panel = False
        self.stuck = False
        self.connected = True
        self.capacitance_factor = 1.0
        self.mode = "gnd"
        self.frequency_Hz = 1000
        self.amplitude_V = 30.0
        self.offset_V = 0.0
        self.filter = next(iter(module.filters), "off")
        self.ac_in = False
        self.dc_in = False
        self.pattern_up = list(range(256))
        self.pattern_down = list(range(255, -1, -1))
        self.trigger_up: int | None = None
        self.trigger_down: int | None = None
        self.capacitance_nF: float | None = None
        self.steps_made = 0
        self._mount = mount
        self.gait = Gait(seed, number - 1)
        self._output = Amplifier()
        self._stack = Stack()
        self._bend_nm = 0.0
        self._settled_at = -math.inf
        self._train: _Train | None = None
        self._measured_at = math.inf

    @property
    def missed(self) -> float:
        """Share of the steps that do not slip, see :class:`.Gait`."""
        return self.gait.missed

    @missed.setter
    def missed(self, share: float) -> None:
        self.gait.missed = share

    # -- what happens by itself ---------------------------------------------------------------

    def settle(self, now: float) -> None:
        """Carry out all that was due up to `now`; what was done is not undone for a past now."""
        now = self._settled_at = max(now, self._settled_at)
        train = self._train
        if train is not None:
            # The small part of a step forgives the rounding of k / frequency.
            due = math.floor((now - train.since) * self.frequency_Hz + 1e-6)
            if train.total is not None:
                due = min(due, train.total)
            if due > train.done:
                self._slip(due - train.done, train.upwards)
                train.done = due
            if train.done == train.total:
                self._train = None
        bend = self._stack.bend_nm(self._output.volts(now) if self.connected else 0.0)
        if bend != self._bend_nm:
            self._bend_nm = bend
            self._mount.bend(self.number - 1, bend)
        if now >= self._measured_at:
            self._measured_at = math.inf
            load = self._mount.capacitance_nF(self.number - 1) * self.capacitance_factor
            self.capacitance_nF = load if self.connected else CABLE_NF
            self.mode = "gnd"

    def _slip(self, count: int, upwards: bool) -> None:
        pattern = self.pattern_up if upwards else self.pattern_down
        swing = (max(pattern) - min(pattern)) / 255.0
        lengths = self.gait.lengths_nm(self.steps_made, count, self.amplitude_V * swing, upwards)
        self.steps_made += count
        if self.stuck or not self.connected:
            return
        for length in lengths[np.nonzero(lengths)]:
            self._mount.step(self.number - 1, float(length))

    def next_event(self, now: float) -> float:
        """Return when something happens by itself next (s); infinity when nothing does."""
        times = [self._measured_at]
        if self._train is not None:
            times.append(self._train.since + (self._train.done + 1) / self.frequency_Hz)
        if not self._output.settled(now):
            times.append(now + BEND_TICK_S)
        return min(times)

    def end_of_steps(self) -> float | None:
        """Return when the steps under way end (s), None when there are none."""
        train = self._train
        if train is None:
            return None
        return math.inf if train.total is None else train.since + train.total / self.frequency_Hz

    def end_of_measurement(self) -> float | None:
        """Return when the capacitance will be known (s), None when it is not being measured."""
        return None if self._measured_at == math.inf else self._measured_at

    @property
    def moving(self) -> bool:
        """True while steps are under way."""
        return self._train is not None

    # -- what the console does ----------------------------------------------------------------

    def set_mode(self, now: float, mode: str) -> None:
        """Switch to a mode of the module; steps under way end, the output follows."""
        if mode == self.mode and mode != "cap":
            return
        self._train = None
        self._measured_at = now + CAPACITANCE_S if mode == "cap" else math.inf
        self.mode = mode
        self.follow_offset(now)

    def follow_offset(self, now: float) -> None:
        """Let the output head for the offset, where the mode puts it out, else for zero."""
        level = self.offset_V if self.mode in OFFSETTING else 0.0
        self._output.aim(now, level, self.module.filters.get(self.filter))

    def set_frequency(self, hertz: int) -> None:
        """Change the rate of the steps; those under way go on from here at the new one."""
        train = self._train
        if train is not None:
            train.since += train.done / self.frequency_Hz
            train.total = None if train.total is None else train.total - train.done
            train.done = 0
        self.frequency_Hz = hertz

    def begin_steps(self, now: float, upwards: bool, count: int | None) -> None:
        """Start `count` steps, or without end for None; they replace any under way."""
        self._train = _Train(now, upwards, count)

    def end_steps(self) -> None:
        """Make no more steps."""
        self._train = None

    def power_cycle(self, now: float) -> None:
        """Take the settings of power-on: grounded, no offset, nothing under way."""
        self.end_steps()
        self.offset_V = 0.0
        self.set_mode(now, "gnd")
        self.follow_offset(now)
        self.frequency_Hz, self.amplitude_V = 1000, 30.0
        self.ac_in = self.dc_in = self.front_panel = False
        self.trigger_up = self.trigger_down = self.capacitance_nF = None
        self.filter = next(iter(self.module.filters), "off")
        self.pattern_up, self.pattern_down = list(range(256)), list(range(255, -1, -1))

    def output_V(self, now: float) -> float:
        """Return the voltage at the output now: offset and stepping waveform."""
        volts = self._output.volts(now)
        train = self._train
        if train is None:
            return volts
        pattern = self.pattern_up if train.upwards else self.pattern_down
        phase = (now - train.since) * self.frequency_Hz - train.done
        # The ends of the ramp, where the output passes zero, are too short to be sampled.
        wave = self.amplitude_V * pattern[min(254, max(1, int(phase * 256.0)))] / 255.0
        return min(150.0, max(0.0, volts - wave if self.mode == "stp-" else volts + wave))
