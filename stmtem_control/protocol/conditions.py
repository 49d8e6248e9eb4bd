"""What a step waits for: ``until: {charge: 0 C}``."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from .fields import WRITTEN, Part, in_words
from .quantities import (
    CHARGE,
    CURRENT,
    DOSE,
    TIME,
    Kind,
    QuantityError,
    parse_quantity,
    write_quantity,
)

#: What can be measured, with the comparisons that make sense for it; the first one is meant where
#: none is written.
MEASURED: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "current": (CURRENT, ("", "below", "above")),
    "charge": (CHARGE, ("reaches", "below", "above")),
    "elapsed": (TIME, ("reaches",)),
    "dose": (DOSE, ("reaches",)),
}
CONTACTS = ("lost", "made")
KINDS = (*MEASURED, "contact", "event")
_COMPARED = re.compile(r"\s*(<=?|>=?|below|above|reaches)\s*(.*)", re.DOTALL)
_SIGNS = {"<": "below", "<=": "below", ">": "above", ">=": "above"}
_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Condition(Part):
    """One thing that is measured or seen, and what it must be.

    Attributes
    ----------
    kind : str
        "current" (A, its magnitude, the leak subtracted where it is known), "charge" (C, since the
        first step under bias, the leak subtracted), "elapsed" (s, since the step began), "dose"
        (e/A^2 at the site, since the step began), "contact", or "event" (what a named detector
        sees).
    comparison : str
        "below", "above", "reaches" (comes to the value, or past it, in the direction in which
        the bias drives it), or "is" for a contact or an event.
    value : float or None
        In SI units, dose in e/A^2; None for a contact or an event.
    name : str
        Of the event's detector, or "lost" or "made" of a contact; else "".
    """

    kind: Literal["current", "charge", "elapsed", "dose", "contact", "event"]
    """What is looked at."""
    comparison: Literal["below", "above", "reaches", "is"]
    """How it is compared."""
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """In SI units."""
    name: str = ""
    """Of a detector, or what the contact shall be."""

    @model_validator(mode="after")
    def _fits(self) -> "Condition":
        if self.kind in MEASURED:
            words = [word for word in MEASURED[self.kind][1] if word]
            if self.value is None or self.comparison not in words or self.name:
                raise _together(f"'{self.kind}' takes a value, and {' or '.join(words)}")
        elif self.comparison != "is" or self.value is not None or not self.name:
            raise _together(f"'{self.kind}' is what its name says, without a value")
        return self

    def as_written(self) -> dict[str, str]:
        """Return it as it stands in a file: ``{"current": "below 10 pA"}``."""
        if self.kind not in MEASURED:
            return {self.kind: self.name}
        kind, allowed = MEASURED[self.kind]
        value = write_quantity(self.value or 0.0, kind)
        plain = self.comparison == allowed[0]
        return {self.kind: value if plain else f"{self.comparison} {value}"}

    def __str__(self) -> str:
        """Return it in words: ``current below 10 pA``."""
        ((key, value),) = self.as_written().items()
        return f"{key} {value}"


def read_conditions(written: object, info: ValidationInfo) -> Any:
    """Turn what stands behind ``until:`` into conditions."""
    if isinstance(written, list | tuple) and not (info.context or {}).get(WRITTEN):
        return written
    if not isinstance(written, dict) or not written:
        raise refused("until", written, "give a mapping, for example {charge: 0 C}")
    return [_condition(str(key), value) for key, value in written.items()]


def _together(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("together", "{allowed}", {"field": "", "allowed": allowed})


def _condition(key: str, written: object) -> dict[str, Any]:
    if key not in KINDS:
        raise PydanticCustomError("until_key", "unknown", {"key": key, "known": list(KINDS)})
    if key == "contact":
        if written not in CONTACTS:
            raise refused(key, written, "one of 'lost', 'made'")
        return {"kind": key, "comparison": "is", "name": written}
    if key == "event":
        if not isinstance(written, str) or not _EVENT.fullmatch(written):
            raise refused(key, written, "give the name of a detector, for example 'burst'")
        return {"kind": key, "comparison": "is", "name": written}
    kind, allowed = MEASURED[key]
    words = " or ".join(f"'{word} {kind.example}'".replace("' ", "'") for word in allowed if word)
    if not isinstance(written, str):
        raise refused(key, written, f"give {kind.name} with its unit: {words}")
    compared = _COMPARED.fullmatch(written)
    comparison = allowed[0]
    text = written
    if compared is not None:
        comparison, text = _SIGNS.get(compared[1], compared[1]), compared[2]
    if comparison not in allowed or not comparison:
        raise refused(key, written, f"say which: {words}")
    try:
        value = parse_quantity(text, kind)
    except QuantityError as error:
        raise PydanticCustomError(
            "until_value",
            "{found}",
            {
                "key": key,
                "found": error.found,
                "allowed": error.allowed,
                "nearest": error.nearest,
            },
        ) from None
    if value < 0.0 and key != "charge":
        raise refused(key, written, f"give {kind.name} above zero")
    return {"kind": key, "comparison": comparison, "value": value}


def refused(key: str, found: object, allowed: str) -> PydanticCustomError:
    """Return the error of a condition that cannot be read."""
    context = {"key": key, "found": in_words(found), "allowed": allowed, "nearest": ""}
    return PydanticCustomError("until_value", "{found}", context)


Until = Annotated[tuple[Condition, ...], BeforeValidator(read_conditions)]
