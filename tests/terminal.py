"""The program at a terminal, typed at and read as a person does."""

import os
import pty
import re
import select
import sys
import termios
import time
from pathlib import Path

import pytest

W = 20.0


class Terminal:
    """``stmtem`` in a terminal of its own.

    Parameters
    ----------
    folder : Path
        Where it runs.
    *arguments : str
        Of ``stmtem``.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.said = ""
        self.pid, self._line = pty.fork()
        if self.pid == 0:  # pragma: no cover - another program from here on
            os.chdir(folder)
            os.environ.update(TERM="dumb", COLUMNS="150", IPYTHONDIR=str(folder))
            os.execv(sys.executable, [sys.executable, "-m", "stmtem_control.cli", *arguments])

    def flags(self) -> list[object]:
        """Return how the terminal is set."""
        return termios.tcgetattr(self._line)[:4]

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
