"""A protocol: what is done to the sample, step by step, as a person writes it down."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from .fields import (
    DAY_S,
    Flag,
    Part,
    PositiveDose,
    PositiveDoseRate,
    PositiveHertz,
    Quantity,
    Text,
)
from .problems import problem_of
from .quantities import TIME
from .steps import Biased, Blank, Cycles, Step
from .yaml_tree import Tree

Name = Annotated[str, Field(strict=True, min_length=1, max_length=200, pattern=r"\S")]


class Metadata(Part):
    """Where the sample comes from; every key is optional."""

    sample: Name | None = None
    """Identifies the sample; its dose is booked under this name."""
    operator: Name | None = None
    """Who is at the microscope."""
    air_exposure_s: Annotated[float, Quantity(TIME, least=0.0)] | None = None
    """How long the sample was in air."""
    notes: Text | None = None
    """Anything else."""


class BeamSettings(Part):
    """What the protocol counts on of the beam."""

    dose_rate_e_per_A2_s: PositiveDoseRate | None = None
    """Refused where the station's calibrated dose rate is another one."""
    budget_e_per_A2: PositiveDose | None = None
    """Most that the site may have in this run; it can lower the station's limit, never raise it."""


class CameraSettings(Part):
    """How frames are taken."""

    rate_Hz: PositiveHertz = 25.0
    """Frames in a second."""
    exposure_s: Annotated[float, Quantity(TIME, above=0.0, most=3600.0)] = 0.035
    """Exposure of each."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.exposure_s * self.rate_Hz > 1.0 + 1e-9:
            longest = 1000.0 / self.rate_Hz
            raise PydanticCustomError(
                "together",
                "{allowed}",
                {
                    "field": "exposure_s",
                    "allowed": f"at {self.rate_Hz:g} Hz an exposure is at most {longest:.4g} ms",
                },
            )
        return self


class Protocol(Part):
    """A whole protocol file.

    Frozen, like all its parts; ``model_copy`` makes changed ones.  Quantities are kept in SI units
    (doses in e/A^2), under names that say so.
    """

    name: Annotated[Name, Field(validation_alias="protocol")]
    """What it is called; the run folder is named after it."""
    shows: Text | None = None
    """What it shows, in one sentence, with the figure that it is for."""
    metadata: Metadata = Metadata()
    """Where the sample comes from."""
    site: Name | None = None
    """Name of the place in the beam; its dose is booked under this name."""
    beam: BeamSettings = BeamSettings()
    """What is counted on of the beam."""
    camera: CameraSettings = CameraSettings()
    """How frames are taken."""
    pre_roll_s: Annotated[float, Quantity(TIME, least=0.0, most=DAY_S)] = 0.5
    """Frames before the first change of the bias in a recorded block."""
    clapperboard: Flag = False
    """Blank the beam in a code at both ends of a recorded block, and date the frames by it."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=1000)]
    """What is done, one after the other."""
    text: str = Field(default="", exclude=True, repr=False)
    """The file as it was read; "" of a protocol that was made otherwise."""

    def __eq__(self, other: object) -> bool:
        """Compare what is to be done, not how the file is laid out."""
        return type(other) is Protocol and self._content() == other._content()

    def __hash__(self) -> int:
        """Return a hash of what is to be done."""
        return hash(self._content())

    def _content(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in Protocol.model_fields if name != "text")

    def to_json_dict(self) -> dict[str, Any]:
        """Return it as plain numbers, text, lists and dicts, under the names that Python has."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_json_dict(cls, given: Mapping[str, Any], source: str = "protocol") -> Self:
        """Return the protocol of :meth:`to_json_dict`.

        Raises
        ------
        ProtocolFileError
            It is none; the message names the key.
        """
        try:
            return cls.model_validate(dict(given), by_alias=False, by_name=True)
        except ValidationError as error:
            raise problem_of(error, cls, Tree(file=source)) from None

    def with_metadata(self, **given: Any) -> "Protocol":
        """Return it with other metadata, and perhaps another ``site``; None changes nothing.

        Raises
        ------
        ProtocolFileError
            A value is not allowed.
        """
        changes = {key: value for key, value in given.items() if value is not None}
        if not changes:
            return self
        plain = self.to_json_dict()
        if "site" in changes:
            plain["site"] = changes.pop("site")
        plain["metadata"] = {**plain.get("metadata", {}), **changes}
        checked = Protocol.from_json_dict(plain, "metadata of the run")
        return self.model_copy(update={"metadata": checked.metadata, "site": checked.site})

    def to_yaml(self) -> str:
        """Return it as a protocol file, with the units written out."""
        from .writing import protocol_yaml

        return protocol_yaml(self)

    def biased(self) -> Iterator[Biased | Blank]:
        """Go through everything that applies a bias, those of cycles once."""
        for step in self.steps:
            if isinstance(step, Cycles):
                yield from (step.deposit, step.strip)
            elif isinstance(step, Biased | Blank):
                yield step

    @property
    def events(self) -> tuple[str, ...]:
        """The names of the detectors that it waits for."""
        found = [
            condition.name
            for step in self.biased()
            if isinstance(step, Biased)
            for condition in step.until
            if condition.kind == "event"
        ]
        return tuple(dict.fromkeys(found))
