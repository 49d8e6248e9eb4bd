"""``stmtem check``: what a protocol would come to at a station, and whether it would be refused."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from .command_options import add_bench, add_out, add_protocol, add_sample, add_station
from .errors import ConfigError
from .terminal import make_console

FORMATS = (".png", ".pdf", ".svg")


def add_check_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``check`` to the command line."""
    check = commands.add_parser(
        "check",
        help="say what a protocol would come to, and whether it would be refused",
        description="Walk through the messages of a protocol's plan without any instrument: time, "
        "frames, bytes, bias, charge, and dose against the budget of the site.",
        epilog="exit codes: 0 it can run; 2 it would be refused, or cannot be read: the lines say "
        "where and what to change",
    )
    add_protocol(check)
    add_station(check)
    add_out(check, "where the run folder would go")
    add_sample(check, old="--specimen")
    add_bench(check)
    check.add_argument("--plot", metavar="FILE", help="draw the timeline: PNG, PDF or SVG")
    check.add_argument("--json", action="store_true", help="print everything as JSON")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from .estimate import check_protocol
    from .named_station import named_station
    from .protocol import read_protocol

    if options.plot is not None and Path(options.plot).suffix.lower() not in FORMATS:
        raise ConfigError(f"--plot {options.plot}: give a file that ends in {', '.join(FORMATS)}")
    station = named_station(os.environ, options.station, options.out).with_bench(
        seed=options.seed, speed=options.speed, preset=options.preset, size=options.size
    )
    protocol = read_protocol(Path(options.protocol))
    protocol = protocol.with_metadata(sample=options.sample, site=options.site)
    estimate = check_protocol(protocol, station)
    if options.json:
        print(json.dumps(estimate.as_dict(), indent=1))
    else:
        from .estimate.report import show_estimate

        show_estimate(estimate, make_console())
    if options.plot is not None:
        from .estimate.timeline_picture import draw_timeline

        drawn = draw_timeline(estimate, Path(options.plot))
        if not options.json:
            print(drawn)
    return 0 if estimate.ok else 2
