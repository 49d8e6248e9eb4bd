"""The JSON schema of protocol files, by which editors complete and check them."""

import copy
from typing import Any

from .conditions import CONTACTS, KINDS, MEASURED
from .fields import file_keys
from .protocol import Protocol
from .quantities import KINDS as QUANTITIES
from .quantities import write_quantity
from .steps import STEPS, WRITTEN_AS_TEXT, StepPart, kind_of

DRAFT = "http://json-schema.org/draft-07/schema#"  # what YAML language servers know
ID = "stmtem-protocol"
_PLACE = "#/definitions/{model}"


def protocol_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 7) of a protocol file.

    It is made from the models that :func:`.read_protocol` checks a file with.  An editor sees keys,
    types, and that a quantity has a number and a unit; whether the unit is of the right kind, and
    what belongs together, only the reader sees.
    """
    made = Protocol.model_json_schema(by_alias=True, ref_template=_PLACE, mode="validation")
    definitions: dict[str, Any] = made.pop("$defs")
    definitions.pop("Condition", None)
    found = {"Protocol": made, **definitions}
    models = {model.__name__: model for model in _models(Protocol)}
    for name, schema in found.items():
        _tidy(schema, set(file_keys(models[name])) if name in models else None)
    for model in STEPS:
        name = model.__name__
        if model in WRITTEN_AS_TEXT:
            text = found[name]["properties"]["text"]
            found[name] = {**text, "description": found[name]["description"]}
        else:
            # "- retract" alone, and "- retract:" with nothing, take what is given nowhere.
            found[name].setdefault("required", [])
    found["Until"] = _until()
    for schema in found.values():
        if "until" in schema.get("properties", {}):
            words = schema["properties"]["until"].get("description", "")
            schema["properties"]["until"] = {"$ref": "#/definitions/Until", "description": words}
    found["Step"] = _step()
    top = found.pop("Protocol")
    top["properties"]["steps"]["items"] = {"$ref": "#/definitions/Step"}
    return {
        "$schema": DRAFT,
        "$id": ID,
        "title": "A protocol of stmtem-control",
        **{key: value for key, value in top.items() if key != "title"},
        "definitions": found,
    }


def _step() -> dict[str, Any]:
    """Return the schema of a step: one key, by which editors offer all that there are."""
    steps = {
        kind_of(model): {
            "description": _first_line(model),
            **(
                {"$ref": f"#/definitions/{model.__name__}"}
                if _needs(model)
                else {"anyOf": [{"$ref": f"#/definitions/{model.__name__}"}, {"type": "null"}]}
            ),
        }
        for model in STEPS
    }
    one = {
        "type": "object",
        "description": "One step.",
        "properties": steps,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    alone = [kind_of(model) for model in STEPS if not _needs(model)]
    return {"anyOf": [one, {"enum": alone, "description": "A step with all its defaults."}]}


def _needs(model: type[StepPart]) -> bool:
    """Tell whether a step cannot stand alone, without keys."""
    from .steps import Biased

    return issubclass(model, Biased) or any(
        model.model_fields[name].is_required() for name in file_keys(model).values()
    )


def _until() -> dict[str, Any]:
    """Return the schema of what stands behind ``until:``."""
    properties: dict[str, Any] = {}
    for key, (kind, comparisons) in MEASURED.items():
        words = [word for word in comparisons if word]
        properties[key] = {
            "type": "string",
            "description": f"{kind.name.capitalize()}: {', '.join(words)}.",
            "examples": [f"{word} {kind.example}".strip() for word in _spoken(comparisons)],
        }
    properties["contact"] = {"enum": list(CONTACTS), "description": "What the contact becomes."}
    properties["event"] = {"type": "string", "description": "What a named detector sees."}
    assert set(properties) == set(KINDS)
    return {
        "type": "object",
        "description": "What ends the step; the first that is so.",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
    }


def _spoken(comparisons: tuple[str, ...]) -> tuple[str, ...]:
    """Return the comparisons as they are written: the first one, if there is one, not at all."""
    return comparisons[1:] if not comparisons[0] else ("", *comparisons[1:])


def _first_line(model: type[Any]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _models(top: type[Any]) -> list[type[Any]]:
    from .problems import models_in

    found = [top, *STEPS]
    for model in found:
        for field in model.model_fields.values():
            found += [inner for inner in models_in(field) if inner not in found]
    return found


def _tidy(schema: dict[str, Any], keys: set[str] | None) -> None:
    """Leave out what is of no use in a file: null, titles, and what Python alone has."""
    schema.pop("title", None)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split("\n\n")[0].split())
    properties = schema.get("properties", {})
    for key in [key for key in properties if keys is not None and key not in keys]:
        del properties[key]
    for key, value in properties.items():
        properties[key] = _plain(value)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(value)
    options = found.pop("anyOf", [])
    for option in options:
        if option.get("type") != "null":
            found = {**option, **found}
    if found.get("default", ...) is None or isinstance(found.get("default"), dict | list):
        del found["default"]
    found.pop("title", None)
    limits, unit = found.pop("x-limits", ""), found.pop("x-unit", "")
    if limits:
        found["description"] = f"{found.get('description', '')} ({limits})".strip()
    if unit and "default" in found:
        kind = next(kind for kind in QUANTITIES if kind.unit == unit)
        found["default"] = write_quantity(found["default"], kind)
    if isinstance(found.get("items"), dict):
        found["items"] = _plain(found["items"])
    return found
