"""A session as a person has it before them: names, tables, magics, and errors in one line.

``stmtem session``, ``%run -m stmtem_control.startup`` and ``from stmtem_control.startup import *``
are three doors to it, and give the same names.
"""

import atexit
import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from bluesky.utils import FailedStatus, RunEngineInterrupted

from .config import Station
from .errors import StmTemError
from .log_file import log_to
from .magics import StationMagics
from .outcome import Outcome, one_line
from .overview import DeviceList, PlanList, explain
from .past_run import PastRun, newest_run
from .progress import Progress
from .public_plans import public_plans
from .run_folder import check_writable
from .scan_table import RunView, ScanView
from .session import Session
from .tab_units import signal_matcher
from .terminal import make_line_console

PAUSED = (
    "paused: bias 0 V, output off, beam blanked; RE.resume() puts back what was and goes on, "
    "RE.abort() ends the plan"
)
HELP = """\
RE(plan) runs a plan, bp and bps are Bluesky's; ? after a name explains it, Tab completes.
  devices  plans   print what there is; %wa where everything is, with limits
  e.g.     RE(approach_contact(probe, bias, beam))
           RE(deposit(bias, camera, beam, bias_V=-5, duration_s=1))
           run_protocol("protocol.yaml", sample="CNF-12")
  last_run()     the newest run: .path, .frames (table), .images, .show()
  safe_state()   bias to 0 V, output off, beam blanked, probe stopped
  interlocks     what has tripped; interlocks.clear() when you know why
  %tb            the whole traceback of an error that was told in one line
A bias, and an open beam, last as long as the plan that set them.  Ctrl-C pauses a plan.
"""
# What is meant for a person: one line, not the RunEngine's stack.
MEANT = (StmTemError, FailedStatus, RunEngineInterrupted)


def namespace(session: Session, view: ScanView | None = None) -> dict[str, Any]:
    """Return the names that a session puts before a person.

    Parameters
    ----------
    session : Session
    view : ScanView, optional
        Bluesky's best-effort callback of this session, as ``bec``.
    """
    import bluesky.plan_stubs as bps
    import bluesky.plans as bp

    def run_protocol(protocol: Any, **metadata: Any) -> Outcome:
        """Run a protocol: the path of a YAML file, or the name of one.

        Parameters
        ----------
        protocol : str, Path or Protocol
            ``"my_cycles.yaml"``, or ``"my_cycles"`` for ``protocols/my_cycles.yaml`` here; or the
            name of one that comes with the package, as ``"nucleation_burst"``.
        **metadata
            ``sample="CNF-12"``, ``operator="A. Name"``, ``notes="..."``, ``site="fibre 1"``,
            ``air_exposure_s=30``: instead of what stands in the file.

        Returns
        -------
        Outcome
            How it ended, and the run folder.

        Raises
        ------
        ProtocolFileError
            File, line and key of what cannot be run; nothing has moved.
        """
        from .run_protocol import run_protocol as run

        if isinstance(protocol, str) and re.fullmatch(r"\w+", protocol):
            own = Path("protocols", f"{protocol}.yaml")
            protocol = own if own.is_file() else protocol
        return run(session, protocol, **metadata)

    def last_run() -> PastRun:
        """Return the newest run: ``.path``, ``.frames``, ``.readings``, ``.images``, ``.show()``.

        Raises
        ------
        RecordingError
            There is none yet in the data folder.
        """
        session.wait_until_complete()
        folder = session.run_folder.folder
        return newest_run(session.root) if folder is None else PastRun(folder)

    for device in session.devices.values():
        device.__doc__ = explain(device)  # for "bias?": what it reads, with units
    listed = PlanList(public_plans(parts=True))
    return {
        **listed,
        "RE": session.RE,
        "session": session,
        "clock": session.clock,
        "safe_state": session.safe_state,
        "interlocks": session.interlocks,
        "run_protocol": run_protocol,
        "last_run": last_run,
        "devices": DeviceList(session.devices),
        "plans": listed,
        "bp": bp,
        "bps": bps,
        **({} if view is None else {"bec": view}),
        **session.devices,
    }


class Prompt:
    """An open station with all that a prompt needs; close it, or use it in a with block.

    Parameters
    ----------
    station : Station
        Its data folder is made if it is not there.

    Attributes
    ----------
    session : Session
    names : dict
        What a person has by name.

    Raises
    ------
    StmTemError
        The station could not be opened.
    """

    def __init__(self, station: Station) -> None:
        root = Path(station.station.data)
        check_writable(root)
        with contextlib.ExitStack() as opened:
            opened.enter_context(log_to(root))
            self.session = opened.enter_context(Session(station))
            opened.enter_context(self.session.ended_by_signals(leave=True))
            scans, progress = ScanView(), Progress(self.session, make_line_console())
            self.session.RE.subscribe(
                RunView(progress, scans, frozenset(public_plans(parts=True)), self._ended)
            )
            self.session.dose.tell = _say
            if self.session.catalog.problem:
                _say(f"stmtem: {self.session.catalog.problem}")
            self.names = namespace(self.session, scans)
            self._opened = opened.pop_all()
        atexit.register(self.close)

    def _ended(self) -> None:
        print(self.session.run_folder.folder)

    @property
    def banner(self) -> str:
        """Who the instruments are, and what can be done."""
        return f"{self.session.station.station.name}: {self.session.identities()}\n{HELP}"

    def attach(self, shell: Any) -> None:
        """Give an IPython shell the magics, units at Tab, and errors in one line."""
        shell.register_magics(StationMagics(shell, self.session.RE, self.session.devices))
        shell.set_custom_exc(MEANT, teller(self.session))
        shell.Completer.custom_matchers.append(signal_matcher(self.session.devices))

    def close(self) -> None:
        """Make the station safe and close it; harmless when called again."""
        atexit.unregister(self.close)
        self._opened.close()

    def __enter__(self) -> Self:
        """Return the prompt."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def teller(session: Session) -> Callable[..., None]:
    """Return what tells an error that is meant for a person: one line; ``%tb`` shows its stack."""

    def tell(
        _shell: Any, kind: type, error: BaseException, stack: Any = None, *_: object, **__: object
    ) -> None:
        sys.last_type, sys.last_value, sys.last_traceback = kind, error, stack
        idle, reason = session.RE.state == "idle", session.ending.told
        if isinstance(error, RunEngineInterrupted):
            ended = f"ended: {reason}" if reason else "the plan had just ended by itself"
            text = ended if idle else PAUSED
        elif isinstance(error, FailedStatus) and idle and reason:
            text = f"ended: {reason}"  # what failed, failed because of that
        else:
            text = f"{kind.__name__}: {one_line(error)}"
        _say(text)

    return tell


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
