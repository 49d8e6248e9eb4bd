"""``stmtem protocols``: those that come with the package; one of them printed, or copied out."""

import argparse
import sys
from pathlib import Path

from .errors import ProtocolFileError, RecordingError
from .protocol import find_protocol, read_protocol, shipped_protocols
from .terminal import make_console


def run_protocols(options: argparse.Namespace) -> int:
    """Do what ``stmtem protocols`` was asked for.

    Raises
    ------
    ProtocolFileError
        There is none of that name, or none was named where one must be.
    RecordingError
        The copy cannot be written, or a file of that name is there.
    """
    if options.name is None:
        if options.copy is not None:
            raise ProtocolFileError(
                "say which one to copy: 'stmtem protocols NAME --copy'", file="--copy"
            )
        _list()
        return 0
    path = find_protocol(options.name)
    text = path.read_text("utf-8")
    if options.copy is None:
        sys.stdout.write(text)
        return 0
    target = Path(options.copy or ".")
    if target.is_dir():
        target /= path.name
    _write_new(target, text)
    print(target, flush=True)
    return 0


def _list() -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, path in shipped_protocols().items():
        table.add_row(name, escape(" ".join((read_protocol(path).shows or "").split())))
    console = make_console()
    console.print(table)
    console.print(
        "\n'stmtem check NAME' says what one takes, 'stmtem run NAME' runs it; 'stmtem protocols "
        "NAME' shows the file, with '--copy' a copy is made to edit",
    )


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecordingError(
            f"{path}: is there already, and is kept; give another name: --copy FILE"
        ) from None
    except OSError as error:
        raise RecordingError(
            f"{path}: {error.strerror}; give a file that can be written: --copy FILE"
        ) from None
