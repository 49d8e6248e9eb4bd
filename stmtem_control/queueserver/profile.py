"""What a queue's environment holds: a session of its own, or only the station's description."""

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from bluesky.utils import FailedStatus

from stmtem_control.bench_process import read_addresses
from stmtem_control.config import Station
from stmtem_control.connect import describe
from stmtem_control.errors import StationInUseError, StmTemError
from stmtem_control.log_file import log_to
from stmtem_control.named_station import ATTACH, named_station
from stmtem_control.progress import Progress
from stmtem_control.run_folder import check_writable
from stmtem_control.session import Session
from stmtem_control.terminal import make_line_console

from .asked import Asked
from .functions import functions
from .queued import BOUND, queued_plans

CLOSING_S = 20.0  # wall seconds that the environment before may take to let the instruments go
FIRST = 100  # priority among what a worker does at its end

PAUSED = (
    "paused: bias 0 V, output off, beam blanked; resume goes on with what was, stop and abort end "
    "the plan"
)


def open_profile() -> dict[str, Any]:
    """Return the names of a queue's environment.

    In the worker of an RE Manager the station is opened, and closed when the worker ends.
    Anywhere else, as when the list of plans and devices is made, nothing is opened: devices are
    there to be described, and there is no RunEngine.

    Raises
    ------
    ConfigError, TransportError, RecordingError
        The station cannot be opened, or its file cannot be read.
    """
    station = named_station(os.environ)
    opened = contextlib.ExitStack()
    Finalize(None, opened.close, exitpriority=FIRST)
    if not in_worker():
        devices = describe(station, opened)
        return {**devices, **queued_plans(station, devices, dict.fromkeys(BOUND))}
    session = _open(station, opened)
    asked = Asked()
    bound = {"ask": asked, "detectors": session.detectors}
    return {
        **session.devices,
        **queued_plans(station, session.devices, bound),
        **functions(session, asked),
        "RE": session.RE,
        "session": session,
    }


def in_worker() -> bool:
    """Tell whether this is the worker of an RE Manager, which alone may open a station.

    ``is_re_worker_active()`` is true also where the list of plans and devices is made.
    """
    from bluesky_queueserver.manager.worker import (  # pyright: ignore[reportMissingImports]
        RunEngineWorker,
    )

    return isinstance(multiprocessing.current_process(), RunEngineWorker)


def _open(station: Station, opened: contextlib.ExitStack) -> Session:
    attach = os.environ.get(ATTACH)
    addresses = read_addresses(Path(attach)) if attach else None
    root = Path(station.station.data)
    check_writable(root)
    opened.enter_context(log_to(root))
    session = opened.enter_context(_when_free(station, addresses))
    opened.enter_context(session.ended_by_signals(leave=True))
    # Goes to the console that the manager publishes.
    session.RE.subscribe(Progress(session, make_line_console()))
    session.RE.subscribe(lambda _name, _doc: print(session.run_folder.folder), "stop")
    session.dose.tell = lambda text: print(text, file=sys.stderr)
    # The outermost: it knows why a plan has ended.
    session.RE.context_managers.insert(0, _for_a_manager(session))
    return session


def _when_free(station: Station, addresses: Mapping[str, Any] | None) -> Session:
    """Open the station; one that the worker before this one still holds is waited for."""
    deadline, never = time.monotonic() + CLOSING_S, threading.Event()
    while True:
        try:
            return Session(station, addresses=addresses)
        except StationInUseError:
            if time.monotonic() > deadline:
                raise
            never.wait(0.2)


def _for_a_manager(session: Session) -> Any:
    """Return a context manager of the RunEngine that fits it to an RE Manager.

    The manager tells its clients the RunEngine's words, which shall say why a plan has ended.  And
    it must end what it has paused by itself, or it would take the plan for paused for ever; so
    what was tripped meanwhile is ended when somebody wants it to go on.
    """

    @contextlib.contextmanager
    def fit(engine: RunEngine) -> Iterator[None]:
        if engine.state == "paused" and (reason := session.ending.refused()):
            engine.abort(reason)
        try:
            yield
        except FailedStatus as error:
            # It says which device; what failed, failed for the reason that the session knows.
            if session.ending.told:
                raise StmTemError(session.ending.told) from error
            raise
        finally:
            paused = engine.state == "paused"
            engine.pause_msg = PAUSED if paused else f"ended: {session.ending.told}"

    session.ending.leave_paused = True
    return fit
