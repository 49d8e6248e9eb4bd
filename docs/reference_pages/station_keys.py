"""The keys of the station file, from its models."""

import re
from typing import Any

from stmtem_control.config import Station

from .docstrings import paragraphs, table

UNITS = {
    "_e_per_A2_s": "e/A²/s",
    "_e_per_A2": "e/A²",
    "_A_per_s": "A/s",
    "_keV": "keV",
    "_nm": "nm",
    "_pF": "pF",
    "_GB": "GB",
    "_MB": "MB",
    "_Hz": "Hz",
    "_V": "V",
    "_A": "A",
    "_s": "s",
}


def unit(key: str) -> str:
    """Return the unit that a key's name ends with."""
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), "")


def number(value: float) -> str:
    """Return a number as one writes it in a station file."""
    return f"{value:g}" if abs(value) < 1e6 or value != int(value) else f"{value:.0e}"


def allowed(field: dict[str, Any]) -> str:
    """Return what a key may be, from its JSON schema."""
    if "low" in field:
        span = f"{number(field['low'])} to {number(field['high'])}"
        return f'{span}, or `"off"`' if field["off"] else span
    if "const" in field:
        return f"`{field['const']!r}`".replace("'", '"')
    if "enum" in field:
        return ", ".join(f"`{one!r}`".replace("'", '"') for one in field["enum"])
    if "anyOf" in field:
        return ", or ".join(allowed(one) for one in field["anyOf"] if one.get("type") != "null")
    low, above, high = (field.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if field.get("format") == "date":
        return "a date"
    if (below := field.get("exclusiveMaximum")) is not None:
        return f"{number(low or above or 0)} to below {number(below)}"
    if high is not None:
        return (
            f"{'above ' if low is None and above is not None else ''}"
            f"{number(low or above or 0)} to {number(high)}"
        )
    if above is not None:
        return f"above {number(above)}"
    if low is not None:
        return f"{number(low)} or more"
    kinds = {
        "string": "text",
        "boolean": "true, false",
        "integer": "whole number",
        "number": "number",
        "array": "list",
        "object": "table",
    }
    return kinds[field["type"]]


def default(field: dict[str, Any], required: bool) -> str:
    """Return the default of a key as it would stand in the file."""
    if required:
        return "*must be given*"
    value = field.get("default", {})
    if value is None:
        return "*not said*"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value!r}`"
    return f"`{value!r}`".replace("'", '"')


def station_keys() -> str:
    """Return a section for each table of the station file."""
    schema = Station.model_json_schema()
    parts = []
    for name, place in schema["properties"].items():
        reference = next(iter(re.findall(r"#/\$defs/(\w+)", str(place))))
        model = schema["$defs"][reference]
        needed = name in schema["required"]
        about = paragraphs(model["description"]).partition(": ")[2]
        rows = [
            (
                f"`{key}`",
                unit(key),
                allowed(field),
                default(field, key in model.get("required", ())),
                field["description"],
            )
            for key, field in model["properties"].items()
        ]
        parts += [
            f"## `[{name}]`",
            f"{about[0].upper()}{about[1:]}" + ("" if needed else " May be left out."),
            table(("key", "unit", "allowed", "default", "meaning"), rows),
        ]
    return "\n\n".join(parts)
