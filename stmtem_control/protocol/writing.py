"""Writing a protocol as a file, with units."""

from typing import Any

from .conditions import Condition
from .fields import Part, Quantity, file_keys
from .protocol import Protocol
from .quantities import write_quantity
from .steps import WRITTEN_AS_TEXT, StepPart
from .yaml_tree import plain_value


def protocol_yaml(protocol: Protocol) -> str:
    """Return a protocol as a YAML text that :func:`.read_protocol` reads back as the very same."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes every text that the reader would take for something else."""

    def text(dumper: Any, value: str) -> Any:
        quotes = None if isinstance(plain_value(value), str) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=quotes)

    Dumper.add_representer(str, text)
    return str(
        yaml.dump(
            _part(protocol),
            Dumper=Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=96,
        )
    )


def _part(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in file_keys(type(part)).items():
        value = getattr(part, name)
        field = type(part).model_fields[name]
        if value is None or (value == field.default and not field.is_required()):
            continue
        found[key] = _value(value, _quantity(field))
    return found


def _value(value: Any, quantity: Quantity | None) -> Any:
    if quantity is not None:
        if isinstance(value, tuple):
            return [write_quantity(item, quantity.kind) for item in value]
        return write_quantity(value, quantity.kind)
    if isinstance(value, tuple):
        if all(isinstance(item, Condition) for item in value):
            return {key: text for item in value for key, text in item.as_written().items()}
        return [_step(item) for item in value]
    return _part(value) if isinstance(value, Part) else value


def _step(step: StepPart) -> dict[str, Any]:
    kind = step.kind  # type: ignore[attr-defined]
    if isinstance(step, WRITTEN_AS_TEXT):
        return {kind: str(step.text)}
    return {kind: _part(step)}


def _quantity(field: Any) -> Quantity | None:
    """Return how the values of a field are written, looking into options and tuples."""
    return next(
        (m for m in (*field.metadata, *_nested(field.annotation)) if isinstance(m, Quantity)), None
    )


def _nested(annotation: Any) -> list[Any]:
    found = list(getattr(annotation, "__metadata__", ()))
    for inner in getattr(annotation, "__args__", ()):
        found += _nested(inner)
    return found
