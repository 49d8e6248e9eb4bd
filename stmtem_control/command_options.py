"""Options that several commands have, each in the same words."""

import sys
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from typing import Any

OF_ITS_BENCH = " (give its --speed and --size here too)"
RUN_FOLDERS = "where run folders go"


def given(options: Namespace) -> dict[str, Any]:
    """Return the options of a command by name, for the function that does it."""
    return {name: value for name, value in vars(options).items() if name not in ("command", "run")}


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


def add_out(parser: ArgumentParser, meaning: str = "where the run folder goes") -> None:
    """Add ``--out``, a folder."""
    parser.add_argument("--out", metavar="DIR", help=meaning)


def add_sample(parser: ArgumentParser, *, old: str | None = None) -> None:
    """Add ``--sample`` and ``--site``, under which a dose is booked; `old` names it as before."""
    parser.add_argument("--sample", metavar="ID", help="identifies the sample")
    if old is not None:
        parser.add_argument(old, dest="sample", action=_OldName, new="--sample", help=SUPPRESS)
    parser.add_argument("--site", metavar="NAME", help="the place in the beam")


class _OldName(Action):
    """An option under its former name, which is taken, and said to be another now."""

    def __init__(self, *args: Any, new: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._new = new

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Take the value, and say the name that counts."""
        print(f"{parser.prog}: {option_string} is called {self._new} now", file=sys.stderr)
        setattr(namespace, self.dest, values)


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
