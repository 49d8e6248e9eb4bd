"""What the bench truly did, and when: output, bias, beam and motion, as the instruments know it.

It is written by the simulated instruments themselves, never by who drives them.
"""

import threading
from collections import deque
from dataclasses import dataclass

from .clock import Clock

BIAS, OUTPUT, BEAM, PROBE = "bias 0 V", "output off", "beam blanked", "probe at rest"
PARTS = (BIAS, OUTPUT, BEAM, PROBE)
MOST = 20_000


@dataclass(frozen=True)
class Transition:
    """One change of a part of the safe state.

    Attributes
    ----------
    t_s : float
        When, on the bench's clock, in s.
    part : str
        "bias 0 V", "output off", "beam blanked" or "probe at rest".
    safe : bool
        Whether that holds from then on.
    value : float
        The level in V; for the other parts 1 for output on, beam on, moving, else 0.
    """

    t_s: float
    part: str
    safe: bool
    value: float


class BlackBox:
    """Keeps the last transitions.

    Parameters
    ----------
    clock : Clock
        The bench's.
    most : int
        How many transitions are kept; the state of each part is known however many were lost.
    """

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: deque[Transition] = deque(maxlen=most)
        self._values: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self.lost = 0

    def note(self, part: str, value: float) -> None:
        """Take in the value of a part; only a change is kept."""
        t = self._clock.now()
        with self._lock:
            before = self._values.get(part)
            if value == before:
                return
            self._values[part] = value = float(value)
            safe = value == 0.0
            if before is None or safe != (before == 0.0):
                self._since[part] = t
            self.lost += len(self._kept) == self._kept.maxlen
            self._kept.append(Transition(t, part, safe, value))

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The last transitions, oldest first; the first ones tell the state at the start."""
        with self._lock:
            return tuple(self._kept)

    def safe_since(self) -> dict[str, float | None]:
        """Return since when (s, bench clock) each part has been safe without a break.

        None for a part that is not safe now.
        """
        with self._lock:
            return {
                part: self._since[part] if self._values[part] == 0.0 else None
                for part in PARTS
                if part in self._values
            }

    def unsafe_s(self) -> dict[str, float]:
        """Return for how long (s, bench clock) each part has been unsafe; 0 for a safe one."""
        now = self._clock.now()
        with self._lock:
            return {
                part: 0.0 if self._values[part] == 0.0 else now - self._since[part]
                for part in PARTS
                if part in self._values
            }
