"""Types of the fields of a protocol, and what all its models have in common.

A field's name in Python has its unit: ``bias_V``.  In a file the unit stands with the value, and
the key is ``bias``.
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, Strict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .quantities import (
    CHARGE,
    CURRENT,
    DOSE,
    DOSE_RATE,
    FREQUENCY,
    GIGAOHM,
    LENGTH,
    RAMP,
    TIME,
    VOLTAGE,
    Kind,
    QuantityError,
    parse_quantity,
    quantity_pattern,
    write_quantity,
)

DAY_S = 86_400.0
LONGEST_SHOWN = 60  # characters of a value in a message
WRITTEN = "written"  # in a validation's context: values come from a file, where units are asked for
_UNIT = re.compile(r"_(V|A|C|s|Hz|m|GOhm|V_per_s|e_per_A2|e_per_A2_s)$")


def key_of(field: str) -> str:
    """Return the key in a file for the name of a field: "dose_rate_e_per_A2_s" is "dose_rate"."""
    return _UNIT.sub("", field)


class Part(BaseModel):
    """A part of a protocol: frozen, unknown keys refused; Python names have units, keys do not."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=AliasGenerator(validation_alias=key_of),
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )
    #: The lines of a file to begin with, for editors and the reference.
    example: ClassVar[str] = ""


@dataclass(frozen=True)
class Quantity:
    """Makes a float of a field: a quantity with its unit in a file, a number in Python and JSON.

    Attributes
    ----------
    kind : Kind
        What it must be.
    above, least, below, most : float
        Limits, in the unit of its kind.
    """

    kind: Kind
    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf
    most: float = math.inf

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return how pydantic is to validate the field."""
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: Any) -> dict[str, Any]:
        """Return what editors are told: text with a number and a unit."""
        return {
            "type": "string",
            "pattern": quantity_pattern(self.kind),
            "examples": [self.example],
            "x-limits": self.limits,
            "x-unit": self.kind.unit,
        }

    @property
    def example(self) -> str:
        """A value that is allowed, as it is written in a file."""
        plain = self.kind.example
        return plain if self.allows(parse_quantity(plain, self.kind)) else plain.lstrip("-")

    @property
    def limits(self) -> str:
        """What values are allowed, in words; "" if any is."""
        lower = (
            "above " + self._text(self.above)
            if self.above > -math.inf
            else (f"{self._text(self.least)} or more" if self.least > -math.inf else "")
        )
        upper = (
            "below " + self._text(self.below)
            if self.below < math.inf
            else ("at most " + self._text(self.most) if self.most < math.inf else "")
        )
        return ", ".join(part for part in (lower, upper) if part)

    def allows(self, value: float) -> bool:
        """Tell whether a value is within the limits."""
        return (
            math.isfinite(value)
            and self.above < value < self.below
            and self.least <= value <= self.most
        )

    def _text(self, value: float) -> str:
        if self.kind is TIME and value >= 3600.0:
            return f"{value / 3600.0:g} h"
        return write_quantity(value, self.kind)

    def _validate(self, given: object, info: core_schema.ValidationInfo) -> float:
        wanted = f"give {self.kind.name}, for example {self.example!r}"
        written = bool(info.context and info.context.get(WRITTEN))
        if isinstance(given, str):
            try:
                value = parse_quantity(given, self.kind)
            except QuantityError as error:
                raise _refused(error.found, error.allowed, error.nearest) from None
        elif isinstance(given, bool) or not isinstance(given, int | float):
            raise _refused(in_words(given), wanted)
        elif written:
            meant = f"{given} {self.kind.unit}"
            raise _refused(f"{given!r}, a number without a unit", wanted, meant)
        else:
            value = float(given)
        if not self.allows(value):
            shown = repr(given) if isinstance(given, str) else f"{given:g} {self.kind.unit}"
            limits = f"; {self.limits}" if self.limits else ""
            raise _refused(shown, f"{wanted}{limits}")
        return value


def in_words(found: object) -> str:
    """Return what stands in a file, as a message names it."""
    if isinstance(found, bool):
        return str(found).lower()
    if found is None:
        return "nothing"
    if isinstance(found, dict):
        return "a mapping"
    if isinstance(found, list | tuple):
        return "a list" if found else "an empty list"
    text = repr(found)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def _refused(found: str, allowed: str, nearest: str = "") -> PydanticCustomError:
    return PydanticCustomError(
        "quantity",
        "found {found}; {allowed}",
        {"found": found, "allowed": allowed, "nearest": nearest},
    )


Volts = Annotated[float, Quantity(VOLTAGE)]
NegativeVolts = Annotated[float, Quantity(VOLTAGE, below=0.0)]
PositiveVolts = Annotated[float, Quantity(VOLTAGE, above=0.0)]
PositiveAmperes = Annotated[float, Quantity(CURRENT, above=0.0)]
Coulombs = Annotated[float, Quantity(CHARGE)]
Duration = Annotated[float, Quantity(TIME, above=0.0, most=DAY_S)]
Pause = Annotated[float, Quantity(TIME, least=0.0, most=DAY_S)]
PositiveHertz = Annotated[float, Quantity(FREQUENCY, above=0.0)]
VoltsPerSecond = Annotated[float, Quantity(RAMP, above=0.0)]
PositiveMetres = Annotated[float, Quantity(LENGTH, above=0.0)]
PositiveGigaohms = Annotated[float, Quantity(GIGAOHM, above=0.0)]
PositiveDose = Annotated[float, Quantity(DOSE, above=0.0)]
PositiveDoseRate = Annotated[float, Quantity(DOSE_RATE, above=0.0)]

Count = Annotated[int, Strict(), Field(ge=1, le=100_000)]
Text = Annotated[str, Strict(), Field(min_length=1, max_length=10_000)]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]


def file_keys(model: type[BaseModel]) -> dict[str, str]:
    """Return the names of a model's fields by their keys in a file, those that have one."""
    return {
        str(field.validation_alias or name): name
        for name, field in model.model_fields.items()
        if not field.exclude and name != "kind"
    }
