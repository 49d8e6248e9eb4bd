"""What is wrong with a protocol, in one line: file, line, key, found, allowed, nearest."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from stmtem_control.errors import ProtocolFileError

from .yaml_tree import Path, place_of

_WANTED = {
    "missing": "",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a mapping, for example {}",
    "dict_type": "a mapping",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
}


def problem_of(
    error: ValidationError, file: str, lines: Mapping[Path, int], given: Any
) -> ProtocolFileError:
    """Return the first of pydantic's findings, first in the file, as a person would say it."""
    findings = error.errors(include_url=False)

    def order(finding: Any) -> tuple[bool, int]:
        # A mistyped key shows up twice, as unknown and as missing: the unknown one tells more.
        unknown = finding["type"] in ("extra_forbidden", "until_key")
        return not unknown, _line(lines, _path(finding["loc"], given))

    finding: Any = min(findings, key=order)
    path = _path(finding["loc"], given)
    context = finding.get("ctx", {})
    kind = finding["type"]
    found = context.get("found", "") or _shown(finding["input"])
    allowed, nearest = str(context.get("allowed", "")), str(context.get("nearest", ""))
    if kind == "extra_forbidden":
        return unknown_key(path, _siblings(path, given), file, lines)
    if kind == "until_key":
        return unknown_key((*path, context["key"]), context["known"], file, lines)
    if kind in ("step", "condition"):
        path, found = (*path, _key(str(context.get("field", "")))), ""
        path = tuple(part for part in path if part != "")
        message = allowed or finding["msg"]
    elif kind == "missing":
        found, allowed = "", "it must be there"
        message = f"missing; {allowed}"
    elif kind in ("quantity", "until_value"):
        if kind == "until_value" and context["key"] != "until":
            path = (*path, context["key"])
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        message = f"found {found}; {allowed}{hint}"
    else:
        allowed = _WANTED.get(kind) or _words(finding["msg"])
        message = (
            f"found {found}; give {allowed}" if kind in _WANTED else f"found {found}; {allowed}"
        )
    return ProtocolFileError(
        " ".join(message.split()),
        file=file,
        line=_line(lines, path),
        key=place_of(path),
        found=found,
        allowed=allowed,
        nearest=nearest,
    )


def unknown_key(
    path: Path, known: Iterable[str], file: str, lines: Mapping[Path, int]
) -> ProtocolFileError:
    """Return the error of a key that is not known, with the nearest one that is."""
    known = list(known)
    key = str(path[-1])
    near = difflib.get_close_matches(key, known, n=1) or [
        name for name in known if name.lower() == key.lower()
    ]
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return ProtocolFileError(
        f"unknown key; {hint}",
        file=file,
        line=_line(lines, path),
        key=place_of(path),
        found=key,
        allowed=", ".join(known),
        nearest=near[0] if near else "",
    )


def _path(loc: tuple[int | str, ...], given: Any) -> Path:
    """Return the path in the file of pydantic's place, which may go deeper than what is there."""
    return tuple(loc)


def _line(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of a path, or of the longest part of it that is in the file."""
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 0


def _key(field: str) -> str:
    from .fields import key_of

    return key_of(field)


def _siblings(path: Path, _given: Any) -> list[str]:
    return keys_at(path[:-1])


def keys_at(path: Path) -> list[str]:
    """Return the keys that may stand at a place of a protocol file."""
    from .protocol import Protocol
    from .steps import STEPS, kind_of

    model: Any = Protocol
    steps = {kind_of(step): step for step in STEPS}
    for index, part in enumerate(path):
        if isinstance(part, int):
            continue
        if index == 2 and path[0] == "steps":
            model = steps.get(part)
        elif part != "steps" and model is not None:
            model = _inner(model, part)
        if model is None:
            return []
    return keys_of(model)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model as they are written in a file."""
    from .fields import file_keys

    return list(file_keys(model))


def _inner(model: Any, key: str) -> Any:
    from .fields import file_keys

    name = file_keys(model).get(key)
    if name is None:
        return None
    annotation = model.model_fields[name].annotation
    options = (annotation, *getattr(annotation, "__args__", ()))
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _words(message: str) -> str:
    return message[0].lower() + message[1:]
