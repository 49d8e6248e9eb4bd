"""``stmtem session``: IPython at a station."""

import contextlib
import os
import sys

from bluesky.utils import FailedStatus

from .end_signals import ctrl_c_told
from .errors import StmTemError
from .named_station import named_station
from .outcome import one_line
from .prompt import Prompt


def open_console(
    station: str | None = None, out: str | None = None, code: str | None = None
) -> int:
    """Open IPython with a station's names; everything is closed when it ends.

    Station and data folder that are not given are those that the environment names.  With `code`,
    run that instead of asking for input.

    Raises
    ------
    StmTemError
        The station could not be opened.
    """
    with contextlib.ExitStack() as opened:
        with ctrl_c_told("stmtem session: interrupted; what was opened is closed again"):
            prompt = opened.enter_context(Prompt(named_station(os.environ, station, out)))
        if code is not None:
            try:
                exec(compile(code, "<stmtem session -c>", "exec"), prompt.names)
            except (StmTemError, FailedStatus) as error:
                print(f"stmtem session: {one_line(error)}", file=sys.stderr)
                return 1
            return 0
        _ask_for_input(prompt)
    return 0


def _ask_for_input(prompt: Prompt) -> None:
    """Be IPython until the person leaves it."""
    from IPython.terminal.embed import InteractiveShellEmbed
    from traitlets.config import Config

    class Shell(InteractiveShellEmbed):  # type: ignore[misc,unused-ignore]
        """An embedded shell ends at a Ctrl-C between two lines; a session goes on."""

        def interact(self) -> None:
            while True:
                try:
                    super().interact()
                except KeyboardInterrupt:
                    print("\nKeyboardInterrupt")
                else:
                    return

    config = Config()
    config.InteractiveShell.confirm_exit = False
    config.InteractiveShell.enable_tip = False
    config.HistoryManager.enabled = sys.stdin.isatty()
    if os.environ.get("TERM", "dumb") == "dumb":  # no colours, no line that moves
        config.InteractiveShell.simple_prompt = True
        config.InteractiveShell.colors = "nocolor"
    shell = Shell(config=config, banner1=prompt.banner, user_ns=prompt.names)
    prompt.attach(shell)
    shell()
