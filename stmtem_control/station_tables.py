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

    name: str = Field(min_length=1, description="written in every start document")
    data: str = Field(default="runs", description="folder in which the run folders are made")


class BenchTable(Table):
    """``[bench]``: start a simulated bench and use its instruments."""

    preset: str = Field(default="fig2", description="the specimen")
    seed: int = Field(default=1, ge=0, description="fixes everything random")
    speed: Annotated[Positive, Field(le=1000)] = Field(
        default=1.0, description="simulated seconds in a second"
    )
    model: Literal["2400", "2450", "6430"] = Field(
        default="6430", description="what the source says it is"
    )
    size: Literal[256, 512, 1024, 2048] = Field(
        default=512, description="edge of the image in px; the field of view stays the same"
    )
    camera_clock_offset: Annotated[Number, Field(ge=-1e8, le=1e8)] = Field(
        default=0.0, description="s by which the clock that stamps the frames is ahead"
    )
    camera_clock_drift: Annotated[Number, Field(ge=-0.01, le=0.01)] = Field(
        default=0.0, description="s that this clock gains in a second"
    )
    camera_loss: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of the frames that are exposed but never sent"
    )
    faults: tuple[str, ...] = Field(
        default=(),
        description='injected at the start, such as `"bias_source:drop@exchange=12"`; see '
        "[faults](faults.md)",
    )


class BiasSourceTable(Table):
    """``[bias_source]``: a source-measure unit that speaks the SCPI-2400 dialect."""

    driver: Literal["keithley-2400"] = Field(
        default="keithley-2400",
        description="the SCPI-2400 dialect: 2400 family, 6430, 2450 set to SCPI2400",
    )
    resource: str = Field(description='a VISA resource, or `"bench"`')
    visa_library: str = Field(
        default="@py",
        description="`@py` is pyvisa-py; or the path of a vendor's VISA library, for GPIB cards",
    )
    model: str = Field(default="", description="what `*IDN?` must name; empty: anything")
    serial_number: str = Field(default="", description="likewise")
    baud_rate: Annotated[int, Field(ge=300, le=57600)] = Field(
        default=9600, description="of a serial resource"
    )
    max_bias_V: Annotated[Positive, Field(le=210)] = Field(
        default=10.0, description="software limit of the bias, either sign"
    )
    compliance_A: Annotated[Positive, Field(le=0.1)] = Field(
        default=1e-8, description="current limit, in the instrument"
    )
    nplc: Annotated[Number, Field(ge=0.01, le=10)] = Field(
        default=1.0, description="integration time of a reading in power-line cycles"
    )
    line_frequency_Hz: Literal[50, 60] = Field(default=50, description="of the mains")
    dead_man_s: Annotated[Number, Field(ge=0, le=60)] = Field(
        default=2.0,
        description=(
            "the source switches its output off so long after the last it heard from us; at least "
            "three readings; 0: never, and a warning; see [Choose the dead-man's "
            "time](../how-to/choose-the-dead-mans-time.md)"
        ),
    )

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

    driver: Literal["anc300"] = Field(default="anc300", description="attocube ANC300 console")
    port: str = Field(description='a serial port, `socket://host:7230`, or `"bench"`')
    password: str = Field(
        default="", description="for a network port; never written into a run folder"
    )
    axes: tuple[int, int, int] = Field(
        default=(1, 2, 3), description="modules of x, y and z: three different numbers from 1 to 7"
    )
    frequency_Hz: Annotated[int, Field(ge=1, le=10000)] = Field(
        default=1000, description="of coarse steps"
    )
    amplitude_V: Annotated[Positive, Field(le=150)] = Field(
        default=30.0, description="of coarse steps"
    )
    max_fine_V: Annotated[Positive, Field(le=150)] = Field(
        default=150.0, description="limit of the fine offset"
    )
    max_steps: Annotated[int, Field(gt=0)] = Field(
        default=200, description="limit of net coarse steps, either way"
    )

    @model_validator(mode="after")
    def _three_axes(self) -> Self:
        if len(set(self.axes)) != 3 or not all(1 <= axis <= 7 for axis in self.axes):
            raise ValueError("axes: give three different axis numbers from 1 to 7, for x, y, z")
        return self


class CameraTable(Table):
    """``[camera]``: a Merlin control and data server."""

    driver: Literal["merlin"] = Field(default="merlin", description="Quantum Detectors Merlin")
    host: str = Field(description='its name or address, or `"bench"`')
    control_port: Port = Field(default=6341, description="for commands")
    data_port: Port = Field(default=6342, description="for frames")
    pixel_size_nm: Positive = Field(description="at the magnification in use")
    frames_per_file: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=256, description="pages of a TIFF file"
    )
    ring_MB: Annotated[Positive, Field(le=1_000_000)] = Field(
        default=512.0,
        description="memory in which frames wait for the disk, and are kept for the look-back",
    )
    look_back_s: Annotated[Number, Field(ge=0, le=3600)] = Field(
        default=0.0,
        description="frames that an armed camera keeps, so that a recording begins with them",
    )
    method: Literal["auto", "direct", "buffered"] = Field(
        default="auto",
        description=(
            "how pages are written: past the page cache (direct), through it (buffered), or as "
            "suits frame and disk"
        ),
    )
    compression: Literal["", "zstd", "deflate"] = Field(
        default="", description="of the pages, without loss; `zstd` needs the extra `compression`"
    )
    tiff: Literal["auto", "classic", "bigtiff"] = Field(
        default="auto",
        description=(
            "`classic` must stay below 3.5 GB a file; `auto` is BigTIFF only where that is "
            "passed, since ImageJ's own reader opens no BigTIFF"
        ),
    )


class BeamTable(Table):
    """``[beam]``: how the beam is blanked, and how strong it is."""

    driver: Literal["source-ttl"] = Field(
        default="source-ttl", description="a digital line of the source blanks the beam"
    )
    line: Annotated[int, Field(ge=1, le=4)] = Field(default=1, description="which one")
    blanked_level: Literal["high", "low"] = Field(
        default="high", description="level at which the beam is blanked; high is the power-on state"
    )
    setting: str = Field(
        default="default",
        min_length=1,
        description=(
            "name of the illumination that the dose rate belongs to; others, and newer rates, are "
            "in the calibration file, see [Calibrate the dose](../how-to/calibrate-the-dose.md)"
        ),
    )
    dose_rate_e_per_A2_s: Positive = Field(description="of the unblanked beam at the specimen")
    calibrated: date | Literal["simulated"] = Field(
        description=(
            'when that was measured; `"simulated"` on a simulated bench, whose rate is right on '
            "any day"
        ),
    )
    energy_keV: Annotated[Positive, Field(ge=10, le=3000)] | None = Field(
        default=None, description="energy of the electrons, for the record"
    )
    delay_s: Delay = Field(
        default=0.0,
        description=(
            "from the line's edge to half of the beam; frames cannot tell it from an offset of "
            "the clocks"
        ),
    )
    delay_uncertainty_s: Delay = Field(default=0.0, description="how well that is known (95 %)")
    rise_s: Delay = Field(default=0.0, description="from no beam to all of it")


class DoseTable(Table):
    """``[dose]``: the phases present on the specimen, and what a site may have."""

    phases: tuple[str, ...] = Field(
        default=("Li", "Li2O", "carbon"),
        description="what is on the specimen; the most delicate decides",
    )
    soft_e_per_A2: dict[str, Positive] = Field(
        default_factory=dict,
        description="by phase: warn from this dose on; the defaults are "
        "[here](../explanation/dose.md#budgets)",
    )
    hard_e_per_A2: dict[str, Positive] = Field(
        default_factory=dict,
        description="by phase: no more than this dose, for example `{ Li2O = 3000.0 }`",
    )
    allow_stale_dose: bool = Field(
        default=False, description="open the beam with a calibration of any age"
    )
    ledger: str = Field(
        default="", description="another place of `dose_ledger.sqlite3`; empty: in `data`"
    )
    calibrations: str = Field(
        default="", description="another place of `dose_calibration.jsonl`; empty: in `data`"
    )

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


class CatalogTable(Table):
    """``[catalog]``: a Tiled server that the runs are registered with while they grow."""

    server: str = Field(
        pattern="^https?://.",
        description=(
            "URL of the server; its key is in `TILED_API_KEY`; see "
            "[Read runs with Tiled](../how-to/read-with-tiled.md#from-every-session)"
        ),
    )


class PublishTable(Table):
    """``[publish]``: hand documents to a 0MQ proxy, for people at other machines."""

    address: Annotated[str, Field(pattern=r"^(tcp://)?[\w.-]+:\d{1,5}$")] = Field(
        description=(
            "host and port where a 0MQ proxy takes documents, see "
            "[Watch from another machine](../how-to/watch-from-another-machine.md)"
        )
    )


class SafeTable(Table):
    """``[safe]``: how the station is made safe, and what watches over the session."""

    retract_steps: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0,
        description=(
            "coarse steps back when the station is made safe after anything but a normal end; 0: "
            "never"
        ),
    )
    guard: bool = Field(
        default=True, description="a guard process makes safe when the session dies or hangs"
    )
    heartbeat_s: Annotated[Positive, Field(ge=0.01, le=1)] = Field(
        default=0.1, description="between two signs of life"
    )
    hang_s: Annotated[Positive, Field(ge=0.2, le=60)] = Field(
        default=2.0,
        description=(
            "silence, while something acts on the sample, that counts as a hang; at least five "
            "heartbeats"
        ),
    )
    end_hung_session: bool = Field(
        default=True,
        description=(
            "whether the guard may end (SIGKILL) a hung session that holds the only way to an "
            "instrument"
        ),
    )

    @model_validator(mode="after")
    def _beats_before_it_hangs(self) -> Self:
        if self.hang_s < 5.0 * self.heartbeat_s:
            raise ValueError("hang_s: give at least five times heartbeat_s")
        return self
