"""Where tables are printed: a terminal as wide as it is, or a pipe or a file, never cut."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 10_000  # columns; a table is only as wide as what is in it
LINE_WIDTH = 160  # of a line of progress


def make_console() -> "Console":
    """Return a console on the standard output.

    Rich takes anything that is no terminal for one of 80 columns, and cuts what does not fit.
    """
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def make_line_console() -> "Console":
    """Return a console for lines, whatever the output is: it draws nothing anew.

    A live display does not go together with a prompt, nor with a console that others read.
    """
    from rich.console import Console

    return Console(force_terminal=False, force_jupyter=False, width=LINE_WIDTH)
