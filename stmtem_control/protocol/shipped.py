"""The protocol files that come with the package, by name."""

import difflib
import re
from importlib.resources import files
from pathlib import Path

from stmtem_control.errors import ProtocolFileError

_NAME = re.compile(r"[\w -]+(\.ya?ml)?", re.IGNORECASE)  # no folder in it


def shipped_protocols() -> dict[str, Path]:
    """Return the files of the protocols that come with the package, by name."""
    folder = Path(str(files("stmtem_control.protocols")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_protocol(source: Path | str) -> Path:
    """Return the file of a protocol: the one of this path, else the shipped one of this name.

    Raises
    ------
    ProtocolFileError
        There is neither; a name gets the nearest one that there is.
    """
    path = Path(source)
    try:
        if path.is_file() or not _NAME.fullmatch(str(source)):
            return path
    except ValueError:  # a NUL in the path; who opens it says so
        return path
    known = shipped_protocols()
    name = re.sub(r"\.ya?ml$", "", path.name, flags=re.IGNORECASE)
    if name in known:
        return known[name]
    if path.exists():
        return path
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), known, n=1)
    hint = (
        f"did you mean {near[0]!r}, which comes with the package?"
        if near
        else "give the path of a protocol file, or a name that 'stmtem protocols' lists"
    )
    raise ProtocolFileError(f"No such file or directory; {hint}", file=str(path))
