"""Reading a protocol file."""

from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from stmtem_control.errors import ProtocolFileError

from .fields import WRITTEN, file_keys, in_words
from .problems import problem_of, unknown_key
from .protocol import Protocol
from .shipped import find_protocol
from .steps import STEPS, WRITTEN_AS_TEXT, Cycles, Deposit, Strip, kind_of
from .yaml_tree import MOST_BYTES, Path, Tree, read_tree


def read_protocol(source: FilePath | str) -> Protocol:
    """Read a protocol file.

    Parameters
    ----------
    source : pathlib.Path or str
        Path of a YAML file, or the name of one that comes with the package; or the text of one,
        if it has more than one line.

    Raises
    ------
    ProtocolFileError
        It cannot be read, or not be run as written.  The message names file, line and key, what was
        found, and what is allowed.
    """
    if isinstance(source, str) and "\n" in source:
        return parse_protocol(source)
    path = find_protocol(source)
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
        need = "a protocol begins with 'protocol:' and its name, and has 'steps:'"
        raise tree.problem(f"found {found}; {need}", (), line=1, found=found, allowed=need)
    given = dict(tree.value)
    if "text" in given:
        raise unknown_key(("text",), file_keys(Protocol), tree)
    steps = given.get("steps")
    if isinstance(steps, list):
        given["steps"] = [_step(step, ("steps", index), tree) for index, step in enumerate(steps)]
    try:
        protocol = Protocol.model_validate(
            given, by_alias=True, by_name=False, context={WRITTEN: True}
        )
    except ValidationError as error:
        raise problem_of(error, Protocol, tree) from None
    placed = tuple(
        _placed(step, ("steps", index), tree) for index, step in enumerate(protocol.steps)
    )
    return protocol.model_copy(update={"text": text, "steps": placed})


def _step(step: Any, path: Path, tree: Tree) -> dict[str, Any]:
    """Turn ``{deposit: {...}}`` into what the models take."""
    models = {kind_of(model): model for model in STEPS}
    if isinstance(step, str) and step in models:
        step = {step: None}  # "- retract" for "- retract: {}"
    if not isinstance(step, dict) or len(step) != 1:
        found = "no step"
        if isinstance(step, dict) and step:
            found = f"{len(step)} keys: {', '.join(step)}"
        found = found if len(found) <= 80 else found[:77] + "..."
        raise tree.problem(
            f"found {found}; give one step, for example '- retract: {{steps: 5}}', and indent "
            "what belongs to it",
            path,
            found=found,
            allowed=", ".join(models),
        )
    ((kind, body),) = step.items()
    here = (*path, kind)
    if kind not in models:
        raise unknown_key(here, list(models), tree)
    model = models[kind]
    if model in WRITTEN_AS_TEXT:
        return {"kind": kind, "text": body}
    body = {} if body is None else body
    if not isinstance(body, dict):
        found = in_words(body)
        allowed = f"a mapping, for example '{kind}: {model.example}'"
        raise tree.problem(f"found {found}; give {allowed}", here, found=found, allowed=allowed)
    for key in ("kind", "where"):
        if key in body:
            raise unknown_key((*here, key), file_keys(model), tree)
    return {**body, "kind": kind}


def _placed(step: Any, path: Path, tree: Tree) -> Any:
    """Return a step that knows where it stands."""
    update: dict[str, Any] = {"where": f"{tree.file}:{tree.line(path)}"}
    if isinstance(step, Cycles):
        for part in ("deposit", "strip"):
            line = tree.line((*path, "cycles", part))
            inner: Deposit | Strip = getattr(step, part)
            update[part] = inner.model_copy(update={"where": f"{tree.file}:{line}"})
    return step.model_copy(update=update)


def _decoded(data: bytes, file: str) -> str:
    tree = Tree(file=file)
    if len(data) > MOST_BYTES:
        raise tree.problem("longer than a megabyte; this is no protocol", ())
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise tree.problem(
            f"found the byte {byte}, which is no UTF-8; save the file as UTF-8",
            (),
            line=line,
            found=byte,
            allowed="UTF-8 text",
        ) from None
