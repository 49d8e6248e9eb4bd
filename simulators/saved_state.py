"""The state of a kinetic model as bytes: a line of JSON, then what the C core saves."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stmtem_control.errors import SpecimenError

__all__ = ["STATE_VERSION", "pack", "unpack", "write_whole"]

_WHAT: Final = "stmtem-control kinetic state"

#: Layout of :meth:`.KineticState.save`; it changes with the core's.
STATE_VERSION: Final = 4


def pack(preset: str, seed: int, parameters: Mapping[str, float], core: bytes) -> bytes:
    """Return a state: what it is and what made it, and the core's own bytes."""
    head = {
        "what": _WHAT,
        "version": STATE_VERSION,
        "preset": preset,
        "seed": seed,
        "parameters": dict(parameters),
    }
    return json.dumps(head).encode() + b"\n" + core


def unpack(state: bytes | str | os.PathLike[str]) -> tuple[Any, Any, dict[str, Any], bytes]:
    """Return preset, seed, parameters and the core's bytes of a state, or of the file it is in.

    Raises
    ------
    SpecimenError
        It does not start as a state of this version.
    OSError
        The file cannot be read.
    """
    try:
        content = state if isinstance(state, bytes) else Path(state).read_bytes()
        head, _, core = content.partition(b"\n")
        values = json.loads(head)
        version = values["version"] if values["what"] == _WHAT else None
        preset, seed, parameters = values["preset"], values["seed"], dict(values["parameters"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SpecimenError("cannot restore the state: it does not start as one") from None
    if version != STATE_VERSION:
        raise SpecimenError(
            f"cannot restore the state: it is of version {version}, this program reads "
            f"version {STATE_VERSION}"
        )
    return preset, seed, parameters, core


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is complete or not there.

    Raises
    ------
    OSError
        It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
