"""The keys of protocol files, from the models that read them."""

from typing import Any

from stmtem_control.protocol.conditions import CONTACTS, MEASURED
from stmtem_control.protocol.fields import file_keys
from stmtem_control.protocol.protocol import BeamSettings, CameraSettings, Metadata, Protocol
from stmtem_control.protocol.quantities import KINDS, known_units
from stmtem_control.protocol.schema import protocol_schema
from stmtem_control.protocol.steps import STEPS, WRITTEN_AS_TEXT, Biased, Snapshots, kind_of


def protocol_page() -> str:
    """Return tables of all keys, of the steps, of what ``until`` takes, and of the units."""
    schema = protocol_schema()
    made = schema["definitions"]
    parts = ["## The file\n", _table(schema, Protocol)]
    for key, model in (("metadata", Metadata), ("beam", BeamSettings), ("camera", CameraSettings)):
        parts += [f"### `{key}`\n", _table(made[model.__name__], model)]
    parts.append("## Steps\n")
    for step in STEPS:
        kind, name = kind_of(step), step.__name__
        parts.append(f"### `{kind}`\n")
        parts.append(f"{_words(step)}\n\n```yaml\n- {kind}: {step.example}\n```\n")
        if step not in WRITTEN_AS_TEXT:
            parts.append(_table(made[name], step))
        if step is Biased or issubclass(step, Biased):
            parts.append("One of `duration`, `until` with `timeout`, or `levels` with `each`.\n")
        if name == "Blank":
            parts += ["`snapshots`:\n", _table(made["Snapshots"], Snapshots)]
    parts += [_conditions(made["Until"]), _units()]
    return "\n".join(parts)


def _words(model: type[Any]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _table(schema: dict[str, Any], model: type[Any]) -> str:
    lines = ["| key | example | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for key in file_keys(model):
        value = schema["properties"][key]
        default = "*required*" if key in required else _default(value)
        lines.append(f"| `{key}` | {_example(value)} | {default} | {_meaning(value)} |")
    return "\n".join(lines) + "\n"


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "" if default is None else f"`{default}`"


def _example(value: dict[str, Any]) -> str:
    if value.get("examples"):
        return f"`{value['examples'][0]}`"
    if value.get("type") == "array" and value.get("items", {}).get("examples"):
        one = value["items"]["examples"][0]
        return f"`[{one}, ...]`"
    words = {"string": "text", "integer": "whole number", "number": "number", "array": "list"}
    words["boolean"] = "`true` or `false`"
    return words.get(str(value.get("type")), "mapping")


def _meaning(value: dict[str, Any]) -> str:
    words = str(value.get("description", "")) or "How frames are taken."
    least, most = value.get("minimum"), value.get("maximum")
    if least is not None and most is not None:
        words += f" ({least} to {most})"
    return words.replace("|", "\\|")


def _conditions(schema: dict[str, Any]) -> str:
    lines = [
        "## `until`",
        "",
        "What ends a step under bias, before its `timeout`. Of several the first one counts:",
        "`until: {current: below 10 pA, event: stripped}`. `below` can be written `<`, and `above`",
        '`>`, then in quotes: `"> 1 nA"`.',
        "",
        "| key | example | meaning |",
        "|---|---|---|",
    ]
    meanings = {
        "current": "magnitude of the current, the leak subtracted where it is known",
        "charge": "charge since the first step under bias, the leak subtracted; a negative bias "
        "brings it down to the value, a positive one up to it",
        "elapsed": "time since the step began",
        "dose": "dose at the site since the step began",
        "contact": f"what the contact becomes: {' or '.join(f'`{name}`' for name in CONTACTS)}",
        "event": "what a named detector sees; the session's `detectors` have them by name",
    }
    for key, value in schema["properties"].items():
        examples = value.get("examples", [CONTACTS[0]] if key == "contact" else ["burst"])
        shown = ", ".join(f"`{key}: {example}`" for example in examples)
        lines.append(f"| `{key}` | {shown} | {meanings[key]} |")
    assert set(MEASURED) < set(meanings)
    return "\n".join(lines) + "\n"


def _units() -> str:
    lines = ["## Units", "", "| what | units |", "|---|---|"]
    for kind in KINDS:
        units = ", ".join(f"`{unit}`" for unit in known_units(kind))
        lines.append(f"| {kind.name} | {units} |")
    lines += [
        "",
        "`µ` is `u`, `Ω` is `ohm`. With electrons, `A` is an ångström: `e/A^2`, `e/Å^2`, `e/A2`,",
        "`e⁻ Å⁻²`, `e/nm^2`. Parts of a unit are set off by a space, `*` or `/`.",
        "",
    ]
    return "\n".join(lines)
