"""One exchange with an instrument, and when it was."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """When a command was sent, and when its answer was there, on the driver's clock (s)."""

    sent: float
    answered: float

    @property
    def t(self) -> float:
        """The middle, in s: the best guess for when the instrument acted."""
        return 0.5 * (self.sent + self.answered)

    @property
    def uncertainty_s(self) -> float:
        """The instrument acted within so much of the middle, + or -, in s."""
        return 0.5 * (self.answered - self.sent)
