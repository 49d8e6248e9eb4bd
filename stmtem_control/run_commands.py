"""The commands that look at runs on disk: list them, show one, export one."""

import argparse
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from .command_options import add_station
from .errors import RecordingError
from .terminal import make_console


def add_run_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``runs``, ``show`` and ``export`` to the command line."""
    runs = commands.add_parser("runs", help="list the runs in a data folder")
    runs.add_argument("folder", nargs="?", help="data folder (default: the station's)")
    add_station(runs)
    runs.set_defaults(run=_runs)

    show = commands.add_parser(
        "show",
        help="say what a run holds",
        description="Plan, outcome, frames and where any were lost, phases with bias, current, "
        "charge and dose, and how sure the times are.",
    )
    _add_run(show)
    add_station(show)
    show.set_defaults(run=_show)

    export = commands.add_parser(
        "export",
        help="write a run in another format",
        description="The run itself stays as it is.",
    )
    _add_run(export)
    add_station(export)
    export.add_argument(
        "--parquet",
        action="store_true",
        help="frames.parquet and bias.parquet beside the tables, with units and types; needs "
        "the extra 'parquet'",
    )
    export.add_argument(
        "--ome-tiff",
        metavar="FILE",
        help="all frames in one OME-TIFF, with nm, and each frame's time and exposure",
    )
    export.set_defaults(run=_export)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "which",
        nargs="?",
        metavar="RUN",
        help="a run's folder, or a part of its name in the station's data folder, for example "
        "5267297b (default: the newest there)",
    )


def find_run(which: str | None, station: str) -> Path:
    """Return the folder of a run.

    Parameters
    ----------
    which : str, optional
        A folder, or a part of the name of one in the station's data folder; None for the newest.
    station : str
        A station's name or file.

    Raises
    ------
    RecordingError
        There is none, or more than one.
    ConfigError
        The station cannot be read.
    """
    from .named_station import named_station
    from .run_folder import DOCUMENTS

    if which is not None and Path(which).is_dir():
        return Path(which)
    root = Path(named_station(os.environ, station).station.data)
    found = sorted(path.parent for path in root.glob(f"*/{DOCUMENTS}"))
    if which is not None:
        found = [path for path in found if which in path.name]
    if not found:
        named = "no run" if which is None else f"no folder {which}, and no run of that name"
        raise RecordingError(f"{named} in {root}; 'stmtem runs FOLDER' lists them")
    if which is not None and len(found) > 1:
        some = ", ".join(path.name for path in found[:3])
        raise RecordingError(f"{which} is in the names of {len(found)} runs, {some}; give more")
    return found[-1]


def _runs(options: argparse.Namespace) -> int:
    from .named_station import named_station
    from .run_folder import list_runs

    root = Path(options.folder or named_station(os.environ, options.station).station.data)
    runs, unreadable = list_runs(root)
    for problem in unreadable:
        print(f"stmtem runs: {problem}", file=sys.stderr)
    if not runs:
        print(f"no runs in {root}")
        return 0
    width = max(len(run.folder.name) for run in runs)
    print(f"{'run (UTC time, plan, uid)':<{width}} {'state':<10} {'frames':>6} {'readings':>8}")
    for run in runs:
        print(f"{run.folder.name:<{width}} {run.state:<10} {run.frames:>6} {run.readings:>8}")
        if run.reason:
            print(textwrap.indent(textwrap.fill(run.reason, 76), "  "))
    return 0


def _show(options: argparse.Namespace) -> int:
    from .run_report import report_run
    from .show_run import show_run

    show_run(report_run(find_run(options.which, options.station)), make_console())
    return 0


def _export(options: argparse.Namespace) -> int:
    from .errors import ConfigError
    from .export_run import export_ome_tiff, export_parquet

    if not options.parquet and options.ome_tiff is None:
        raise ConfigError("say what to write: --parquet, --ome-tiff FILE, or both")
    folder = find_run(options.which, options.station)
    written: list[Path] = []
    if options.parquet:
        written += export_parquet(folder)
    if options.ome_tiff is not None:
        written.append(export_ome_tiff(folder, Path(options.ome_tiff)))
    for path in written:
        print(path)
    return 0
