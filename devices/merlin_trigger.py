"""What starts a Merlin's exposures, and what its trigger output shows.

Source: Quantum Detectors, "Merlin TCP/IP control", TDI-CTRL-TNO-0041, variables TRIGGERSTART,
NUMFRAMESPERTRIGGER, TriggerOutTTL and TriggerOutTTLInvert.
"""

from dataclasses import dataclass

from stmtem_control.errors import LimitError

STARTS = {"internal": 0, "ttl rising": 1, "ttl falling": 2, "software": 5}
OUTPUTS = {"trigger in": 0, "follow shutter": 4, "burst": 5, "readout": 6, "busy": 7}
MOST_FRAMES = 100_000  # of one trigger


@dataclass(frozen=True)
class MerlinTrigger:
    """The triggers of an acquisition.

    Parameters
    ----------
    start : {"internal", "ttl rising", "ttl falling", "software"}
        What an exposure, or a burst of them, begins with.
    frames : int
        Exposures of one trigger; the internal one begins an endless burst.
    output : {"", "trigger in", "follow shutter", "burst", "readout", "busy"}
        What the TTL output shows; empty leaves it as it is.
    inverted : bool
        Whether it is low while that is true: "follow shutter" then falls when an exposure begins,
        and else when it ends.

    Raises
    ------
    LimitError
        The camera has no such mode.
    """

    start: str = "internal"
    frames: int = 1
    output: str = ""
    inverted: bool = False

    def __post_init__(self) -> None:
        """Refuse what the camera has not."""
        if self.start not in STARTS:
            raise LimitError(f"trigger_in is {self.start!r}; give one of {', '.join(STARTS)}")
        if self.output and self.output not in OUTPUTS:
            raise LimitError(f"trigger_out is {self.output!r}; give one of {', '.join(OUTPUTS)}")
        whole = isinstance(self.frames, int) and not isinstance(self.frames, bool)
        if not whole or not 1 <= self.frames <= MOST_FRAMES:
            raise LimitError(f"frames_per_trigger is {self.frames!r}; give 1 to {MOST_FRAMES}")

    @property
    def external(self) -> bool:
        """Whether the start of the acquisition starts no exposure."""
        return self.start != "internal"

    @property
    def tied(self) -> bool:
        """Whether it is meant that another instrument acts with the exposures."""
        return self.start.startswith("ttl") or self.output == "follow shutter"

    def variables(self) -> list[tuple[str, int]]:
        """Return what the camera's variables are set to, in order."""
        found = [
            ("NUMFRAMESPERTRIGGER", self.frames),
            ("TRIGGERSTART", STARTS[self.start]),
            ("TRIGGERSTOP", 0),
        ]
        if self.output:
            found.append(("TriggerOutTTL", OUTPUTS[self.output]))
            found.append(("TriggerOutTTLInvert", int(self.inverted)))
        return found


INTERNAL = MerlinTrigger()
