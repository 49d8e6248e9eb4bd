"""The command line.  Nothing heavy is imported before a command needs it."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence

from . import __version__
from .check_command import add_check_command
from .command_options import (
    OF_ITS_BENCH,
    RUN_FOLDERS,
    add_attach,
    add_bench,
    add_out,
    add_station,
    given,
)
from .dose_command import add_dose_command
from .end_signals import ToldInterrupt, is_ctrl_c, on_end_signals
from .errors import StmTemError
from .protocol_commands import add_protocol_commands
from .queue_commands import add_queue_commands
from .run_commands import add_run_commands

EXAMPLES = """\
examples:
  stmtem demo                         the main job on simulated instruments
  stmtem check burst.yaml             what a protocol takes, and what would be refused
  stmtem run small_particles          a protocol, with live progress (or your own file)
  stmtem sim                          only the simulated instruments, to attach to
  stmtem doctor --station my_lab.toml say whether a station's instruments answer
  stmtem safe --station my_lab.toml   bias off, beam blanked, from any terminal
  stmtem recover runs/20261123T...    mend a run whose recording was killed
  stmtem dose                         what dose each site has had, and what is left
  stmtem catalog runs                 serve the runs to Tiled clients
  stmtem session --station sim        IPython with the RunEngine, devices and plans
  stmtem queue --station my_lab.toml  a queue server: plans from other machines
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="stmtem",
        description="Instrument control and acquisition for in-situ STM-TEM.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stmtem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="run deposition and stripping cycles on a simulated bench",
        description="Approach, deposit and strip lithium with frames throughout, retract. The "
        "last line is the run's folder.",
    )
    add_station(demo)
    add_out(demo)
    demo.add_argument("--cycles", type=int, default=2, help="how many cycles (default 2)")
    demo.add_argument("--deposit-V", type=float, default=-5.0, help="deposition bias (default -5)")
    demo.add_argument("--strip-V", type=float, default=5.0, help="stripping bias (default 5)")
    demo.add_argument(
        "--no-approach",
        action="store_false",
        dest="approach",
        help="the probe is in contact already: begin with the deposition",
    )
    add_bench(demo)
    add_attach(demo, OF_ITS_BENCH)
    demo.set_defaults(run=_demo)

    sim = commands.add_parser("sim", help="run the simulated bench alone", add_help=False)
    sim.add_argument("rest", nargs=argparse.REMAINDER)
    sim.set_defaults(run=_sim)

    doctor = commands.add_parser(
        "doctor", help="check the installation and whether a station's instruments answer"
    )
    add_station(doctor)
    doctor.set_defaults(run=_doctor)

    safe = commands.add_parser(
        "safe",
        help="make a station safe: bias off, beam blanked, probe stopped",
        description="Make a station safe, from any terminal. A session that holds it is asked; if "
        "it hangs, its guard process acts. Without a session the instruments are opened here.",
        epilog="exit codes: 0 all is safe; 1 a part is not: switch it off by hand; 2 bad input",
    )
    add_station(safe)
    add_attach(safe)
    safe.set_defaults(run=_safe)

    add_check_command(commands)
    add_protocol_commands(commands)
    add_run_commands(commands)
    add_dose_command(commands)
    add_queue_commands(commands)

    recover = commands.add_parser(
        "recover",
        help="mend runs whose recording was killed",
        description="Cut off what is torn, rebuild the rows of the last frames, declare what is on "
        "disk, and close the documents. Run twice, it changes nothing.",
        epilog="exit codes: 0 mended, or nothing to do; 1 more is lost than the frame that was "
        "being written; 2 not a run, or in use",
    )
    recover.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run")
    recover.add_argument("--dry-run", action="store_true", help="only say what would be done")
    recover.set_defaults(run=_recover)

    catalog = commands.add_parser(
        "catalog",
        help="serve the runs of a data folder to Tiled clients",
        description="Serve the runs of a data folder on this machine, register them, and register "
        "new ones as they come, until Ctrl-C. Needs the extra 'catalog'.",
        epilog="exit codes: 0 done, or ended by Ctrl-C; 1 with --once: a run could not be "
        "registered; 2 refused",
    )
    catalog.add_argument("folder", nargs="?", help="data folder (default: the station's)")
    add_station(catalog)
    catalog.add_argument(
        "--port", type=int, default=8000, help="of the server (default 8000; 0: any that is free)"
    )
    catalog.add_argument(
        "--once", action="store_true", help="register what is there, and end without serving on"
    )
    catalog.add_argument(
        "--server",
        metavar="URL",
        help="register with a Tiled server that runs already; its key is in TILED_API_KEY",
    )
    catalog.add_argument("--until-eof", action="store_true", help="end when standard input does")
    catalog.set_defaults(run=_catalog)

    session = commands.add_parser("session", help="open IPython at a station")
    session.add_argument(
        "--station", help="a station's name or file (default: $STMTEM_STATION, else sim)"
    )
    add_out(session, f"{RUN_FOLDERS} (default: $STMTEM_DATA, else the station's)")
    session.add_argument(
        "-c", dest="code", metavar="CODE", help="run this code instead of asking for input"
    )
    session.set_defaults(run=_session)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: done.  1: the experiment ended early, for the reason stated.  2: bad input, or refused;
    nothing has moved.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["sim"]:
        # The bench has options of its own, and works without the rest of the package.
        return _sim(argparse.Namespace(rest=words[1:]))
    options = make_parser().parse_args(words)
    try:
        with _ended_by_signals(options.command):
            return int(options.run(options))
    except StmTemError as error:
        print(f"stmtem {options.command}: {error}", file=sys.stderr)
        return 2
    except ToldInterrupt:
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said to them.
        sys.stdout = None
        return 1
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 makes a RuntimeError of a Ctrl-C that comes while a class is made.
        if not is_ctrl_c(error):
            raise
        if not isinstance(error.__cause__, ToldInterrupt):
            print(f"stmtem {options.command}: interrupted", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _ended_by_signals(command: str) -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the command, so that what is open is closed and made safe."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(f"stmtem {command}: ended by {signal.Signals(number).name}")

    with on_end_signals(end):
        yield


def _sim(options: argparse.Namespace) -> int:
    from stmtem_control.simulators import serve

    return serve(options.rest)


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    return run_demo(**given(options))


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import examine

    return examine(options.station)


def _safe(options: argparse.Namespace) -> int:
    from .safe_command import run_safe

    return run_safe(options.station, options.attach)


def _recover(options: argparse.Namespace) -> int:
    from .recover import run_recover

    return run_recover(options.runs, dry_run=options.dry_run)


def _catalog(options: argparse.Namespace) -> int:
    from .catalog.command import run_catalog

    return run_catalog(**given(options))


def _session(options: argparse.Namespace) -> int:
    from .console import open_console

    return open_console(options.station, options.out, options.code)


if __name__ == "__main__":
    sys.exit(main())
