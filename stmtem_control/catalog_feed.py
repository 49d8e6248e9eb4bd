"""Registers a session's runs with a Tiled server, from a process of its own.

What is between them is the disk: the session writes its documents into the run folder as always,
and the process reads them from there.  A server that is slow, dead or away delays what can be seen
in the catalog, and nothing else: no plan, device or RunEngine knows of it.
"""

import contextlib
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from .station_tables import CatalogTable

log = logging.getLogger(__name__)

NEEDED = ("tiled", "bluesky_tiled_plugins")
PROGRAM = ("-m", "stmtem_control.cli", "catalog")  # of Python
LOG = "catalog.log"  # in the data folder
END_S = 5.0  # wall seconds that the last runs may take when the session closes


class CatalogFeed:
    """``stmtem catalog --server`` for the data folder, as long as the session lives.

    It ends when the session does, also when that is killed; what it has not registered by then,
    the next one does.

    Parameters
    ----------
    table : CatalogTable or None
        ``[catalog]`` of the station; without it nothing is done.
    root : Path
        The data folder.

    Attributes
    ----------
    problem : str
        Why runs are not registered; empty if they are, or are not wanted to be.
    """

    def __init__(self, table: CatalogTable | None, root: Path) -> None:
        self.problem = ""
        self._process: subprocess.Popen[bytes] | None = None
        if table is None:
            return
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            self.problem = (
                f"[catalog] server: {missing[0]} is not installed, runs stay on disk alone; "
                "pip install 'stmtem-control[catalog]', or take [catalog] out"
            )
            log.warning("%s", self.problem)
            return
        options = [str(root), f"--server={table.server}", "--until-eof"]
        with open(root / LOG, "ab") as words:
            # A session of its own: Ctrl-C at the terminal is not meant for it.
            self._process = subprocess.Popen(
                [sys.executable, *PROGRAM, *options],
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def close(self) -> None:
        """Let it register the last run, and end it; by force when that takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> "CatalogFeed":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()
