"""What has tripped stays so until a person clears it, and refuses what could hurt meanwhile."""

import threading
from dataclasses import replace

from stmtem_control.errors import InterlockError
from stmtem_control.permit import Action

from .trip import Finding, Trip

WHAT = {"bias": "a bias", "open": "opening the beam", "advance": "moving the probe"}


class Latch:
    """The trips that hold: at most one that makes everything safe, and one of the beam alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[bool, Trip] = {}  # by whether it ends the run

    def set(self, finding: Finding, t: float, time: float) -> Trip | None:
        """Latch a finding; None when such a one holds already, which is then the one to tell."""
        trip = Trip(finding.kind, finding.seen, finding.limit, t, time)
        with self._lock:
            if trip.ends_run in self._held:
                return None
            self._held[trip.ends_run] = trip
            return trip

    def complete(self, trip: Trip, reaction_s: float, unsafe: str) -> Trip:
        """Note what was done about a trip, and return it so."""
        done = replace(trip, reaction_s=reaction_s, unsafe=unsafe)
        with self._lock:
            if self._held.get(trip.ends_run) == trip:
                self._held[trip.ends_run] = done
        return done

    def clear(self) -> list[Trip]:
        """Let everything be done again; return what held."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
            return held

    @property
    def trips(self) -> list[Trip]:
        """What holds, the gravest first."""
        with self._lock:
            return [self._held[ends] for ends in (True, False) if ends in self._held]

    def refusing(self, action: Action) -> Trip | None:
        """Return the trip that refuses an action, or None."""
        with self._lock:
            return self._held.get(True) or (self._held.get(False) if action == "open" else None)

    def permit(self, action: Action) -> None:
        """Raise InterlockError when a trip refuses an action."""
        trip = self.refusing(action)
        if trip is not None:
            raise InterlockError(trip.refusal(WHAT[action]))
