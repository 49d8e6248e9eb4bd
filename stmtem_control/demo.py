"""The main job, as a command: deposit and strip lithium at a station, and show the result."""

import sys
from pathlib import Path

from rich.console import Console

from .bench_process import read_addresses
from .config import Station, load_station
from .contact_sheet import draw_contact_sheet
from .errors import RecordingError
from .log_file import log_to
from .progress import LastingConsole, Progress
from .run_folder import check_writable
from .session import Outcome, Session
from .units import megabytes


def run_demo(
    *,
    station: str = "sim",
    out: str | None = None,
    cycles: int = 2,
    deposit_V: float = -5.0,
    strip_V: float = 5.0,
    seed: int | None = None,
    speed: float | None = None,
    preset: str | None = None,
    size: int | None = None,
    attach: str | None = None,
    approach: bool = True,
) -> int:
    """Run the deposition and stripping cycles and print what came of it.

    Returns
    -------
    int
        Exit code: 0 done, 1 the experiment ended early.

    Raises
    ------
    StmTemError
        Something was refused before anything moved.
    """
    from stmtem_control.plans import deposition_stripping_cycles

    described = load_station(station, data=out).with_bench(
        seed=seed, speed=speed, preset=preset, size=size
    )
    console = LastingConsole(highlight=False)
    addresses = None if attach is None else read_addresses(Path(attach))
    root = Path(described.station.data)
    check_writable(root)
    with log_to(root), Session(described, addresses=addresses) as session:
        console.print(f"station  {described.station.name}: {session.identities()}", soft_wrap=True)
        devices = session.devices
        plan = deposition_stripping_cycles(
            devices["bias"],
            devices["camera"],
            devices["beam"],
            probe=devices["probe"],
            cycles=cycles,
            deposit_V=deposit_V,
            strip_V=strip_V,
            approach=approach,
        )
        with Progress(session, console).live():
            outcome = session.run(plan)
        if outcome.folder is None:
            raise outcome.refusal()
        return _tell(outcome, outcome.folder, described, console)


def _tell(outcome: Outcome, folder: Path, station: Station, console: Console) -> int:
    """Print the summary; the folder's path is the last line."""
    console.print(f"\nsafe     {outcome.safe}", soft_wrap=True)
    if outcome.exit_code:
        print(f"stmtem demo: {outcome.status}: {outcome.reason}", file=sys.stderr, flush=True)
    console.print(
        f"frames   {outcome.frames} on disk, {outcome.dropped} dropped; "
        f"{outcome.readings} readings; {_size(folder)}"
    )
    console.print(
        f"dose     {outcome.total_dose_e_per_A2:.1f} e/Å² at "
        f"{station.beam.dose_rate_e_per_A2_s:g} e/Å²/s"
    )
    if outcome.frames:
        _draw(folder, station, console)
    print(folder, flush=True)
    return outcome.exit_code


def _size(folder: Path) -> str:
    """Return how much is in a folder; its disk may have been pulled out."""
    try:
        return megabytes(sum(path.stat().st_size for path in folder.iterdir()))
    except OSError as error:
        return f"the disk cannot be read: {error.strerror}"


def _draw(folder: Path, station: Station, console: Console) -> None:
    """Draw the contact sheet; whatever happens to it, the run is complete."""
    console.print("picture  is being drawn ...")
    try:
        sheet = draw_contact_sheet(
            folder, station.camera.pixel_size_nm, f"{station.station.name}   {folder.name}"
        )
        console.print(f"         {sheet}", soft_wrap=True)
    except RecordingError as error:
        print(f"stmtem demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stmtem demo: no picture: interrupted; the run itself is complete", file=sys.stderr)
