"""The station file: which instruments there are, where, and what they may do.

TOML, read into frozen models.  Unknown keys are refused with the nearest known one, so that a
mistyped limit cannot pass for no limit at all.
"""

import difflib
import json
import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from .errors import ConfigError

BENCH = "bench"  # an address that stands for "the simulated bench's"

Number = Annotated[float, Strict()]  # a number is a number: neither true nor "5"
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
Delay = Annotated[Number, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StationTable(_Table):
    """``[station]``: name, and where data go."""

    name: str = Field(min_length=1)
    data: str = "runs"


class BenchTable(_Table):
    """``[bench]``: start a simulated bench and use its instruments."""

    preset: str = "fig2"
    seed: int = Field(1, ge=0)
    speed: Annotated[Positive, Field(le=1000)] = 1.0
    model: Literal["2400", "2450", "6430"] = "6430"
    size: Literal[256, 512, 1024, 2048] = 512
    camera_clock_offset: Annotated[Number, Field(ge=-1e8, le=1e8)] = 0.0
    camera_clock_drift: Annotated[Number, Field(ge=-0.01, le=0.01)] = 0.0
    camera_loss: Annotated[Number, Field(ge=0, lt=1)] = 0.0


class BiasSourceTable(_Table):
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


class ProbeTable(_Table):
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


class CameraTable(_Table):
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


class BeamTable(_Table):
    """``[beam]``: how the beam is blanked, and how strong it is."""

    driver: Literal["source-ttl"] = "source-ttl"
    line: Annotated[int, Field(ge=1, le=4)] = 1
    blanked_level: Literal["high", "low"] = "high"
    dose_rate_e_per_A2_s: Positive
    calibrated: date
    delay_s: Delay = 0.0
    delay_uncertainty_s: Delay = 0.0
    rise_s: Delay = 0.0


class Station(_Table):
    """A whole station file."""

    station: StationTable
    bench: BenchTable | None = None
    bias_source: BiasSourceTable
    probe: ProbeTable
    camera: CameraTable
    beam: BeamTable

    @model_validator(mode="after")
    def _bench_is_there(self) -> Self:
        used = [
            f"[{table}] {key}"
            for table, key, value in (
                ("bias_source", "resource", self.bias_source.resource),
                ("probe", "port", self.probe.port),
                ("camera", "host", self.camera.host),
            )
            if value == BENCH
        ]
        if used and self.bench is None:
            raise ValueError(f'{used[0]}: is "{BENCH}", but the file has no [bench] table')
        return self

    def with_bench(self, **changes: Any) -> "Station":
        """Return the same station with other settings of its simulated bench.

        The camera keeps its field of view when the image size changes.

        Raises
        ------
        ConfigError
            The station is not simulated, or a value is not allowed.
        """
        changes = {key: value for key, value in changes.items() if value is not None}
        if not changes:
            return self
        if self.bench is None:
            raise ConfigError(
                f"station {self.station.name!r} is not simulated: "
                f"{', '.join(changes)} can be set on the simulated bench only"
            )
        raw = self.model_dump(mode="json", exclude_none=True)
        raw["bench"].update(changes)
        raw["camera"]["pixel_size_nm"] *= self.bench.size / raw["bench"]["size"]
        if "model" in changes:
            raw["bias_source"]["model"] = changes["model"]
        return parse_station(raw, f"station {self.station.name!r}")

    def with_data(self, folder: str | Path) -> "Station":
        """Return the same station with its data in another folder."""
        return self.model_copy(
            update={"station": self.station.model_copy(update={"data": str(folder)})}
        )

    def to_toml(self) -> str:
        """Return the station file's text, with every default written out, but no password."""
        lines: list[str] = []
        secret = {"probe": {"password"}}
        for table, values in self.model_dump(exclude_none=True, exclude=secret).items():
            lines.append(f"[{table}]")
            lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
            lines.append("")
        return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML one, too
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return repr(value)


def packaged_stations() -> list[str]:
    """Return the names of the stations that come with the package."""
    folder = files("stmtem_control").joinpath("stations")
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def load_station(which: str | Path = "sim") -> Station:
    """Read a station file.

    Parameters
    ----------
    which : str or Path
        Name of a station that comes with the package ("sim"), or path of a TOML file.

    Raises
    ------
    ConfigError
        There is no such file, or it cannot be used; the message names file, table and key.
    """
    name = str(which)
    if name in packaged_stations():
        text = files("stmtem_control").joinpath("stations", f"{name}.toml").read_text("utf-8")
        source = f"{name}.toml"
    else:
        path = Path(which)
        source = str(path)
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise ConfigError(
                f"station file {source}: {error.strerror}; "
                f"give a path, or one of {', '.join(packaged_stations())}"
            ) from None
        except UnicodeDecodeError:
            raise ConfigError(f"station file {source}: not UTF-8 text") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"station file {source}: {error}") from None
    return parse_station(raw, f"station file {source}")


def parse_station(raw: dict[str, Any], source: str) -> Station:
    """Check a station's tables; `source` is named in errors."""
    try:
        return Station.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(error)}") from None


def _first_problem(error: ValidationError) -> str:
    """Say the first of pydantic's findings in one line, as a person would."""
    # A mistyped name shows up twice, as unknown and as missing; the unknown one tells more.
    findings = error.errors(include_url=False)
    finding = min(findings, key=lambda found: found["type"] != "extra_forbidden")
    where = [str(part) for part in finding["loc"]]
    place = f"[{where[0]}]" if where else ""
    if len(where) > 1:
        place += " " + ".".join(where[1:])
    kind = finding["type"]
    if kind == "extra_forbidden":
        known = _known_keys(where)
        near = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{place}: unknown key; {hint}"
    if kind == "missing":
        return f"{place}: missing"
    message = finding["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return message if message.startswith("[") else f"{place} {message}"
    message = message[0].lower() + message[1:]
    return f"{place}: {message}; found {finding['input']!r}"


def _known_keys(where: list[str]) -> list[str]:
    model: Any = Station
    for part in where[:-1]:
        annotation = model.model_fields[part].annotation
        model = next(
            (m for m in (annotation, *getattr(annotation, "__args__", ())) if _is_table(m)), None
        )
        if model is None:
            return []
    return list(model.model_fields)


def _is_table(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
