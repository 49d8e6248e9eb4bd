"""The same judgements as Bluesky suspenders, for a pause before a limit instead of an end at it.

A second layer only: they act while the RunEngine is in control, and as fast as it is.  In the pause
the bias is off and the beam blanked, so that nothing new is measured: a person goes on, by
``suspender.remove()``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bluesky.suspenders import SuspenderBase

from stmtem_control.errors import LimitError
from stmtem_control.interlock_table import InterlocksTable

from .currents import is_short

if TYPE_CHECKING:
    from stmtem_control.devices import BiasSource, FrameCamera


class SuspendUntilRemoved(SuspenderBase):
    """Pauses the plan when a value is not right, until a person removes the suspender.

    Parameters
    ----------
    signal : ophyd.Signal
        Whose value is judged.
    judge : callable
        Returns whether a value is too much.
    why : str
        Told with the pause.
    """

    def __init__(self, signal: Any, judge: Callable[[Any], bool], why: str) -> None:
        super().__init__(signal, tripped_message=why)
        self._judge = judge
        self._why = why

    def _should_suspend(self, value: Any) -> bool:
        return self._judge(value)

    def _should_resume(self, value: Any) -> bool:
        return False

    def _get_justification(self) -> str:
        return self._why


def suspend_on_current(
    bias: "BiasSource", table: InterlocksTable, *, share: float = 0.5
) -> SuspendUntilRemoved:
    """Return a suspender that pauses when the current is a share of the short's limit.

    Raises
    ------
    LimitError
        `share` is not between 0 and 1: at the limit itself the interlock ends the run.
    """
    if not 0.0 < share < 1.0:
        raise LimitError(f"suspend_on_current: share is {share}; give a number between 0 and 1")
    limit_A = share * table.limit("short_A")
    why = f"the current reached {limit_A:g} A, {share:g} of [interlocks] short_A"
    return SuspendUntilRemoved(bias.current, lambda value: is_short(float(value), limit_A), why)


def suspend_on_dose(camera: "FrameCamera", soft_e_per_A2: float) -> SuspendUntilRemoved:
    """Return a suspender that pauses when the run's dose reaches a soft limit (e/A^2).

    Raises
    ------
    LimitError
        The limit is not positive.
    """
    if not soft_e_per_A2 > 0.0:
        raise LimitError(f"suspend_on_dose: {soft_e_per_A2} e/A^2; give a positive dose")
    why = f"the dose of the run reached {soft_e_per_A2:g} e/A^2"
    return SuspendUntilRemoved(camera.total_dose, lambda dose: float(dose) >= soft_e_per_A2, why)
