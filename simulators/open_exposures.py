"""Exposures that are under way: when the specimen is to be looked at, and what came of it."""

from collections import deque
from collections.abc import Iterator

from .exposure import Exposure
from .model import KineticModel

# An exposure is the mean of what is there every so often.
SAMPLE_S = 0.020
SAMPLES_MOST = 4
KEPT = 4  # exposures; one that was aborted is never asked for


class OpenExposures:
    """The exposure under way, cut into parts, and the last ones that were.

    Parameters
    ----------
    model : KineticModel
        What is exposed.
    field_nm : float
        Width of the field of view.
    """

    def __init__(self, model: KineticModel, field_nm: float) -> None:
        self._model = model
        self._field_nm = field_nm
        self._parts: deque[tuple[float, float]] = deque()
        self._kept: deque[tuple[tuple[float, float, tuple[int, int]], Exposure]] = deque(
            maxlen=KEPT
        )

    def begin(self, start: float, stop: float, shape: tuple[int, int]) -> None:
        """Begin an exposure from `start` to `stop` (s); a short one is no mean of several looks."""
        parts = min(SAMPLES_MOST, int((stop - start) / SAMPLE_S))
        if parts < 2:
            return
        part = (stop - start) / parts
        self._parts.extend((start + k * part, start + (k + 1) * part) for k in range(parts))
        exposure = self._model.exposure(shape=shape, pixel_size_nm=self._field_nm / shape[1])
        self._kept.append(((start, stop, shape), exposure))

    def leave(self) -> None:
        """Look no more for the exposure under way."""
        self._parts.clear()

    def parts_until(self, now: float) -> Iterator[tuple[float, float]]:
        """Go through the parts (begin and end, s) that have ended by `now`, each once."""
        while self._parts and self._parts[0][1] <= now:
            yield self._parts.popleft()

    def add(
        self, dose: float, *, origin_nm: tuple[float, float], probe_nm: tuple[float, float]
    ) -> None:
        """Add what `dose` (e/A^2) shows of the specimen as it is now."""
        self._kept[-1][1].add(dose, origin_nm=origin_nm, probe_nm=probe_nm)

    def of(self, start: float, stop: float, shape: tuple[int, int]) -> Exposure | None:
        """Return the exposure from `start` to `stop` (s), None where nobody looked meanwhile."""
        return dict(self._kept).get((start, stop, shape))
