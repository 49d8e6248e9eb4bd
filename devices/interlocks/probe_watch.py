"""Judgements on the probe: travel, motion that nobody asked for, and overshoot."""

from stmtem_control.interlock_table import InterlocksTable

from .bias_steps import Measured
from .trip import Finding

LOOKS = 2  # in a row: one look may fall into the end of a motion
REST_SHARE = 0.01  # of the amplitude: an output at rest is so near to its offset, as in the device
TRAVEL_V = 0.5  # beyond the range: rounding of the console's answers


class Travel:
    """The probe's offsets and net steps stay in the range that the station gives it.

    The devices refuse to leave it; this is for what they did not do.

    Parameters
    ----------
    max_fine_V : float
        Largest offset, in V.
    max_steps : int
        Largest magnitude of the net steps.
    """

    def __init__(self, max_fine_V: float, max_steps: int) -> None:
        self._max_fine_V = max_fine_V
        self._max_steps = max_steps

    def see(self, channel: str, value: float) -> Finding | None:
        """Judge an entry of the timeline: ``probe_z_steps`` or ``probe_x_V`` and the like."""
        if channel.endswith("_steps"):
            if abs(value) > self._max_steps:
                return Finding(
                    "probe travel",
                    f"{channel} is {value:g}",
                    f"{self._max_steps} steps either way, [probe] max_steps",
                )
        elif not -TRAVEL_V <= value <= self._max_fine_V + TRAVEL_V:
            return Finding(
                "probe travel",
                f"{channel} is {value:g} V",
                f"0 to {self._max_fine_V:g} V, [probe] max_fine_V",
            )
        return None


class Unbidden:
    """An axis at rest stays where it is: over-travel shows as an output that is not at rest.

    The controller tells no position, but the live output of an axis: the saw-tooth of steps that
    have not ended when they should have, or an offset that somebody else has changed.
    """

    def __init__(self, axis: str) -> None:
        self._axis = axis
        self._count = 0

    def see(
        self, output_V: float, *, offset_V: float, amplitude_V: float, bidden: bool
    ) -> Finding | None:
        """Judge a look at the output.

        Parameters
        ----------
        output_V : float
            The live output, in V.
        offset_V, amplitude_V : float
            That were commanded, in V.
        bidden : bool
            Whether anything was under way when the look was asked for, or has been since.
        """
        slack = REST_SHARE * max(1.0, amplitude_V, abs(offset_V))
        at_rest = min(abs(output_V), abs(output_V - offset_V)) <= slack
        self._count = 0 if bidden or at_rest else self._count + 1
        if self._count < LOOKS:
            return None
        return Finding(
            "probe over-travel",
            f"the output of {self._axis} is {output_V:.3g} V, and nothing was commanded",
            f"0 V or the offset of {offset_V:.3g} V, to {slack:.2g} V",
        )


class Overshoot:
    """A current over ``overshoot_A`` while the probe steps towards the fibre."""

    def __init__(self, table: InterlocksTable) -> None:
        self.limit_A = table.limit("overshoot_A")

    def over(self, found: Measured | None) -> bool:
        """Tell whether a reading is over the contact band."""
        return found is not None and abs(found.amperes) >= self.limit_A

    def see(self, found: Measured, heading: int, quiet: bool) -> Finding | None:
        """Judge a reading; `heading` is 1 while the probe steps towards the fibre."""
        if heading <= 0 or not quiet or not self.over(found):
            return None
        return Finding(
            "approach overshoot",
            f"{found.amperes:.2e} A while the probe steps towards the fibre",
            f"{self.limit_A:g} A, [interlocks] overshoot_A",
        )
