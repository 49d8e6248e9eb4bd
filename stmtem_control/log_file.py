"""What the libraries have to say goes to a file, not between the lines that a person reads."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

LOG_NAME = "stmtem.log"


class _Quiet(logging.FileHandler):
    """A log that cannot be written, on a full disk, must not cover what a person has to read."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the file is opened with the first, which the base class lets fail."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Let it go."""


@contextlib.contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Append warnings and errors of all loggers to ``stmtem.log`` while the block runs.

    The file is made with the first of them.
    """
    handler = _Quiet(folder / LOG_NAME, encoding="utf-8", delay=True)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
