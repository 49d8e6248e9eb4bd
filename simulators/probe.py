"""The simulated probe controller: an attocube ANC300 with three axes.

Written from the console commands of the ANC300's manual and from what its users recorded.  It
has no encoder: what a step was worth only the specimen knows.
"""

import math
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .clock import Alarm, Clock
from .lines import Line
from .ports import Mount
from .probe_axis import MODULES, STEPPING, Axis
from .probe_console import VERSION, Console, RefusedError

SERIAL = "ANC300B-C-1514-3006076"
MAX_HZ = 10_000
MAX_V = 150.0
MAX_STEPS = 1_000_000
# How finely motion is handed on, and a waiting console looks, in seconds of wall time.
MOTION_TICK_S = 1e-3
LOOK_S = 1e-2

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
HELP = (
    "capw echo geta getaci getc getcser getdci getf getfil getm geto getpd getpu getser gettd "
    "getto gettu getv help seta setaci setdci setf setfil setm setpd setpu settd setto settu "
    "setv stepd stepu stepw stop ver"
)

T = TypeVar("T")
Handler = Callable[[Axis, list[str]], str]


class ProbeController:
    """An ANC300 behind a serial console and a network console with login.

    Parameters
    ----------
    clock : Clock
        Whose time it follows.
    mount : Mount
        What the three axes carry.
    password : str
        Of the network console.
    seed : int
        Fixes the scatter of the steps.
    modules : tuple of str
        What is plugged in as axes 1, 2, 3: "ANM150" (steps), "ANM200" (scans) or "ANM300" (both).

    Raises
    ------
    ValueError
        A module that is not known.
    """

    def __init__(
        self,
        clock: Clock,
        mount: Mount,
        *,
        password: str = "123456",
        seed: int = 1,
        modules: tuple[str, ...] = ("ANM300", "ANM300", "ANM300"),
    ) -> None:
        for name in modules:
            if name not in MODULES:
                raise ValueError(f"module is {name!r}; choose one of {', '.join(MODULES)}")
        self._clock = clock
        self._lock = threading.RLock()
        self._closed = False
        self._alarm: Alarm | None = None
        speed = float(getattr(clock, "speed", 1.0))
        # A clock without a pace of its own is followed event by event.
        self._tick_s = MOTION_TICK_S * speed if math.isfinite(speed) else 0.0
        self._look_s = LOOK_S * speed if math.isfinite(speed) else 0.0
        self.axes = tuple(
            Axis(number, MODULES[name], mount, seed) for number, name in enumerate(modules, 1)
        )
        self.trigger_in = tuple(Line(f"probe trigger in {n}") for n in range(1, 8))
        self.trigger_out = tuple(Line(f"probe trigger out {n}") for n in range(1, 4))
        for number, line in enumerate(self.trigger_in, 1):
            line.listen(partial(self._triggered, number))
        # Told whether any axis makes steps, when that changes.
        self.on_motion: Callable[[bool], None] = lambda moving: None
        self._moved = False
        self._handlers = self._table()
        self.console = Console(self)
        self.network = Console(self, password)

    # -- for the bench ------------------------------------------------------------------------

    @property
    def moving(self) -> bool:
        """True while an axis makes steps."""
        with self._lock:
            self.settle()
            return any(axis.moving for axis in self.axes)

    def settle(self) -> None:
        """Carry out all motion that was due up to now."""
        with self._lock:
            now = self._clock.now()
            for axis in self.axes:
                axis.settle(now)
            self._look_at_motion()

    def _look_at_motion(self) -> None:
        moving = any(axis.moving for axis in self.axes)
        if moving != self._moved:
            self._moved = moving
            self.on_motion(moving)

    def set_axes(self, name: str, value: object, number: int | None = None) -> None:
        """Set an attribute of all axes, or of axis `number`, that is not a setting of its own."""
        with self._lock:
            self.settle()
            for axis in self.axes:
                if number in (None, axis.number):
                    setattr(axis, name, value)
            self.settle()
            self._plan()

    def power_cycle(self) -> None:
        """Switch it off and on again: motion ends, all axes are grounded."""
        with self._lock:
            self.settle()
            for axis in self.axes:
                axis.power_cycle(self._clock.now())
            self._look_at_motion()
            self._plan()

    def close(self) -> None:
        """End all motion and release who waits for it."""
        with self._lock:
            self._closed = True
            for axis in self.axes:
                axis.end_steps()
            if self._alarm is not None:
                self._alarm.cancel()

    def _plan(self) -> None:
        """Have the next thing that happens by itself carried out in time."""
        self._look_at_motion()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = self._clock.now()
        due = min(axis.next_event(now) for axis in self.axes)
        if due < math.inf and not self._closed:
            self._alarm = self._clock.call_at(max(due, now + self._tick_s), self._wake)

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                self.settle()
                self._plan()

    def _triggered(self, number: int, level: bool) -> None:
        if not level:
            return
        with self._lock:
            self.settle()
            for axis in self.axes:
                for upwards, line in ((True, axis.trigger_up), (False, axis.trigger_down)):
                    if line == number and axis.mode in STEPPING and not axis.moving:
                        axis.begin_steps(self._clock.now(), upwards, 1)
            self._plan()

    # -- for the consoles ---------------------------------------------------------------------

    def execute(self, line: str, before_waiting: Callable[[], None]) -> str:
        """Carry out one request and return the text of the reply, each line with its end.

        Raises
        ------
        RefusedError
            It is not carried out; nothing has moved.
        """
        name, *words = line.split()
        match name:
            case "ver":
                return "".join(f"{text}\r\n" for text in VERSION)
            case "getcser":
                return f"{SERIAL}\r\n"
            case "help":
                return f"{HELP}\r\n"
            case "getto" | "setto":
                return self._trigger_output(name, words)
            case "stepw":
                self._wait(self._axis(words).end_of_steps, before_waiting)
                return ""
            case "capw":
                # The reply has always been zero; the value is read with getc.
                self._wait(self._axis(words).end_of_measurement, before_waiting)
                return "capacitance = 0.000000 nF\r\n"
        if name not in self._handlers:
            raise RefusedError("Unknown command")
        with self._lock:
            axis = self._axis(words)
            self.settle()
            if not name.startswith("get") and name != "stop" and axis.front_panel:
                raise RefusedError("Axis not in computer control mode")
            text = self._handlers[name](axis, words[1:])
            self._plan()
        return text

    def _axis(self, words: list[str]) -> Axis:
        if not words:
            raise RefusedError("Missing parameter")
        if not words[0].isdecimal() or not 1 <= int(words[0]) <= len(self.axes):
            raise RefusedError("Wrong axis type")
        return self.axes[int(words[0]) - 1]

    def _wait(self, end: Callable[[], float | None], before_waiting: Callable[[], None]) -> None:
        """Block this console until `end` returns None: done, or stopped from another console."""
        before_waiting()
        while True:
            with self._lock:
                self.settle()
                self._plan()
                now = self._clock.now()
                until = end()
                event = min(axis.next_event(now) for axis in self.axes)
            if until is None or self._closed:
                return
            self._clock.wait_until(min(until, max(event, now + self._look_s)))

    def _trigger_output(self, name: str, words: list[str]) -> str:
        if not words or words[0] not in ("1", "2", "3"):
            raise RefusedError("Wrong trigger output")
        line = self.trigger_out[int(words[0]) - 1]
        if name == "getto":
            return f"trigger = {int(line.level)}\r\n"
        line.drive(_choice(words[1:], {"0": False, "1": True}))
        return ""

    def _table(self) -> dict[str, Handler]:
        return {
            "getser": lambda axis, words: f"{axis.serial}\r\n",
            "getm": lambda axis, words: f"mode = {axis.mode}\r\n",
            "setm": self._set_mode,
            # This one line ends in LF alone: three users of the instrument noted it.
            "getf": _for_steppers(lambda axis, words: f"frequency = {axis.frequency_Hz} Hz\n"),
            "setf": _for_steppers(self._set_frequency),
            "getv": _for_steppers(lambda axis, words: _volts(axis.amplitude_V)),
            "setv": _for_steppers(self._set_amplitude),
            "geta": lambda axis, words: _volts(axis.offset_V),
            "seta": _for_scanners(self._set_offset),
            "geto": lambda axis, words: _volts(axis.output_V(self._clock.now())),
            "getc": self._get_capacitance,
            "stepu": _for_steppers(partial(self._step, True)),
            "stepd": _for_steppers(partial(self._step, False)),
            "stop": self._stop,
            "getaci": _for_scanners(lambda axis, words: f"acin = {_switch(axis.ac_in)}\r\n"),
            "setaci": _for_scanners(self._set_ac_in),
            "getdci": _for_scanners(lambda axis, words: f"dcin = {_switch(axis.dc_in)}\r\n"),
            "setdci": _for_scanners(self._set_dc_in),
            "getfil": _for_scanners(lambda axis, words: f"filter = {axis.filter}\r\n"),
            "setfil": _for_scanners(self._set_filter),
            "getpu": _for_steppers(lambda axis, words: _lines(axis.pattern_up)),
            "setpu": _for_steppers(self._set_pattern_up),
            "getpd": _for_steppers(lambda axis, words: _lines(axis.pattern_down)),
            "setpd": _for_steppers(self._set_pattern_down),
            "gettu": _for_steppers(lambda axis, words: _trigger(axis.trigger_up)),
            "settu": _for_steppers(self._set_trigger_up),
            "gettd": _for_steppers(lambda axis, words: _trigger(axis.trigger_down)),
            "settd": _for_steppers(self._set_trigger_down),
        }

    def _set_mode(self, axis: Axis, words: list[str]) -> str:
        mode = _choice(words, {mode: mode for mode in axis.module.modes})
        axis.set_mode(self._clock.now(), mode)
        return ""

    def _set_frequency(self, axis: Axis, words: list[str]) -> str:
        axis.set_frequency(int(_number(words, 1, MAX_HZ)))
        return ""

    def _set_amplitude(self, axis: Axis, words: list[str]) -> str:
        axis.amplitude_V = _number(words, 0.0, MAX_V)
        return ""

    def _set_offset(self, axis: Axis, words: list[str]) -> str:
        axis.offset_V = _number(words, 0.0, MAX_V)
        axis.follow_offset(self._clock.now())
        return ""

    def _set_filter(self, axis: Axis, words: list[str]) -> str:
        axis.filter = _choice(words, {name: name for name in axis.module.filters})
        axis.follow_offset(self._clock.now())
        return ""

    def _set_ac_in(self, axis: Axis, words: list[str]) -> str:
        axis.ac_in = _choice(words, {"on": True, "off": False})
        return ""

    def _set_dc_in(self, axis: Axis, words: list[str]) -> str:
        axis.dc_in = _choice(words, {"on": True, "off": False})
        return ""

    def _set_pattern_up(self, axis: Axis, words: list[str]) -> str:
        axis.pattern_up = _pattern(words)
        return ""

    def _set_pattern_down(self, axis: Axis, words: list[str]) -> str:
        axis.pattern_down = _pattern(words)
        return ""

    def _set_trigger_up(self, axis: Axis, words: list[str]) -> str:
        axis.trigger_up = _trigger_line(words)
        return ""

    def _set_trigger_down(self, axis: Axis, words: list[str]) -> str:
        axis.trigger_down = _trigger_line(words)
        return ""

    def _get_capacitance(self, axis: Axis, words: list[str]) -> str:
        value = axis.capacitance_nF
        return "capacitance = ?\r\n" if value is None else f"capacitance = {value:.6f} nF\r\n"

    def _step(self, upwards: bool, axis: Axis, words: list[str]) -> str:
        count = None if words[:1] == ["c"] else int(_number(words, 1, MAX_STEPS))
        if axis.mode not in STEPPING:
            raise RefusedError("Axis in wrong mode")
        axis.begin_steps(self._clock.now(), upwards, count)
        return ""

    def _stop(self, axis: Axis, words: list[str]) -> str:
        axis.end_steps()
        return ""


def _for_steppers(handler: Handler) -> Handler:
    def guarded(axis: Axis, words: list[str]) -> str:
        if not axis.module.steps:
            raise RefusedError("Wrong axis type")
        return handler(axis, words)

    return guarded


def _for_scanners(handler: Handler) -> Handler:
    def guarded(axis: Axis, words: list[str]) -> str:
        if not axis.module.scans:
            raise RefusedError("Wrong axis type")
        return handler(axis, words)

    return guarded


def _volts(value: float) -> str:
    return f"voltage = {value:.6f} V\r\n"


def _switch(value: bool) -> str:
    return "on" if value else "off"


def _lines(values: list[int]) -> str:
    return "".join(f"{value}\r\n" for value in values)


def _trigger(line: int | None) -> str:
    return f"trigger = {'off' if line is None else line}\r\n"


def _number(words: list[str], low: float, high: float) -> float:
    if not words:
        raise RefusedError("Missing parameter")
    if not NUMBER.fullmatch(words[0]):
        raise RefusedError("Wrong parameter")
    value = float(words[0])
    if not low <= value <= high:
        raise RefusedError("Value out of range")
    return value


def _choice(words: list[str], choices: dict[str, T]) -> T:
    if not words:
        raise RefusedError("Missing parameter")
    if words[0] not in choices:
        raise RefusedError("Wrong parameter")
    return choices[words[0]]


def _pattern(words: list[str]) -> list[int]:
    if len(words) != 256:
        raise RefusedError("Wrong number of parameters")
    return [int(_number([word], 0, 255)) for word in words]


def _trigger_line(words: list[str]) -> int | None:
    lines: dict[str, int | None] = {str(number): number for number in range(1, 8)}
    return _choice(words, {"off": None, **lines})
