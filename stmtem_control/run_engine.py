"""The RunEngine of a session: a pause ends for all devices, or the plan ends."""

from collections.abc import Callable
from typing import Any

from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted


class StationRunEngine(RunEngine):
    """Bluesky's RunEngine, that leaves no plan behind in which only some devices went on.

    Bluesky has the devices go on one after the other.  When one of them cannot, it raises that
    error, and the plan stays paused, with a bias or a beam that is on again.

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
            return super().resume()
        except RunEngineInterrupted:
            raise
        except BaseException as error:
            if self.state == "paused":
                self._resume_failed(error)
            raise
