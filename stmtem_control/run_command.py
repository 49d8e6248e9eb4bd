"""``stmtem run``: a protocol at a station, with live progress and the keyboard."""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from .bench_process import read_addresses
from .config import Station
from .end_signals import ctrl_c_told
from .errors import LimitError
from .estimate import Estimate, check_protocol
from .estimate.report import show_estimate
from .keyboard import Keyboard, echo_key, has_keyboard
from .log_file import log_to
from .named_station import named_station
from .outcome import Outcome
from .progress import LastingConsole
from .protocol import Protocol, read_protocol
from .protocol.quantities import TIME, parse_quantity
from .protocol_progress import ProtocolProgress
from .run_control import RunControl
from .run_folder import check_writable
from .run_protocol import (
    asks,
    refuse_without_detectors,
    refuse_without_person,
    run_protocol,
)
from .session import Session
from .units import megabytes, seconds


def run_file(options: argparse.Namespace) -> int:
    """Do what ``stmtem run`` was asked for.

    Returns
    -------
    int
        Exit code: 0 done, or nothing speaks against it; 1 the run ended early; 2 refused.

    Raises
    ------
    StmTemError
        Something was refused before anything moved.
    """
    console = LastingConsole(highlight=False)
    if console.is_dumb_terminal:  # nothing can be drawn anew on it
        console = LastingConsole(highlight=False, force_terminal=False)
    protocol = read_protocol(Path(options.protocol)).with_metadata(**_metadata(options))
    station = named_station(os.environ, options.station, options.out).with_bench(
        seed=options.seed, speed=options.speed, preset=options.preset, size=options.size
    )
    estimate = check_protocol(protocol, station)
    if options.dry_run:
        show_estimate(estimate, console)
        return 0 if estimate.ok else 2
    if not estimate.ok:
        for refusal in estimate.refusals:
            print(f"stmtem run: {refusal.one_line()}", file=sys.stderr)
        return 2
    _tell_estimate(protocol, estimate, console)
    refuse_without_detectors(protocol)
    keyboard = has_keyboard()
    if asks(protocol) and not options.yes and not keyboard:
        refuse_without_person(protocol)
    root = Path(station.station.data)
    check_writable(root)
    addresses = None if options.attach is None else read_addresses(Path(options.attach))
    with contextlib.ExitStack() as opened:
        with ctrl_c_told("stmtem run: interrupted; what was opened is closed again"):
            opened.enter_context(log_to(root))
            session = opened.enter_context(Session(station, addresses=addresses))
        console.print(f"station  {station.station.name}: {session.identities()}", soft_wrap=True)
        outcome = _run(session, protocol, estimate, console, keyboard=keyboard, yes=options.yes)
        if outcome.folder is None:
            raise outcome.refusal()
        return _tell(outcome, outcome.folder, station, console)


def _metadata(options: argparse.Namespace) -> dict[str, Any]:
    exposure = options.air_exposure
    return {
        "sample": options.sample,
        "operator": options.operator,
        "air_exposure_s": None if exposure is None else _duration(exposure),
        "notes": options.notes,
        "site": options.site,
    }


def _duration(text: str) -> float:
    try:
        return parse_quantity(text, TIME)
    except LimitError as error:
        raise LimitError(f"--air-exposure: {error}") from None


def _run(
    session: Session,
    protocol: Protocol,
    estimate: Estimate,
    console: Console,
    *,
    keyboard: bool,
    yes: bool,
) -> Outcome:
    """Run it, with progress, and the keyboard where there is one."""
    progress = ProtocolProgress(
        session,
        console,
        left=estimate.left_s,
        begins=[(point.t_s, point.phase, point.cycle) for point in estimate.timeline],
        budget_e_per_A2=protocol.beam.budget_e_per_A2,
    )
    session.dose.tell = progress.say
    with contextlib.ExitStack() as opened:
        ask: Any = None
        if keyboard:
            control = opened.enter_context(RunControl(session, progress))
            echo = (lambda _: None) if console.is_terminal else echo_key
            keys = opened.enter_context(Keyboard(control.key, progress.asked, echo=echo))
            progress.question = lambda: keys.question
            progress.typed = lambda: keys.typed
            ask = keys
        if yes:
            ask = _Yes(progress)
        opened.enter_context(progress.live())
        return run_protocol(session, protocol, ask=ask)


class _Yes:
    """Answers every question with yes, and says so."""

    def __init__(self, progress: ProtocolProgress) -> None:
        self._progress = progress

    def __call__(self, question: str) -> str:
        self._progress.say(f"asked: {question}; --yes answers")
        return "yes"

    def cancel(self) -> None:
        """Do nothing: no question is ever waiting."""


def _tell_estimate(protocol: Protocol, estimate: Estimate, console: Console) -> None:
    """Print what it will come to, in two lines."""
    shows = f": {' '.join(protocol.shows.split())}" if protocol.shows else ""
    console.print(f"protocol {protocol.name}{shows}", soft_wrap=True, markup=False)
    count = len(protocol.steps)
    console.print(
        f"estimate {count} step{'s' * (count != 1)}, about {seconds(estimate.wall_s)}, "
        f"{'' if estimate.frames_exact else 'about '}{estimate.frames} frames, "
        f"{megabytes(estimate.bytes_on_disk)}, {estimate.dose_e_per_A2:.4g} e/Å², "
        f"up to {estimate.highest_bias_V:g} V",
        soft_wrap=True,
    )
    for warning in estimate.warnings:
        console.print(f"warning  {warning}", soft_wrap=True, markup=False)


def _tell(outcome: Outcome, folder: Path, station: Station, console: Console) -> int:
    """Print the summary; the folder's path is the last line."""
    console.print(f"safe     {outcome.safe}", soft_wrap=True)
    if outcome.exit_code:
        print(f"stmtem run: {outcome.status}: {outcome.reason}", file=sys.stderr, flush=True)
    console.print(
        f"frames   {outcome.frames} on disk, {outcome.dropped} dropped; "
        f"{outcome.readings} readings; {outcome.total_dose_e_per_A2:.1f} e/Å² at "
        f"{station.beam.dose_rate_e_per_A2_s:g} e/Å²/s"
    )
    print(folder, flush=True)
    return outcome.exit_code
