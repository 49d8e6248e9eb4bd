"""The RunEngine of a session: a pause ends for all devices, or the plan; an end is no failure."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from bluesky import RunEngine
from bluesky.utils import FailedStatus, RunEngineInterrupted

from .link import DroppedError
from .outcome import cause_of


class StationRunEngine(RunEngine):
    """Bluesky's RunEngine, with two differences.

    Bluesky has the devices go on one after the other after a pause.  When one of them cannot, it
    raises that error, and the plan stays paused, with a bias or a beam that is on again.  Here it
    is ended.

    When somebody ends a plan, the devices are stopped, and what a stop cuts short fails.  Whichever
    comes first is what Bluesky raises.  Here it is the end that was asked for.

    Parameters
    ----------
    *args, **kwargs
        Of Bluesky's.
    resume_failed : callable
        Called with that error while the plan is still paused; it ends the plan.
    """

    def __init__(
        self, *args: Any, resume_failed: Callable[[BaseException], None], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._resume_failed = resume_failed
        self._told_to_end = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a plan, as Bluesky's does."""
        self._told_to_end = False
        with self._ended_as_told():
            return super().__call__(*args, **kwargs)

    def abort(self, reason: str = "") -> Any:
        """End the plan, as Bluesky's does."""
        self._told_to_end = True
        return super().abort(reason)

    def stop(self) -> Any:
        """End the plan and call it a success, as Bluesky's does."""
        self._told_to_end = True
        return super().stop()

    def halt(self) -> Any:
        """End the plan without its own cleaning up, as Bluesky's does."""
        self._told_to_end = True
        return super().halt()

    def resume(self) -> Any:
        """Go on after a pause, from the last checkpoint.

        Raises
        ------
        StmTemError
            A device could not go on; the plan has been ended.
        RunEngineInterrupted
            The plan was paused again.
        """
        try:
            with self._ended_as_told():
                return super().resume()
        except RunEngineInterrupted:
            raise
        except BaseException as error:
            if self.state == "paused":
                self._resume_failed(error)
            raise

    @contextlib.contextmanager
    def _ended_as_told(self) -> Iterator[None]:
        try:
            yield
        except FailedStatus as error:
            if not (self._told_to_end and isinstance(cause_of(error), DroppedError)):
                raise
            raise RunEngineInterrupted(f"ended as told; {cause_of(error)}") from error
