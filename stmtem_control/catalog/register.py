"""Registers runs with a Tiled server, from the documents on disk.

No RunEngine, plan or device knows of it: a server that is slow, dead or away delays what can be
seen in the catalog, and nothing else.
"""

# pyright: reportMissingImports=false
# httpx comes with the extra "catalog"; nothing imports this module without it.

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmtem_control.errors import RecordingError
from stmtem_control.recording.run_documents import first_and_stop
from stmtem_control.run_folder import DOCUMENTS

from .document_tail import DocumentTail, Look, look_at

if TYPE_CHECKING:
    from .run_writer import RunWriter

POLL_S = 1.0
FIRST_WAIT_S = 1.0  # after a failure; doubled after each further one
LONGEST_WAIT_S = 60.0


class ServerAway(Exception):  # noqa: N818 - what it says
    """The server does not answer; nothing is wrong with a run."""


@dataclass
class _Run:
    """A run folder as far as it is registered."""

    look: Look | None = None  # of its documents, when all that was there had been registered
    uid: str = ""
    tail: DocumentTail | None = None
    writer: "RunWriter | None" = None
    ended: bool = False
    problem: str = ""
    failures: int = 0
    again_at: float = 0.0


@dataclass(frozen=True)
class RegistrationState:
    """What is registered, and what is not.

    Attributes
    ----------
    registered, growing : int
        Runs that are registered as a whole, and those that may go on.
    problems : list of str
        One line for each run that cannot be registered.
    away : str
        Why the server cannot be reached; empty if it can.
    wait_s : float
        Until the next attempt.
    """

    registered: int = 0
    growing: int = 0
    problems: list[str] = field(default_factory=list)
    away: str = ""
    wait_s: float = POLL_S

    def __str__(self) -> str:
        """Return one line."""
        runs = f"{self.registered} runs registered"
        if self.growing:
            runs += f", {self.growing} not closed"
        if self.problems:
            runs += f", {len(self.problems)} failed: {self.problems[0]}"
        if self.away:
            runs = f"no answer: {self.away}; tried again in {self.wait_s:.0f} s; {runs}"
        return runs


class Registrar:
    """Brings the runs of a folder into a Tiled catalog, and keeps up with those that grow.

    A run is known by its uid and is registered once.  What was registered and by whom is asked of
    the catalog itself: nothing is lost by a restart.  A run of which only a part is in the catalog,
    or whose documents were mended since, is taken out of the catalog and registered anew.

    Parameters
    ----------
    root : Path
        The data folder, with a folder for each run.
    connect : callable
        Returns a client of the catalog; called again after the server was away.
    now : callable
        A clock that only goes forward, s.
    """

    def __init__(
        self,
        root: Path,
        connect: Callable[[], Any],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self._connect = connect
        self._now = now
        self._client: Any = None
        self._runs: dict[Path, _Run] = {}
        self._failures = 0

    def step(self) -> RegistrationState:
        """Register what is new on disk, and return what came of it.

        Raises
        ------
        RecordingError
            The data folder cannot be read.
        """
        try:
            folders = sorted(path.parent for path in self.root.glob(f"*/{DOCUMENTS}"))
            if not self.root.is_dir():
                raise FileNotFoundError(2, "No such file or directory")
        except OSError as error:
            raise RecordingError(f"data folder {self.root}: {error.strerror}") from None
        away, wait_s = "", POLL_S
        try:
            client = self._connected()
            for folder in folders:
                self._attend(client, folder, self._runs.setdefault(folder, _Run()))
            self._failures = 0
        except ServerAway as error:
            self.disconnect()
            away, wait_s = str(error), _wait_s(self._failures)
            self._failures += 1
        return RegistrationState(
            registered=sum(run.ended for run in self._runs.values()),
            growing=sum(
                bool(run.uid) and not run.ended and not run.problem for run in self._runs.values()
            ),
            problems=[
                f"{folder.name}: {run.problem}" for folder, run in self._runs.items() if run.problem
            ],
            away=away,
            wait_s=wait_s,
        )

    def disconnect(self) -> None:
        """Let go of the server; the next step connects again."""
        client, self._client = self._client, None
        for run in self._runs.values():
            if run.writer is not None:
                run.writer = run.tail = run.look = None  # how much of it came through is not known
        if client is not None:
            client.context.close()

    def _connected(self) -> Any:
        if self._client is None:
            try:
                self._client = self._connect()
            except Exception as error:  # a server can be away in many ways
                raise ServerAway(_line(error)) from error
        return self._client

    def _attend(self, client: Any, folder: Path, run: _Run) -> None:
        """Bring one run up to date; what is wrong with it alone does not stop the others."""
        import httpx

        try:
            look = look_at(folder / DOCUMENTS)
            if look == run.look or (run.problem and self._now() < run.again_at):
                return
            self._update(client, folder, run)
        except httpx.TransportError as error:
            raise ServerAway(_line(error)) from error
        except Exception as error:  # nobody else is there to see it
            run.problem = _line(error)
            run.again_at = self._now() + _wait_s(run.failures)
            run.failures += 1
            run.writer = run.tail = run.look = None
            return
        run.look = look
        run.problem, run.failures = "", 0

    def _update(self, client: Any, folder: Path, run: _Run) -> None:
        if run.tail is not None and run.tail.replaced:
            run.writer = run.tail = None
        if run.writer is None and not self._begin(client, folder, run):
            return
        assert run.tail is not None
        assert run.writer is not None
        run.ended = False
        for name, doc in run.tail.read():
            run.writer.write(name, doc)
            run.ended = name == "stop"
        if run.ended:
            run.writer = run.tail = None
        else:
            run.writer.flush()

    def _begin(self, client: Any, folder: Path, run: _Run) -> bool:
        """Make ready to write a run from its beginning; return whether there is anything to do."""
        start, stop = first_and_stop(folder / DOCUMENTS)
        if start is None:
            if (folder / DOCUMENTS).read_bytes().count(b"\n"):
                raise RecordingError(
                    f"documents.jsonl does not begin with a start document; "
                    f"'stmtem recover {folder}' mends it"
                )
            return False  # the run is just beginning
        uid = start["uid"]
        for other, known in self._runs.items():
            if known.uid == uid and other != folder and (other / DOCUMENTS).exists():
                raise RecordingError(f"a copy of {other.name}, which is registered already")
        run.uid = uid
        registered = self._metadata(client, uid)
        if registered is not None:
            there = registered.get("folder") == str(folder.resolve())
            if there and stop is not None and registered.get("stop") == stop:
                run.ended = True
                return False
            # Only what the catalog says of the run goes; its files are not the catalog's.
            client.delete_contents(uid, recursive=True, external_only=False)
        from .run_writer import RunWriter

        run.tail = DocumentTail(folder / DOCUMENTS)
        run.writer = RunWriter(client, folder)
        return True

    def _metadata(self, client: Any, uid: str) -> dict[str, Any] | None:
        try:
            return dict(client[uid].metadata)
        except KeyError:
            return None


def _wait_s(failures: int) -> float:
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 10)))


def _line(error: BaseException) -> str:
    """Return an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__
