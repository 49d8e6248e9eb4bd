"""A person at a terminal, with ``stmtem session`` in it."""

import os
import pty
import re
import select
import sys
import time
from pathlib import Path

import pytest

W = 20.0  # wall seconds that anything may take


class Terminal:
    """``stmtem session`` in a terminal of its own, a dumb one by default.

    Parameters
    ----------
    folder : Path
        The working directory, and IPython's.
    arguments : str
        Of Python: another program than the session.
    kind : str
        Of the terminal: TERM.
    environment : str
        More variables, or other values.
    """

    def __init__(
        self, folder: Path, *arguments: str, kind: str = "dumb", **environment: str
    ) -> None:
        self.said = ""
        self.pid, self._line = pty.fork()
        if self.pid == 0:  # pragma: no cover - another program from here on
            os.chdir(folder)
            os.environ.update(TERM=kind, COLUMNS="150", LINES="60", IPYTHONDIR=str(folder))
            os.environ.update(environment)
            for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
                os.environ.pop(name, None)
            program = arguments or ("-m", "stmtem_control.cli", "session")
            os.execv(sys.executable, [sys.executable, *program])

    def type(self, text: str) -> None:
        os.write(self._line, text.encode())

    def wait_for(self, pattern: str) -> None:
        """Read until a pattern has come after what was read before."""
        begun, deadline = len(self.said), time.monotonic() + W
        while not re.search(pattern, self.said[begun:]):
            left = deadline - time.monotonic()
            if left < 0.0 or not self._read(left):
                pytest.fail(f"{pattern!r} did not come: {self.said[-3000:]}")

    def _read(self, seconds: float) -> bool:
        if not select.select([self._line], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._line, 65536)
        except OSError:
            return False
        self.said += data.decode(errors="replace")
        return bool(data)

    def close(self) -> int:
        """Wait for its end, and return its exit code."""
        while self._read(W):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._line)
        return os.waitstatus_to_exitcode(status)
