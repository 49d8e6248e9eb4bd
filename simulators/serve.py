"""Run the simulated bench until Ctrl-C, SIGTERM, or the end of standard input."""

import argparse
import json
import sys
from collections.abc import Sequence

from .bench import MODELS, SIZES, Bench
from .bench_orders import BenchOrders
from .fault_kinds import listing
from .presets import PRESETS
from .service import EndOfService


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the bench's options."""
    options = argparse.ArgumentParser(
        prog="stmtem sim",
        description="Run the simulated bench alone, so that any program can attach to it.",
    )
    _add_options(options)
    return options


def _add_options(options: argparse.ArgumentParser) -> None:
    """Add the bench's options to a parser."""
    options.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    options.add_argument("--seed", type=int, default=1, help="fixes everything random (default 1)")
    options.add_argument(
        "--speed", type=float, default=1.0, help="simulated seconds in a second (default 1)"
    )
    options.add_argument(
        "--preset", default="fig2", choices=sorted(PRESETS), help="the specimen (default fig2)"
    )
    options.add_argument(
        "--model", default="6430", choices=MODELS, help="what the source says it is"
    )
    options.add_argument(
        "--size", type=int, default=512, choices=SIZES, help="edge of the image in pixels"
    )
    options.add_argument("--source-port", type=int, default=0, help="TCP port of the source")
    options.add_argument("--probe-port", type=int, default=0, help="TCP port of the probe")
    options.add_argument("--control-port", type=int, default=0, help="control port of the camera")
    options.add_argument("--data-port", type=int, default=0, help="data port of the camera")
    options.add_argument(
        "--camera-clock-offset",
        type=float,
        default=0.0,
        metavar="S",
        help="the clock that stamps the frames is ahead by so many seconds",
    )
    options.add_argument(
        "--camera-clock-drift",
        type=float,
        default=0.0,
        metavar="RATIO",
        help="and gains so many seconds in a second, for example 5e-5",
    )
    options.add_argument(
        "--camera-loss",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the frames that are exposed but never sent",
    )
    options.add_argument(
        "--truth", metavar="FILE", help="write what each frame shows, particle by particle (CSV)"
    )
    options.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="inject a fault, for example bias_source:drop@exchange=12,count=3 (may be repeated)",
    )
    options.add_argument(
        "--list-faults", action="store_true", help="print all kinds of faults, and end"
    )
    options.add_argument(
        "--until-eof",
        action="store_true",
        help="end when standard input closes, so that the bench cannot outlive its parent; until "
        "then it takes orders there, such as 'inject probe:stuck_steps'",
    )


def _run(options: argparse.Namespace) -> int:
    """Run the bench and return the exit code: 0 after a signal, 2 when it cannot start."""
    if options.list_faults:
        print(listing())
        return 0
    with EndOfService(until_eof=options.until_eof) as end:
        try:
            bench = Bench(
                preset=options.preset,
                seed=options.seed,
                speed=options.speed,
                model=options.model,
                size=options.size,
                bias_source_port=options.source_port,
                probe_port=options.probe_port,
                control_port=options.control_port,
                data_port=options.data_port,
                camera_clock_offset_s=options.camera_clock_offset,
                camera_clock_drift=options.camera_clock_drift,
                camera_loss=options.camera_loss,
                truth=options.truth,
                faults=options.fault,
            )
        except (OSError, ValueError, OverflowError) as error:
            print(f"stmtem sim: {error}", file=sys.stderr)
            return 2
        with bench:
            try:
                _announce(bench, as_json=options.json)
            except OSError as error:
                print(f"stmtem sim: standard output: {error.strerror}", file=sys.stderr)
                sys.stdout = None
                return 2
            end.wait(BenchOrders(bench).take)
        if not options.json:
            print("bench closed")
        return 0


def _announce(bench: Bench, *, as_json: bool) -> None:
    addresses = bench.addresses.as_dict()
    if as_json:
        print(json.dumps(addresses), flush=True)
        return
    source, probe, camera = addresses["bias_source"], addresses["probe"], addresses["camera"]
    print("Simulated STM-TEM bench; Ctrl-C ends it.")
    print(f"  biasing source  {source['resource']}")
    print(f"                  {source['serial']}  (serial)")
    print(f"  probe           {probe['serial']}  (serial)")
    print(f"                  {probe['host']}:{probe['port']}  password {probe['password']}")
    print(
        f"  camera          {camera['host']}:{camera['control']} control, {camera['data']} data",
        flush=True,
    )


def serve(arguments: Sequence[str] | None = None) -> int:
    """Run the bench with command line arguments and return the exit code."""
    return _run(make_parser().parse_args(arguments))
