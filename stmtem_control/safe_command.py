"""``stmtem safe``: make a station safe from outside, whoever holds it."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stmtem_control.devices import SafeReport

from .bench_process import BenchProcess, read_addresses
from .config import load_station
from .connect import Addresses, instrument_addresses
from .errors import TransportError
from .safe_channel import ask, guards_of
from .safe_station import StationSafety
from .station_lock import StationLock
from .station_tables import BENCH

REASON = "stmtem safe"


def run_safe(station: str = "sim", attach: str | None = None) -> int:
    """Make a station safe and print what became of each part.

    Whoever holds the station is asked to do it: the guard of each session at a station of that
    name, or with one of its instruments, passes it on, and acts by itself if the session does not.
    With no session there, this process opens the instruments.

    Returns
    -------
    int
        Exit code: 0 all is safe, 1 a part is not.

    Raises
    ------
    StmTemError
        The station file cannot be used.
    """
    described = load_station(station)
    addresses = None if attach is None else read_addresses(Path(attach))
    bench = described.bench is not None and addresses is None
    instruments = [
        address
        for address in _known(described, addresses)
        if address != BENCH  # wherever the bench of a session listens
    ]
    answers = []
    if hasattr(os, "getuid"):
        for guard in guards_of(described.station.name, instruments):
            try:
                answers.append(ask(guard, f"{REASON} (process {os.getpid()})"))
            except TransportError as error:
                print(f"stmtem safe: {error}", file=sys.stderr)
                answers.append({})
    if answers:
        return max(_tell(answer) for answer in answers)
    with contextlib.ExitStack() as opened:
        opened.enter_context(_links_are_mute())
        if bench and described.bench is not None:
            started = BenchProcess(described.bench)
            opened.callback(started.close)
            addresses = started.addresses
        try:
            lock = StationLock(instrument_addresses(described, addresses))
        except TransportError as error:
            print(
                f"stmtem safe: {error}; it has no guard that could be asked from here: call "
                "safe_state() at its prompt, or end it with SIGTERM",
                file=sys.stderr,
            )
            return 1
        opened.callback(lock.release)
        safety = StationSafety(described, addresses)
        opened.callback(safety.close)
        report = safety.make_safe(REASON)
        return _tell({"report": report.as_dict(), "by": "this process; no session was found"})


def _known(described: Any, addresses: Addresses | None) -> list[str]:
    """Return the addresses of the instruments, and the word "bench" for those not known here."""
    if addresses is not None or described.bench is None:
        return instrument_addresses(described, addresses)
    unknown: Addresses = {
        "bias_source": {"resource": BENCH},
        "probe": {"serial": BENCH},
        "camera": {"host": BENCH, "control": 0, "data": 0},
    }
    return instrument_addresses(described, unknown)[:2]


def _tell(answer: dict[str, Any]) -> int:
    try:
        report = SafeReport.from_dict(answer["report"])
    except (KeyError, TypeError, ValueError):
        return 1
    print(f"by       {answer.get('by', 'its guard')}")
    told: dict[str, str] = {}  # parts behind one instrument fail with the same words
    for part in report.parts:
        state = "safe" if part.ok else "NOT SAFE"
        first = told.setdefault(part.what, part.name)
        what = part.what if part.ok or first == part.name else f"the same as {first}"
        print(f"{state:8} {part.name:10} {1e3 * part.seconds:6.0f} ms  {what}")
    if report.ok:
        print(f"all safe in {report.seconds:.3f} s")
        return 0
    print(report.headline(), flush=True)
    return 1


@contextlib.contextmanager
def _links_are_mute() -> Iterator[None]:
    """Keep what links log of their failures to the terminal: it is in the lines that follow."""
    logger, handler = logging.getLogger("stmtem_control"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
