"""Is everything there?  The installation, the station file, and every instrument's own name."""

import contextlib
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from .clock import StationClock
from .config import Station, load_station
from .errors import StmTemError
from .run_folder import check_writable
from .units import megabytes


def examine(which: str) -> int:
    """Print a line for each thing that is needed, and what to do where it is missing.

    Instruments are asked who they are; nothing is set and nothing moves.

    Returns
    -------
    int
        Exit code: 0 all is well, 2 something is not.

    Raises
    ------
    ConfigError
        The station file cannot be used.
    """
    station = load_station(which)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", platform.python_version),
        ("stmtem-control", _packages),
        ("kinetic model", _core),
        ("station", lambda: f"{station.station.name} ({which})"),
        ("data folder", lambda: _data(Path(station.station.data))),
    ]
    failed = sum(not _check(name, look) for name, look in checks)
    with contextlib.ExitStack() as opened:
        failed += _instruments(station, opened)
    print("all is well" if not failed else f"{failed} not well")
    return 0 if not failed else 2


def _check(name: str, look: Callable[[], str]) -> bool:
    try:
        found, fine = look(), True
    except (StmTemError, ImportError) as error:
        found, fine = str(error), False
    print(f"{'ok  ' if fine else 'FAIL'}  {name:<15} {found}")
    return fine


def _packages() -> str:
    names = ("stmtem-control", "bluesky", "ophyd", "pyvisa", "pyvisa-py", "pyserial", "tifffile")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _core() -> str:
    from stmtem_control.simulators import KineticModel

    model = KineticModel(preset="fig2", seed=1)
    model.advance(0.2, -5.0)
    return f"C core works: {len(model.particles)} nuclei after 0.2 s at -5 V"


def _data(root: Path) -> str:
    check_writable(root)
    return f"{root.resolve()}: {megabytes(shutil.disk_usage(root).free)} free"


def _instruments(station: Station, opened: contextlib.ExitStack) -> int:
    """Ask each instrument who it is; return how many did not answer rightly."""
    from .bench_process import BenchProcess
    from .connect import open_drivers

    addresses = None
    if station.bench is not None:
        try:
            bench = BenchProcess(station.bench)
        except StmTemError as error:
            print(f"FAIL  {'bench':<15} {error}")
            return 1
        opened.callback(bench.close)
        addresses = bench.addresses
    speed = station.bench.speed if station.bench else 1.0
    drivers = open_drivers(station, StationClock(speed), addresses, opened)
    return sum(not _check(name, identify) for name, identify in drivers.identify())
