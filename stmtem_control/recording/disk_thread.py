"""Something to do while the disk writes."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")


class DiskThread:
    """A thread that waits for the disk, so that another can compute meanwhile; for one caller.

    It does not keep a process alive whose disk hangs.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def during(
        self, job: Callable[[], R], meanwhile: Callable[[], None]
    ) -> tuple[R, Exception | None]:
        """Run a job in the thread and `meanwhile` here, and wait for both.

        Returns
        -------
        result
            Of the job; what it raises is raised here.
        problem : Exception or None
            What `meanwhile` raised.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        problem: Exception | None = None
        try:
            meanwhile()
        except Exception as error:  # the job must come to its end, and its caller hear of it
            problem = error
        result, failure = self._outcomes.get()
        if failure is not None:
            raise failure
        return result, problem

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._outcomes.put((job(), None))
            except BaseException as error:  # it is raised where the job came from
                self._outcomes.put((None, error))

    def close(self) -> None:
        """End the thread; it is started again when needed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join()
