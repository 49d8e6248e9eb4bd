"""Reading a protocol file."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stmtem_control.errors import ProtocolFileError

from .fields import WRITTEN
from .problems import problem_of, unknown_key
from .protocol import Protocol
from .steps import STEPS, Comment, Cycles, Prompt, kind_of
from .yaml_tree import MOST_BYTES, Tree, read_tree


def read_protocol(source: Path | str) -> Protocol:
    """Read a protocol file.

    Parameters
    ----------
    source : Path or str
        Path of a YAML file; or its text, if it has more than one line.

    Raises
    ------
    ProtocolFileError
        It cannot be read, or not be run as written.  The message names file, line and key, what was
        found, and what is allowed.
    """
    if isinstance(source, str) and "\n" in source:
        return parse_protocol(source)
    path = Path(source)
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ProtocolFileError(
            f"{error.strerror or error}; give the path of a protocol file", file=str(path)
        ) from None
    except ValueError as error:  # a NUL in the path
        raise ProtocolFileError(
            f"{error}; give the path of a protocol file", file=repr(source)
        ) from None
    return parse_protocol(_decoded(data, str(path)), str(path))


def parse_protocol(text: str, file: str = "protocol") -> Protocol:
    """Read a protocol from its text; `file` is its name in errors.

    Raises
    ------
    ProtocolFileError
        It cannot be run as written.
    """
    tree = read_tree(text.removeprefix("\ufeff"), file)
    if not isinstance(tree.value, dict):
        found = "nothing" if tree.value is None else "no mapping"
        raise ProtocolFileError(
            f"found {found}; a protocol begins with 'protocol:' and its name, and has 'steps:'",
            file=file,
            line=1,
            found=found,
        )
    steps = tree.value.get("steps")
    given = dict(tree.value)
    if "text" in given:
        raise unknown_key(("text",), _known(), file, tree.lines)
    if isinstance(steps, list):
        given["steps"] = [_step(step, index, tree, file) for index, step in enumerate(steps)]
    try:
        found_protocol = Protocol.model_validate(
            given, by_alias=True, by_name=False, context={WRITTEN: True}
        )
    except ValidationError as error:
        raise problem_of(error, file, tree.lines, given) from None
    return found_protocol.model_copy(
        update={
            "text": text,
            "steps": tuple(
                _placed(step, ("steps", index), tree, file)
                for index, step in enumerate(found_protocol.steps)
            ),
        }
    )


def _known() -> list[str]:
    from .problems import keys_of

    return keys_of(Protocol)


def _step(step: Any, index: int, tree: Tree, file: str) -> dict[str, Any]:
    """Turn ``{deposit: {...}}`` into what the models take."""
    path: tuple[str | int, ...] = ("steps", index)
    kinds = [kind_of(model) for model in STEPS]
    if isinstance(step, str) and step in kinds:
        step = {step: None}  # "- retract" for "- retract: {}"
    if not isinstance(step, dict) or len(step) != 1:
        found = f"{len(step)} keys" if isinstance(step, dict) else "no step"
        if isinstance(step, dict) and len(step) > 1:
            found = "more than one step: " + ", ".join(str(key) for key in step)
        example = "for example '- retract: {steps: 5}'; what belongs to a step stands indented"
        raise ProtocolFileError(
            f"found {' '.join(found.split())[:120]}; give one, {example}",
            file=file,
            line=tree.lines.get(path, 0),
            key=f"step {index + 1}",
            found=found,
            allowed=", ".join(kinds),
        )
    ((kind, body),) = step.items()
    if kind not in kinds:
        raise unknown_key((*path, kind), kinds, file, tree.lines)
    model = STEPS[kinds.index(kind)]
    if model in (Prompt, Comment):
        return {"kind": kind, "text": body}
    if body is None:
        body = {}
    if not isinstance(body, dict):
        example = f"a mapping, for example '{kind}: {model.example}'"
        raise ProtocolFileError(
            f"found {body!r}; give {example}"
            if not isinstance(body, list)
            else f"found a list; give {example}",
            file=file,
            line=tree.lines.get((*path, kind), 0),
            key=f"step {index + 1}, {kind}",
            found=repr(body),
            allowed=example,
        )
    for key in ("kind", "where"):
        if key in body:
            from .problems import keys_of

            raise unknown_key((*path, kind, key), keys_of(model), file, tree.lines)
    return {**body, "kind": kind}


def _placed(step: Any, path: tuple[str | int, ...], tree: Tree, file: str) -> Any:
    """Return a step that knows where it stands."""
    update: dict[str, Any] = {"where": f"{file}:{tree.lines.get(path, 0)}"}
    if isinstance(step, Cycles):
        for part in ("deposit", "strip"):
            line = tree.lines.get((*path, "cycles", part), 0)
            update[part] = getattr(step, part).model_copy(update={"where": f"{file}:{line}"})
    return step.model_copy(update=update)


def _decoded(data: bytes, file: str) -> str:
    if len(data) > MOST_BYTES:
        raise ProtocolFileError("longer than a megabyte; this is no protocol", file=file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise ProtocolFileError(
            f"found the byte {byte}, which is no UTF-8; save the file as UTF-8",
            file=file,
            line=line,
            found=byte,
            allowed="UTF-8 text",
        ) from None
