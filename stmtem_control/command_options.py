"""Options that several commands have, each in the same words."""

from argparse import ArgumentParser

OF_ITS_BENCH = " (give its --speed and --size here too)"


def add_station(parser: ArgumentParser) -> None:
    """Add ``--station``."""
    parser.add_argument("--station", default="sim", help="a station's name or file (default sim)")


def add_protocol(parser: ArgumentParser) -> None:
    """Add the protocol that a command is about."""
    parser.add_argument(
        "protocol",
        metavar="PROTOCOL",
        help="a protocol file (YAML), or the name of one that 'stmtem protocols' lists",
    )


def add_attach(parser: ArgumentParser, note: str = "") -> None:
    """Add ``--attach``, for a simulated bench that runs already; a note for this command."""
    parser.add_argument(
        "--attach",
        metavar="FILE",
        help=f"use a bench that runs already; the file has what 'stmtem sim --json' printed{note}",
    )


def add_bench(parser: ArgumentParser) -> None:
    """Add what a simulated bench can be told: ``--seed``, ``--speed``, ``--preset``, ``--size``."""
    parser.add_argument("--seed", type=int, help="of the simulated specimen")
    parser.add_argument("--speed", type=float, help="simulated seconds in a second")
    parser.add_argument("--preset", help="of the simulated specimen")
    parser.add_argument("--size", type=int, help="edge of the simulated camera's image in pixels")
