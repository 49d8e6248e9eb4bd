"""The commands for other machines, on the command line: ``queue`` and ``watch``."""

import argparse
from typing import Any

from .command_options import RUN_FOLDERS, add_attach, add_out, add_station, given


def add_queue_commands(commands: Any) -> None:
    """Add ``queue`` and ``watch`` to the parser."""
    queue = commands.add_parser(
        "queue",
        help="start a Bluesky queue server (RE Manager) for a station",
        description="Start an RE Manager whose worker opens the station: plans are queued from "
        "other programs and other machines. Needs the extra 'queue' and a redis server.",
        epilog="exit codes: 0 done; 2 refused, nothing was started",
    )
    add_station(queue)
    add_out(queue, RUN_FOLDERS)
    add_attach(queue)
    queue.add_argument(
        "--redis", default="localhost:6379", metavar="HOST:PORT", help="default localhost:6379"
    )
    queue.add_argument(
        "--control",
        default="tcp://127.0.0.1:60615",
        metavar="ADDRESS",
        help="where requests come in (default tcp://127.0.0.1:60615: this machine only)",
    )
    queue.add_argument(
        "--info",
        default="tcp://127.0.0.1:60625",
        metavar="ADDRESS",
        help="where the console goes out (default tcp://127.0.0.1:60625: this machine only)",
    )
    queue.add_argument(
        "--permissions", metavar="FILE", help="who may do what (default: comes with the package)"
    )
    queue.add_argument(
        "--print", action="store_true", dest="show", help="only print the start-re-manager line"
    )
    queue.add_argument(
        "--write-list", metavar="FILE", help="only write the list of plans and devices"
    )
    queue.set_defaults(run=_queue)

    watch = commands.add_parser(
        "watch",
        help="show what a station does, at another machine",
        description="Print what a station publishes (its [publish] table), a line for each thing "
        "of note, until Ctrl-C. Needs pyzmq, as in the extra 'queue'.",
    )
    watch.add_argument(
        "address",
        nargs="?",
        default="127.0.0.1:5578",
        help="where the 0MQ proxy hands documents out (default 127.0.0.1:5578)",
    )
    watch.set_defaults(run=_watch)


def _queue(options: argparse.Namespace) -> int:
    from .queueserver.command import run_queue

    return run_queue(**given(options))


def _watch(options: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from .errors import ConfigError

    if find_spec("zmq") is None:
        raise ConfigError("pyzmq is not installed; pip install 'stmtem-control[queue]'")
    from .watch_documents import run_watch

    return run_watch(options.address)
