"""What is wrong with a protocol, in one line: file, line, key, found, allowed, nearest."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from stmtem_control.errors import ProtocolFileError

from .fields import file_keys, in_words, key_of
from .yaml_tree import Path, Tree

_WANTED = {
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a mapping, for example {}",
    "dict_type": "a mapping",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_too_short": "some text",
    "string_pattern_mismatch": "some text",
    "too_short": "at least one",
}
_UNKNOWN = ("extra_forbidden", "until_key")


def problem_of(error: ValidationError, top: type[BaseModel], tree: Tree) -> ProtocolFileError:
    """Return the first of pydantic's findings, first in the file, as a person would say it."""
    findings: list[Any] = error.errors(include_url=False)
    places = [finding["loc"] for finding in findings]

    def order(finding: Any) -> tuple[bool, bool, int]:
        here = finding["loc"]
        # A list of which an item is wrong is told to be too short, too.
        outer = any(place != here and place[: len(here)] == here for place in places)
        # A mistyped key shows up twice, as unknown and as missing: the unknown one tells more.
        return outer, finding["type"] not in _UNKNOWN, tree.line(here)

    finding = min(findings, key=order)
    path, kind = tuple(finding["loc"]), finding["type"]
    if path[-2:] in (("prompt", "text"), ("comment", "text")):
        path = path[:-1]  # in a file the text stands right behind the step's name
    context = finding.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path, keys_at(top, path[:-1]), tree)
    if kind == "until_key":
        return unknown_key((*path, context["key"]), context["known"], tree)
    found = context.get("found", "") or in_words(finding["input"])
    allowed, nearest = str(context.get("allowed", "")), str(context.get("nearest", ""))
    if kind == "together":
        field = str(context["field"])
        path, found = (*path, key_of(field)) if field else path, ""
        message = allowed
    elif kind == "missing":
        found, message = "", "missing"
    elif kind in ("quantity", "until_value"):
        if kind == "until_value" and context["key"] != "until":
            path = (*path, context["key"])
        if path in tree.numbers:  # as it is written: 1e-9, and not 1e-09
            value, written = repr(finding["input"]), tree.numbers[path]
            found, nearest = found.replace(value, written), nearest.replace(value, written)
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        message = f"found {found}; {allowed}{hint}"
    elif kind in ("greater_than_equal", "less_than_equal"):
        allowed = f"{context['ge']} or more" if "ge" in context else f"at most {context['le']}"
        message = f"found {found}; give {allowed}"
    elif kind in _WANTED:
        allowed = _WANTED[kind]
        message = f"found {found}; give {allowed}"
    else:
        allowed = finding["msg"][0].lower() + finding["msg"][1:]
        message = f"found {found}; {allowed}"
    return tree.problem(message, path, found=found, allowed=allowed, nearest=nearest)


def unknown_key(
    path: Path, known: Mapping[str, str] | Iterable[str], tree: Tree
) -> ProtocolFileError:
    """Return the error of a key that is not known, with the nearest one that is.

    Parameters
    ----------
    path : tuple
        Of the key.
    known : mapping or iterable of str
        The keys that are known, perhaps with the names that Python has for them.
    tree : Tree
        Of the file.
    """
    names = known if isinstance(known, Mapping) else {key: key for key in known}
    key = str(path[-1])
    alike = {name.lower(): right for right, name in names.items()}
    alike.update({name.lower(): name for name in names})
    near = difflib.get_close_matches(key.lower(), alike, n=1, cutoff=0.7)
    nearest = alike[near[0]] if near else ""
    known = list(names)
    hint = f"did you mean {nearest!r}?" if near else f"known: {', '.join(known)}"
    return tree.problem(
        f"unknown key; {hint}", path, found=key, allowed=", ".join(known), nearest=nearest
    )


def keys_at(top: type[BaseModel], path: Path) -> dict[str, str]:
    """Return the keys that may stand at a place of a file of a model, with their names."""
    models: list[type[BaseModel]] = [top]
    for part in path:
        if isinstance(part, int):
            continue
        # A step's place has its kind in it, which is a model of the union and no field.
        steps = [m for m in models if "kind" in m.model_fields and _kind(m) == part]
        models = steps or [
            inner
            for model in models
            if part in file_keys(model)
            for inner in models_in(model.model_fields[file_keys(model)[part]])
        ]
    return {key: name for model in models for key, name in file_keys(model).items()}


def _kind(model: type[BaseModel]) -> object:
    return model.model_fields["kind"].default


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a field's annotation, however they are wrapped."""
    annotation = getattr(annotation, "annotation", annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in models_in(inner)]
