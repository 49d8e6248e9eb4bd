"""The tables of a station file: each key, its type and what it may be."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from .dose.budgets import Budget, make_budget
from .errors import ConfigError

BENCH = "bench"  # an address that stands for "the simulated bench's"

Number = Annotated[float, Strict()]  # a number is a number: neither true nor "5"
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
Delay = Annotated[Number, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Table(BaseModel):
    """A table of a station file: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StationTable(Table):
    """``[station]``: name, and where data go."""

    name: str = Field(min_length=1)
    data: str = "runs"


class BenchTable(Table):
    """``[bench]``: start a simulated bench and use its instruments."""

    preset: str = "fig2"
    seed: int = Field(1, ge=0)
    speed: Annotated[Positive, Field(le=1000)] = 1.0
    model: Literal["2400", "2450", "6430"] = "6430"
    size: Literal[256, 512, 1024, 2048] = 512
    camera_clock_offset: Annotated[Number, Field(ge=-1e8, le=1e8)] = 0.0
    camera_clock_drift: Annotated[Number, Field(ge=-0.01, le=0.01)] = 0.0
    camera_loss: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    faults: tuple[str, ...] = ()


class BiasSourceTable(Table):
    """``[bias_source]``: a source-measure unit that speaks the SCPI-2400 dialect."""

    driver: Literal["keithley-2400"] = "keithley-2400"
    resource: str
    visa_library: str = "@py"
    model: str = ""
    serial_number: str = ""
    baud_rate: Annotated[int, Field(ge=300, le=57600)] = 9600
    max_bias_V: Annotated[Positive, Field(le=210)] = 10.0
    compliance_A: Annotated[Positive, Field(le=0.1)] = 1e-8
    nplc: Annotated[Number, Field(ge=0.01, le=10)] = 1.0
    line_frequency_Hz: Literal[50, 60] = 50
    dead_man_s: Annotated[Number, Field(ge=0, le=60)] = 2.0

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        # A conversion of V and one of A, and what is between them; three of these make a hold.
        least = max(0.5, 3.3 * (2.0 * self.nplc / self.line_frequency_Hz + 2e-3))
        if 0.0 < self.dead_man_s < least:
            raise ValueError(
                f"dead_man_s: {self.dead_man_s:g} s is too short for readings at nplc "
                f"{self.nplc:g}; give at least {least:.2g}, or 0 for a bias that outlives us"
            )
        return self


class ProbeTable(Table):
    """``[probe]``: an ANC300 console with three axes."""

    driver: Literal["anc300"] = "anc300"
    port: str
    password: str = ""
    axes: tuple[int, int, int] = (1, 2, 3)
    frequency_Hz: Annotated[int, Field(ge=1, le=10000)] = 1000
    amplitude_V: Annotated[Positive, Field(le=150)] = 30.0
    max_fine_V: Annotated[Positive, Field(le=150)] = 150.0
    max_steps: Annotated[int, Field(gt=0)] = 200

    @model_validator(mode="after")
    def _three_axes(self) -> Self:
        if len(set(self.axes)) != 3 or not all(1 <= axis <= 7 for axis in self.axes):
            raise ValueError("axes: give three different axis numbers from 1 to 7, for x, y, z")
        return self


class CameraTable(Table):
    """``[camera]``: a Merlin control and data server."""

    driver: Literal["merlin"] = "merlin"
    host: str
    control_port: Port = 6341
    data_port: Port = 6342
    pixel_size_nm: Positive
    frames_per_file: Annotated[int, Field(ge=1, le=100_000)] = 256
    ring_MB: Annotated[Positive, Field(le=1_000_000)] = 512.0
    look_back_s: Annotated[Number, Field(ge=0, le=3600)] = 0.0
    method: Literal["auto", "direct", "buffered"] = "auto"
    compression: Literal["", "zstd", "deflate"] = ""
    tiff: Literal["auto", "classic", "bigtiff"] = "auto"


class BeamTable(Table):
    """``[beam]``: how the beam is blanked, and how strong it is."""

    driver: Literal["source-ttl"] = "source-ttl"
    line: Annotated[int, Field(ge=1, le=4)] = 1
    blanked_level: Literal["high", "low"] = "high"
    setting: str = Field("default", min_length=1)
    dose_rate_e_per_A2_s: Positive
    calibrated: date | Literal["simulated"]
    energy_keV: Annotated[Positive, Field(ge=10, le=3000)] | None = None
    delay_s: Delay = 0.0
    delay_uncertainty_s: Delay = 0.0
    rise_s: Delay = 0.0


class DoseTable(Table):
    """``[dose]``: the phases present on the specimen, and what a site may have."""

    phases: tuple[str, ...] = ("Li", "Li2O", "carbon")
    soft_e_per_A2: dict[str, Positive] = Field(default_factory=dict)
    hard_e_per_A2: dict[str, Positive] = Field(default_factory=dict)
    allow_stale_dose: bool = False
    ledger: str = ""
    calibrations: str = ""

    @model_validator(mode="after")
    def _known_phases(self) -> Self:
        try:
            self.budget()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def budget(self) -> Budget:
        """Return the budget of the phases present."""
        return make_budget(self.phases, self.soft_e_per_A2, self.hard_e_per_A2)


class SafeTable(Table):
    """``[safe]``: how the station is made safe, and what watches over the session."""

    retract_steps: Annotated[int, Field(ge=0, le=10_000)] = 0
    guard: bool = True
    heartbeat_s: Annotated[Positive, Field(ge=0.01, le=1)] = 0.1
    hang_s: Annotated[Positive, Field(ge=0.2, le=60)] = 2.0
    end_hung_session: bool = True

    @model_validator(mode="after")
    def _beats_before_it_hangs(self) -> Self:
        if self.hang_s < 5.0 * self.heartbeat_s:
            raise ValueError("hang_s: give at least five times heartbeat_s")
        return self
