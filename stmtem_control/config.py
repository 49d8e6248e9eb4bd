"""The station file: which instruments there are, where, and what they may do.

TOML, read into frozen models.  Unknown keys are refused with the nearest known one, so that a
mistyped limit cannot pass for no limit at all.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ValidationError, model_validator

from .dose.calibration import SIMULATED
from .errors import ConfigError
from .interlock_table import InterlocksTable
from .station_tables import (
    BENCH,
    BeamTable,
    BenchTable,
    BiasSourceTable,
    CameraTable,
    CatalogTable,
    DoseTable,
    ProbeTable,
    PublishTable,
    SafeTable,
    StationTable,
    Table,
)

# What of a station is another when the simulated bench is in the place of its instruments.
OF_THE_BENCH = {
    "bias_source": ("resource", "visa_library", "model", "serial_number"),
    "probe": ("port", "password", "axes"),
    "camera": ("host", "control_port", "data_port", "pixel_size_nm"),
    "beam": (
        "line",
        "blanked_level",
        "dose_rate_e_per_A2_s",
        "calibrated",
        "delay_s",
        "delay_uncertainty_s",
        "rise_s",
    ),
    "dose": ("ledger", "calibrations"),
}


class Station(Table):
    """A whole station file."""

    station: StationTable
    bench: BenchTable | None = None
    bias_source: BiasSourceTable
    probe: ProbeTable
    camera: CameraTable
    beam: BeamTable
    dose: DoseTable = DoseTable()
    interlocks: InterlocksTable = InterlocksTable()
    safe: SafeTable = SafeTable()
    catalog: CatalogTable | None = None
    publish: PublishTable | None = None

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
        if self.bench is None and self.beam.calibrated == SIMULATED:
            raise ValueError(
                f'[beam] calibrated: is "{SIMULATED}", but the file has no [bench] table; '
                "give the date on which the dose rate was measured"
            )
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

    def on_bench(self, **settings: Any) -> "Station":
        """Return the same station with the simulated bench in the place of its instruments.

        Limits, interlocks, phases and budgets stay as they are.  Addresses, identities, the wiring
        of the beam and its dose rate, and the pixel size become the bench's; dose ledger and
        calibrations are those of the data folder, so that the real ones are left alone; no catalog
        and nobody at another machine is told of a run.

        Parameters
        ----------
        **settings
            Keys of the [bench] table.  The source is simulated as the model that the station
            names, where the bench has it.

        Raises
        ------
        ConfigError
            A setting is unknown or not allowed.
        """
        if self.bench is not None:
            return self.with_bench(**settings)
        bench = load_station("sim").model_dump(mode="json", exclude_none=True)
        raw = self.model_dump(mode="json", exclude_none=True)
        for table, keys in OF_THE_BENCH.items():
            for key in keys:
                raw[table][key] = bench[table][key]
        raw["bench"] = bench["bench"]
        for told in ("catalog", "publish"):  # nobody outside is told of what is simulated
            raw.pop(told, None)
        if self.bias_source.model in get_args(BenchTable.model_fields["model"].annotation):
            settings = {"model": self.bias_source.model, **settings}
        return parse_station(raw, f"station {self.station.name!r}").with_bench(**settings)

    def with_data(self, folder: str | Path) -> "Station":
        """Return the same station with its data in another folder."""
        return self.model_copy(
            update={"station": self.station.model_copy(update={"data": str(folder)})}
        )

    def with_safe(self, **changes: Any) -> "Station":
        """Return the same station with other settings in its [safe] table.

        Raises
        ------
        ConfigError
            A value is not allowed.
        """
        raw = self.model_dump(mode="json", exclude_none=True)
        raw["safe"].update(changes)
        return parse_station(raw, f"station {self.station.name!r}")

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
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{json.dumps(key)} = {_toml(v)}" for key, v in value.items()) + " }"
        )
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


def load_station(which: str | Path = "sim", *, data: str | Path | None = None) -> Station:
    """Read a station file.

    Parameters
    ----------
    which : str or Path
        Name of a station that comes with the package ("sim"), or path of a TOML file.
    data : str or Path, optional
        Data folder in the place of the station's own.

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
    station = parse_station(raw, f"station file {source}")
    return station if data is None else station.with_data(data)


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
