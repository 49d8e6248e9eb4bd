"""The commands on protocol files; nothing heavy is imported before one of them is run."""

import argparse
import json
from pathlib import Path
from typing import Any

from .command_options import OF_ITS_BENCH, add_attach, add_bench, add_protocol, add_station
from .errors import RecordingError


def add_protocol_commands(commands: Any) -> None:
    """Add ``run``, ``protocols`` and ``schema`` to the commands of a parser."""
    run = commands.add_parser(
        "run",
        help="run a protocol file",
        description="Check a protocol file, then run it, with live progress. At a terminal p "
        "pauses, r or Enter resumes, q ends; the first Ctrl-C pauses, the second ends. The last "
        "line is the run's folder, which keeps the file as protocol.yaml.",
        epilog="exit codes: 0 done; 1 ended early, for the reason stated; 2 refused, and nothing "
        "has moved",
    )
    add_protocol(run)
    add_station(run)
    run.add_argument("--out", metavar="DIR", help="where the run folder goes")
    run.add_argument("--dry-run", action="store_true", help="only check it and say what it takes")
    run.add_argument("--yes", action="store_true", help="answer every prompt with yes")
    run.add_argument("--sample", metavar="ID", help="identifies the sample")
    run.add_argument("--operator", metavar="NAME", help="who is at the microscope")
    run.add_argument("--air-exposure", metavar="TIME", help="of the sample, for example '30 s'")
    run.add_argument("--notes", metavar="TEXT", help="anything else")
    run.add_argument("--site", metavar="NAME", help="the place in the beam")
    add_bench(run)
    add_attach(run, OF_ITS_BENCH)
    run.set_defaults(run=_run)

    protocols = commands.add_parser(
        "protocols",
        help="list the protocols that come with the package, or copy one out",
        description="List the protocols that come with the package: the paper's experiments. With "
        "a name the file is printed, or copied to be edited.",
        epilog="exit codes: 0 done; 2 there is none of that name, or the copy cannot be written",
    )
    protocols.add_argument("name", nargs="?", metavar="NAME", help="of one of them")
    protocols.add_argument(
        "--copy",
        nargs="?",
        const="",
        metavar="FILE",
        help="copy it to this file or folder (default: here, under its name); a file that is "
        "there is kept",
    )
    protocols.set_defaults(run=_protocols)

    schema = commands.add_parser(
        "schema",
        help="print the JSON schema of protocol files, for editors",
        description="Print the JSON schema of protocol files. An editor with a YAML language "
        "server completes and checks a file that begins with the line "
        "'# yaml-language-server: $schema=protocol.schema.json'.",
    )
    schema.add_argument("--out", metavar="FILE", help="write it into a file instead")
    schema.set_defaults(run=_schema)


def _run(options: argparse.Namespace) -> int:
    from .run_command import run_file

    return run_file(options)


def _protocols(options: argparse.Namespace) -> int:
    from .list_protocols import run_protocols

    return run_protocols(options)


def _schema(options: argparse.Namespace) -> int:
    from .protocol.schema import protocol_schema

    text = json.dumps(protocol_schema(), indent=2, ensure_ascii=False) + "\n"
    if options.out is None:
        print(text, end="", flush=True)
        return 0
    try:
        Path(options.out).write_text(text, "utf-8")
    except OSError as error:
        raise RecordingError(
            f"{options.out}: {error.strerror}; give a file that can be written"
        ) from None
    print(options.out, flush=True)
    return 0
