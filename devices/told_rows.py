"""What a recorder has told of the present run: rows that are on disk, and what ended it."""

import threading

from .frame_documents import Columns


class ToldRows:
    """Keeps rows until somebody takes them, and an error until somebody was told; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Columns] = []
        self._count = self._taken = 0
        self._error: Exception | None = None
        self._reported: Exception | None = None

    def add(self, columns: Columns) -> None:
        """Keep some rows, which follow those before."""
        with self._lock:
            self._rows.append(columns)
            self._count += len(columns["frame"])

    def take(self) -> tuple[int, list[Columns]]:
        """Return the number of the first row that was not yet taken, and all rows from there."""
        with self._lock:
            first, rows = self._taken, self._rows
            self._rows, self._taken = [], self._count
            return first, rows

    @property
    def count(self) -> int:
        """How many rows there are, taken or not."""
        with self._lock:
            return self._count

    def fail(self, error: Exception) -> None:
        """Note an error that ends the recording, if there was none before."""
        with self._lock:
            self._error = self._error or error

    def unreported(self) -> Exception | None:
        """Return the error, if nobody was told yet: it is told once."""
        with self._lock:
            if self._error is None or self._error is self._reported:
                return None
            self._reported = self._error
            return self._error

    def forgive(self) -> None:
        """Forget the error: the recording goes on."""
        with self._lock:
            self._error = self._reported = None
