"""The devices and their signals, from the classes."""

import inspect
from typing import Any

from ophyd import Kind, Signal

from stmtem_control import devices

from .docstrings import as_markdown, table

DEVICES = ("BiasSource", "PiezoProbe", "FrameCamera", "BeamBlanker", "ClockAlignment")
NAMES = {
    "BiasSource": "bias",
    "PiezoProbe": "probe",
    "FrameCamera": "camera",
    "BeamBlanker": "beam",
    "ClockAlignment": "alignment",
}
TYPES = {"float": "number", "int": "whole number", "bool": "true, false", "str": "text"}
KINDS = {
    Kind.config: "config",
    Kind.normal: "normal",
    Kind.hinted: "hinted",
    Kind.omitted: "omitted",
}


def rows(device: type[Any], name: str) -> list[tuple[str, ...]]:
    """Return a row for each signal; axes that are alike share theirs."""
    found: dict[tuple[str, ...], list[str]] = {}
    for walked in device.walk_components():
        component = walked.item
        if not issubclass(component.cls, Signal):
            continue
        setting = "yes" if getattr(component.cls, "writable", False) else ""
        kind = TYPES[type(component.kwargs.get("value", 0.0)).__name__]
        unit = component.kwargs.get("unit", "")
        row = (unit, kind, setting, KINDS[component.kind], component.doc or "")
        head, dot, last = walked.dotted_name.rpartition(".")
        found.setdefault(
            (f"{dot}{last}" if head in "xyz" else walked.dotted_name, *row), []
        ).append(f"{name}.{walked.dotted_name}")
    return [(", ".join(f"`{one}`" for one in names), *row[1:]) for row, names in found.items()]


def devices_page() -> str:
    """Return a section for each device of a session."""
    parts = []
    for kind in DEVICES:
        device = getattr(devices, kind)
        name = NAMES[kind]
        head = ("signal", "unit", "type", "can be set", "kind", "what it is")
        text = as_markdown(inspect.getdoc(device) or "")
        parts += [f"## {name}: {kind}", text, table(head, rows(device, name))]
    return "\n\n".join(parts)
