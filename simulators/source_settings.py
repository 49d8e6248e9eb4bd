"""What a SourceMeter has been told: every setting that ``*RST`` puts back."""

import copy
from dataclasses import dataclass, field, fields
from typing import Any

from .scpi import ScpiError
from .source_models import Model, Scale, fitting

ELEMENTS = ("VOLT", "CURR", "RES", "TIME", "STAT")
MOST_POINTS = 2500


@dataclass
class SourceSide:
    """The V-source or the I-source: range (full scale), level, sweep and list."""

    range: float
    auto_range: bool = True
    mode: str = "FIX"
    level: float = 0.0
    triggered: float | None = None
    start: float = 0.0
    stop: float = 0.0
    step: float | None = None
    values: list[float] = field(default_factory=list)
    list_start: int = 1


@dataclass
class SenseSide:
    """The voltmeter or the ammeter: range, and the compliance of the other kind of source."""

    range: float
    lower_limit: float
    protection: float
    auto_range: bool = True


@dataclass
class Layer:
    """The arm layer or the trigger layer."""

    source: str = "IMM"
    count: float = 1
    direction: str = "ACC"
    input_line: int = 1
    output_line: int = 2
    outputs: list[str] = field(default_factory=list)


@dataclass
class Limit:
    """One limit test of the CALC2 block."""

    state: bool = False
    upper: float = 1.0
    lower: float = -1.0
    upper_pattern: int = 15
    lower_pattern: int = 15
    pass_pattern: int = 15
    failed: bool = False


@dataclass
class Settings:
    """The whole set-up, with its ``*RST`` values."""

    model: Model
    source: str = "VOLT"
    memory_sweep: bool = False
    delay: float = 0.001
    delay_auto: bool = True
    auto_off: bool = False
    auto_off_mode: str = "ALW"
    volt_limit: float = 0.0
    spacing: str = "LIN"
    points: int = MOST_POINTS
    sweep_direction: str = "UP"
    sweep_ranging: str = "BEST"
    compliance_abort: str = "NEV"
    memory_points: int = 100
    memory_start: int = 1
    soak: float = 0.0
    off_state: str = "NORM"
    output_enable: bool = False
    functions: list[str] = field(default_factory=lambda: ["CURR"])
    concurrent: bool = True
    ohms_mode: str = "AUTO"
    ohms_range: float = 2e5
    ohms_auto_range: bool = True
    offset_compensated: bool = False
    nplc: float = 1.0
    range_sync: bool = False
    filter_on: bool = False
    filter_type: str = "REP"
    filter_count: int = 10
    autozero: bool = True
    remote_sense: bool = False
    guard: str = "CABL"
    range_change: str = "SING"
    time_auto_reset: bool = False
    arm: Layer = field(default_factory=Layer)
    arm_timer: float = 0.1
    trigger: Layer = field(default_factory=Layer)
    trigger_delay: float = 0.0
    trigger_inputs: list[str] = field(default_factory=lambda: ["SOUR"])
    data_format: str = "ASC"
    swapped: bool = False
    elements: list[str] = field(default_factory=lambda: list(ELEMENTS))
    calc_elements: list[str] = field(default_factory=lambda: ["CALC"])
    register_format: str = "ASC"
    pattern_format: str = "ASC"
    front: bool = True
    pattern: int = 15
    pattern_clear_auto: bool = False
    pattern_clear_delay: float = 1e-4
    end_of_test: str = "EOT"
    end_of_test_busy: int = 0
    math: bool = False
    math_name: str = "POWER"
    limit_feed: str = "VOLT"
    null: bool = False
    null_offset: float = 0.0
    compliance_test: bool = False
    compliance_test_fail: str = "IN"
    compliance_test_failed: bool = False
    limits: dict[int, Limit] = field(
        default_factory=lambda: {n: Limit() for n in (2, 3, 5, 6, 7, 8, 9, 10, 11, 12)}
    )
    statistic: str = "MEAN"
    volt: SourceSide = field(init=False)
    curr: SourceSide = field(init=False)
    sense_volt: SenseSide = field(init=False)
    sense_curr: SenseSide = field(init=False)

    def __post_init__(self) -> None:
        """Fill in what depends on the model."""
        self.volt = SourceSide(20.0)
        self.curr = SourceSide(1e-4)
        self.volt_limit = self.model.max_volts
        self.sense_volt = SenseSide(20.0, self.model.volts[0].limit, 21.0)
        self.sense_curr = SenseSide(1e-4, self.model.amps[0].full, 1.05e-4)

    def snapshot(self) -> "Settings":
        """Return a copy that later changes do not touch."""
        return copy.deepcopy(self)

    def restore(self, other: "Settings") -> None:
        """Take over everything from a snapshot."""
        taken = copy.deepcopy(other)
        for item in fields(self):
            setattr(self, item.name, getattr(taken, item.name))

    def reset(self) -> None:
        """Put every setting back to its ``*RST`` value."""
        self.restore(Settings(self.model))

    # -- names under which commands find their setting --------------------------------------

    def get(self, path: str) -> Any:
        """Return a setting by its dotted name."""
        found: Any = self
        for name in path.split("."):
            found = getattr(found, name)
        return found

    def put(self, path: str, value: Any) -> None:
        """Change a setting by its dotted name."""
        *owners, name = path.split(".")
        owner: Any = self
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, value)

    def source_side(self, function: str) -> SourceSide:
        """Return the settings of the V-source (``VOLT``) or the I-source (``CURR``)."""
        return self.volt if function == "VOLT" else self.curr

    def sense_side(self, function: str) -> SenseSide:
        """Return the settings of the voltmeter (``VOLT``) or the ammeter (``CURR``)."""
        return self.sense_volt if function == "VOLT" else self.sense_curr

    # -- rules of the source ----------------------------------------------------------------

    @property
    def auto_ohms(self) -> bool:
        """True while the ohms function sets the source by itself."""
        return "RES" in self.functions and self.ohms_mode == "AUTO"

    def largest(self, function: str) -> float:
        """Return the largest level (V or A) of a source."""
        return self.model.max_volts if function == "VOLT" else self.model.max_amps

    def set_level(self, function: str, level: float) -> None:
        """Set a level; a fixed range is not left.

        Raises
        ------
        ScpiError
            -222 beyond the fixed range, +826 beyond the power limit.
        """
        side = self.source_side(function)
        if side.auto_range:
            scale = fitting(self.model.scales(function), level)
            self._hold_source_power(function, scale)
            side.range = scale.full
        elif abs(level) > self.source_scale(function).limit * (1 + 1e-9):
            raise ScpiError(-222)
        side.level = level

    def set_source_range(self, function: str, value: float) -> None:
        """Choose a fixed source range; one that cannot hold the level is refused with -221."""
        scale = fitting(self.model.scales(function), value)
        side = self.source_side(function)
        if abs(side.level) > scale.limit * (1 + 1e-9):
            raise ScpiError(-221)
        self._hold_source_power(function, scale)
        side.range, side.auto_range = scale.full, False

    def set_source_auto(self, function: str, state: bool) -> None:
        """Switch auto-range of a source; switched on, it chooses for the present level."""
        side = self.source_side(function)
        side.auto_range = state
        if state and side.level:
            side.range = fitting(self.model.scales(function), side.level).full

    def source_scale(self, function: str) -> Scale:
        """Return the present range of a source."""
        return fitting(self.model.scales(function), self.source_side(function).range)

    def sweep_step(self, function: str) -> float:
        """Return the step (V or A) of a linear sweep."""
        side = self.source_side(function)
        if side.step is not None:
            return side.step
        return (side.stop - side.start) / (self.points - 1) if self.points > 1 else 0.0

    def sweep_points(self) -> int:
        """Return the number of points of the sweep of the present source."""
        side = self.source_side(self.source)
        if side.step is None or side.step == 0.0 or self.spacing == "LOG":
            return self.points
        return min(MOST_POINTS, int(abs((side.stop - side.start) / side.step) + 1.5))

    # -- rules of the meter -----------------------------------------------------------------

    def compliance_scale(self, function: str) -> Scale:
        """Return the smallest measurement range that takes the compliance."""
        return fitting(self.model.scales(function), self.sense_side(function).protection)

    def sense_scale(self, function: str) -> Scale:
        """Return the present measurement range; that of the source where it sources."""
        if self.source == function:
            return self.source_scale(function)
        return fitting(self.model.scales(function), self.sense_side(function).range)

    def set_protection(self, function: str, value: float) -> None:
        """Set the compliance.

        Raises
        ------
        ScpiError
            +822 below 0.1 % of the present measurement range, +826 beyond the power limit.
        """
        side, value = self.sense_side(function), abs(value)
        smallest = 1e-3 * side.range
        if value < smallest * (1 - 1e-9):
            raise ScpiError(822)
        if function == "CURR":
            self._hold_power(self.volt.range, value)
        else:
            self._hold_power(value, self.curr.range)
        side.protection = value
        if self.range_sync and not side.auto_range:
            side.range = self.compliance_scale(function).full

    def set_sense_range(self, function: str, value: float) -> None:
        """Choose a fixed measurement range, and leave auto-range.

        Raises
        ------
        ScpiError
            -221 for the quantity that is sourced; +824 beyond the range of the compliance;
            +822 if the compliance were less than 0.1 % of the new range.
        """
        if self.source == function:
            raise ScpiError(-221)
        side = self.sense_side(function)
        scale = fitting(self.model.scales(function), value)
        if scale.full > max(side.range, self.compliance_scale(function).full) * (1 + 1e-9):
            raise ScpiError(824)
        if side.protection < 1e-3 * scale.full * (1 - 1e-9):
            raise ScpiError(822)
        side.range, side.auto_range = scale.full, False

    def current_limit(self) -> float:
        """Return the current (A) at which the V-source limits: real or range compliance."""
        side = self.sense_curr
        if side.auto_range:
            return side.protection
        return min(side.protection, self.sense_scale("CURR").limit)

    def voltage_limit(self) -> float:
        """Return the voltage (V) at which the I-source limits: real or range compliance."""
        side = self.sense_volt
        if side.auto_range:
            return side.protection
        return min(side.protection, self.sense_scale("VOLT").limit)

    def _hold_source_power(self, function: str, scale: Scale) -> None:
        if function == "VOLT":
            self._hold_power(scale.full, self.sense_curr.protection)
        else:
            self._hold_power(self.sense_volt.protection, scale.full)

    def _hold_power(self, volts: float, amps: float) -> None:
        """Hold that the 200 V range gives no more than its current (error +826)."""
        if volts > 21.0 and amps > self.model.high_volts_amps * (1 + 1e-9):
            raise ScpiError(826)

    def ohms_test_current(self) -> float:
        """Return the test current (A) of the present auto ohms range."""
        return next(amps for full, amps in self.model.ohms if full >= self.ohms_range * 0.999)
