"""IPython at a station: the RunEngine, the devices and the plans by name."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bluesky.utils import FailedStatus, RunEngineInterrupted
from rich.console import Console

from .config import load_station
from .errors import StmTemError
from .log_file import log_to
from .progress import Progress
from .run_folder import check_writable
from .session import Session, one_line

PLANS = (
    "approach_contact",
    "beam_blocked_control",
    "beam_irradiation_control",
    "clapperboard",
    "deposit",
    "deposition_stripping_cycles",
    "dose_calibration",
    "leakage_baseline",
    "make_safe",
    "retract",
    "safe",
    "strip",
    "triggered_cycles",
)

PAUSED = (
    "paused: bias 0 V, output off, beam blanked; RE.resume() puts back what was and goes on, "
    "RE.abort() ends the plan"
)
HELP = """\
RE(plan) runs a plan; press Tab after a device's name to see what it has.
  devices  bias (V, A), probe (x, y, z), camera (frames), beam (blanked)
  plans    leakage_baseline, approach_contact, retract, deposit, strip,
           deposition_stripping_cycles, triggered_cycles, dose_calibration,
           beam_blocked_control, beam_irradiation_control
  e.g.     RE(approach_contact(probe, bias, beam))
           RE(deposit(bias, camera, beam, bias_V=-5, duration_s=1))
  safe_state()   bias to 0 V, output off, beam blanked, probe stopped
  interlocks     what has tripped; interlocks.clear() when you know why
A bias, and an open beam, last as long as the plan that set them.  Ctrl-C pauses a plan.
"""


def namespace(session: Session) -> dict[str, Any]:
    """Return the names that a session puts before a person."""
    import bluesky.plan_stubs as bps
    import bluesky.plans as bp

    from stmtem_control import plans

    names: dict[str, Any] = {
        "RE": session.RE,
        "session": session,
        "clock": session.clock,
        "safe_state": session.safe_state,
        "interlocks": session.interlocks,
        "bp": bp,
        "bps": bps,
        **session.devices,
    }
    names.update({name: getattr(plans, name) for name in PLANS})
    return names


def _teller(session: Session) -> Callable[..., None]:
    """Return what tells an error that is meant for a person: one line, no stack."""

    def tell(_shell: Any, kind: type, error: BaseException, *_: object, **__: object) -> None:
        idle, reason = session.RE.state == "idle", session.ending.told
        if isinstance(error, RunEngineInterrupted):
            text = f"ended: {reason or 'from outside'}" if idle else PAUSED
        elif isinstance(error, FailedStatus) and idle and reason:
            text = f"ended: {reason}"  # what failed, failed because of that
        else:
            text = f"{kind.__name__}: {one_line(error)}"
        print(text, file=sys.stderr)

    return tell


def open_console(station: str, out: str | None = None, code: str | None = None) -> int:
    """Open IPython with a station's namespace; everything is closed when it ends.

    With `code`, run that instead of asking for input.

    Raises
    ------
    StmTemError
        The station could not be opened.
    """
    described = load_station(station)
    if out is not None:
        described = described.with_data(out)
    root = Path(described.station.data)
    check_writable(root)
    with log_to(root), Session(described) as session, session.ended_by_signals(leave=True):
        names = namespace(session)
        session.RE.subscribe(Progress(session, Console(force_terminal=False, width=160)))
        session.dose.tell = lambda text: print(text, file=sys.stderr)
        session.RE.subscribe(lambda _name, _doc: print(session.run_folder.folder), "stop")
        if code is not None:
            try:
                exec(compile(code, "<stmtem session -c>", "exec"), names)
            except (StmTemError, FailedStatus) as error:
                print(f"stmtem session: {one_line(error)}", file=sys.stderr)
                return 1
            return 0
        from IPython.terminal.embed import InteractiveShellEmbed
        from traitlets.config import Config

        config = Config()
        config.InteractiveShellEmbed.confirm_exit = False
        config.InteractiveShellEmbed.enable_tip = False
        config.HistoryManager.enabled = sys.stdin.isatty()
        banner = f"{described.station.name}: {session.identities()}\n{HELP}"
        shell = InteractiveShellEmbed(config=config, banner1=banner, user_ns=names)
        # An error that is meant for a person is one line here too, not the RunEngine's stack.
        meant = (StmTemError, FailedStatus, RunEngineInterrupted)
        shell.set_custom_exc(meant, _teller(session))
        shell()
    return 0
