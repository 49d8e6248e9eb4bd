"""What an interlock has found, and what was done about it."""

from dataclasses import dataclass

BEAM_ONLY = frozenset({"dose"})  # the beam is blanked; bias and probe stay under control
CLEAR = "session.interlocks.clear()"


@dataclass(frozen=True)
class Finding:
    """What a judgement says when it is not content.

    Attributes
    ----------
    kind : str
        Of interlock: "short", "compliance", ...
    seen : str
        What was seen, with its unit.
    limit : str
        What is allowed, with its unit and its key in the station file.
    """

    kind: str
    seen: str
    limit: str


@dataclass(frozen=True)
class Trip:
    """An interlock that has acted.

    Attributes
    ----------
    kind, seen, limit : str
        As in :class:`Finding`.
    t : float
        When it was noticed, in station s.
    time : float
        The same, as Unix time in s.
    reaction_s : float
        Wall seconds from there until what it makes safe was confirmed, or given up.
    unsafe : str
        What could not be made safe; empty when all was.
    """

    kind: str
    seen: str
    limit: str
    t: float
    time: float
    reaction_s: float = 0.0
    unsafe: str = ""

    @property
    def ends_run(self) -> bool:
        """Whether the running plan is to be ended: all but the dose's do that."""
        return self.kind not in BEAM_ONLY

    @property
    def text(self) -> str:
        """One line: what tripped, what was seen, the limit, and what is not safe."""
        limit = f" (limit {self.limit})" if self.limit else ""
        unsafe = f"; NOT SAFE: {self.unsafe}" if self.unsafe else ""
        return f"interlock {self.kind}: {self.seen}{limit}{unsafe}"

    def __str__(self) -> str:
        """Return :attr:`text`."""
        return self.text

    def refusal(self, what: str) -> str:
        """Return why `what` is refused: one line, with how to go on."""
        return (
            f"{what} is refused since the interlock {self.kind} tripped at {self.t:.3f} s: "
            f"{self.seen}{f' (limit {self.limit})' if self.limit else ''}; "
            f"find out why, then clear it with {CLEAR}"
        )
