"""How another program finds the guards of running sessions, and asks them to make safe.

Each guard process keeps, in a folder that only its user can enter, a Unix-domain socket and a file
that tells which station it guards.  Who asks writes one line of JSON and reads one back.
"""

import contextlib
import hashlib
import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import TransportError

ANSWER_S = 20.0  # wall seconds: the session's own try, then the guard's, each with its deadlines
CONNECT_S = 2.0
LONGEST = 1 << 16  # bytes of a line


def private_folder() -> Path:
    """Return the folder of this user's guards, made if need be.

    Raises
    ------
    TransportError
        There is something in its place that others could have put there.
    """
    own, runtime = os.getuid(), os.environ.get("XDG_RUNTIME_DIR", "")
    place = runtime if os.path.isdir(runtime) else tempfile.gettempdir()
    folder = Path(place) / f"stmtem-{own}"
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise TransportError(f"{folder}: cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != own or found.st_mode & 0o077:
        raise TransportError(
            f"{folder}: not a folder of this user alone (mode {stat.filemode(found.st_mode)}, "
            f"owner {found.st_uid}); remove it, and start again"
        )
    return folder


def key_of(address: str) -> str:
    """Return what stands for an instrument's address in the file of a guard."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


class SafeListener:
    """The guard's end: a socket to listen on, and the file that tells of it.

    Parameters
    ----------
    name : str
        Of the station.
    session : int
        Process id of the session.
    addresses : sequence of str
        Of the instruments.
    """

    def __init__(self, name: str, session: int, addresses: Sequence[str]) -> None:
        folder = private_folder()
        self._paths = [folder / f"{os.getpid()}.sock", folder / f"{os.getpid()}.json"]
        self.close_files()  # of a guard that had the same number and was killed
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self._paths[0]))
        self.socket.listen()
        self.socket.setblocking(False)
        about = {"name": name, "session": session, "keys": [key_of(a) for a in addresses]}
        new = self._paths[1].with_suffix(".new")
        new.write_text(json.dumps(about), "utf-8")
        new.replace(self._paths[1])

    def close_files(self) -> None:
        """Remove socket and file."""
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()

    def close(self) -> None:
        """Listen no more."""
        self.socket.close()
        self.close_files()


@dataclass(frozen=True)
class GuardFound:
    """A guard that listens: of which session, and where."""

    session: int
    path: Path


def guards_of(name: str, addresses: Sequence[str]) -> Iterator[GuardFound]:
    """Yield the guards of a station: of the same name, or with one of its instruments.

    Sockets that nobody listens on any more are removed.
    """
    keys = {key_of(address) for address in addresses}
    for file in sorted(private_folder().glob("*.json")):
        path = file.with_suffix(".sock")
        try:
            about: dict[str, Any] = json.loads(file.read_text("utf-8"))
            fits = about["name"] == name or not keys.isdisjoint(about["keys"])
            session = int(about["session"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it is just going
        if _nobody_listens(path):
            for left in (path, file):
                with contextlib.suppress(OSError):
                    left.unlink()
        elif fits:
            yield GuardFound(session, path)


def _nobody_listens(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(CONNECT_S)
        try:
            line.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # it listens, and is busy
            return False
    return False


def ask(guard: GuardFound, reason: str) -> dict[str, Any]:
    """Have a guard make its station safe, and return its answer: the report, and who did it.

    Raises
    ------
    TransportError
        It does not answer.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(ANSWER_S)
        try:
            line.connect(str(guard.path))
            line.sendall(json.dumps({"safe": reason}).encode() + b"\n")
            with line.makefile("rb") as answers:
                said = answers.readline(LONGEST)
            found: dict[str, Any] = json.loads(said)
        except (OSError, ValueError) as error:
            raise TransportError(
                f"the guard of session {guard.session} does not answer ({error}); switch the "
                "instruments off by hand now"
            ) from None
        return found
