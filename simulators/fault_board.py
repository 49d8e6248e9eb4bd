"""The faults of a bench: which wait, which strike at which exchange, and the record of it all."""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .clock import Alarm, Clock
from .fault import Fault
from .fault_kinds import SERVERS

Undo = Callable[[], None]
_SHOWN = 120  # characters of a message in the record


@dataclass(frozen=True)
class FaultEvent:
    """Something that a fault did.

    Attributes
    ----------
    t_s : float
        When, on the bench's clock, in s.
    event : {"struck", "over"}
        Whether it began, or what lasts has ended.
    fault : Fault
        Which one.
    exchange : int
        At which exchange, counted since the fault was injected; 0: at none, but at a time.
    message : str
        The message of that exchange; its beginning if it is long.
    """

    t_s: float
    event: str
    fault: Fault
    exchange: int
    message: str


@dataclass(eq=False)
class LiveFault:
    """A fault that was injected and may still strike."""

    fault: Fault
    dice: random.Random
    ready: bool = False
    seen: int = 0
    matched: int = 0
    struck: int = 0
    alarms: list[Alarm] = field(default_factory=list)
    undo: Undo | None = None


class FaultBoard:
    """Decides when faults strike, and lets them.

    Parameters
    ----------
    clock : Clock
        Whose time they go by.
    seed : int
        Of the bench; with the order of injection it fixes all that is random in a fault.
    begin : Callable
        Puts the bench into a state that lasts, and returns how to end it.
    watch : Callable
        Is told, for each server, whether its exchanges matter now.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int,
        begin: Callable[[LiveFault], Undo],
        watch: Callable[[str, bool], None],
    ) -> None:
        self._clock = clock
        self._seed = seed
        self._begin = begin
        self._watch = watch
        self._lock = threading.Lock()
        # Held while a state begins: who clears the faults must not come in between.
        self._acting = threading.RLock()
        self._live: list[LiveFault] = []
        self._lasting: list[LiveFault] = []
        self._injected = 0
        self._events: list[FaultEvent] = []

    @property
    def log(self) -> tuple[FaultEvent, ...]:
        """What the faults did so far."""
        with self._lock:
            return tuple(self._events)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that may still strike, and the states that last."""
        with self._lock:
            return tuple(live.fault for live in (*self._live, *self._lasting))

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for its time and its exchange."""
        with self._lock:
            self._injected += 1
            live = LiveFault(fault, random.Random(f"{self._seed}:{self._injected}"))
            self._live.append(live)
        if fault.at_s:
            due = self._clock.now() + fault.at_s
            self._alarm(live, due, lambda: self._ready(live))
            self._tell()
        else:
            self._ready(live)

    def _alarm(self, live: LiveFault, due: float, function: Callable[[], None]) -> None:
        def ring() -> None:
            # What the fault does, it does at the time at which it was due.
            with self._clock.at(due):
                function()

        live.alarms.append(self._clock.call_at(due, ring))

    def _ready(self, live: LiveFault) -> None:
        fault = live.fault
        if fault.row.strikes == "state" and fault.at_exchange is None and not fault.when:
            with self._acting:
                if self._strike(live, 0, b""):
                    self._act(live)
        else:
            live.ready = True
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            watched = {live.fault.server for live in self._live}
        for server in SERVERS:
            self._watch(server, server in watched)

    def exchange(
        self, server: str, message: bytes, strikes: Sequence[str] = ("reply", "message", "state")
    ) -> list[LiveFault]:
        """Count an exchange of `server`; return what strikes it, states having begun already."""
        struck: list[LiveFault] = []
        with self._lock:
            for live in list(self._live):
                fault = live.fault
                if fault.server != server or fault.row.strikes not in strikes:
                    continue
                live.seen += 1
                if fault.when and fault.when.encode("utf-8") not in message:
                    continue
                live.matched += 1
                if live.ready and live.matched >= (fault.at_exchange or 1):
                    struck.append(live)
        if not struck:
            return struck
        others: list[LiveFault] = []
        for live in struck:
            if live.fault.row.strikes != "state":
                if self._strike(live, live.seen, message):
                    others.append(live)
                continue
            with self._acting:
                if self._strike(live, live.seen, message):
                    self._act(live)
        self._tell()
        return others

    def _strike(self, live: LiveFault, exchange: int, message: bytes) -> bool:
        """Take down that a fault strikes; False if it has been cleared meanwhile."""
        shown = message.decode("latin-1").strip()[:_SHOWN]
        event = FaultEvent(self._clock.now(), "struck", live.fault, exchange, shown)
        with self._lock:
            if live not in self._live:
                return False
            live.struck += 1
            if live.fault.row.strikes == "state" or live.struck == live.fault.count:
                self._live.remove(live)
            self._events.append(event)
        return True

    def _act(self, live: LiveFault) -> None:
        """Begin a state, and have it end in time."""
        undo = self._begin(live)
        fault = live.fault
        if not fault.row.lasts and not fault.time_s:
            return
        with self._lock:
            live.undo = undo
            self._lasting.append(live)
        if fault.time_s:
            self._alarm(live, self._clock.now() + fault.time_s, lambda: self._end(live))

    def _end(self, live: LiveFault) -> None:
        with self._lock:
            if live not in self._lasting:
                return
            self._lasting.remove(live)
            undo, live.undo = live.undo, None
            self._events.append(FaultEvent(self._clock.now(), "over", live.fault, 0, ""))
        if undo is not None:
            undo()

    def clear(self) -> None:
        """End all states that last and forget all faults that wait."""
        with self._acting:
            with self._lock:
                waiting, self._live = self._live, []
                lasting = list(self._lasting)
            for live in (*waiting, *lasting):
                for alarm in live.alarms:
                    alarm.cancel()
            for live in lasting:
                self._end(live)
            self._tell()
