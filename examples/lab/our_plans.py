"""Our plans."""

from collections.abc import Generator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Movable

from stmtem_control.errors import LimitError
from stmtem_control.plans import safe


def bias_staircase(
    bias: Movable,
    beam: Movable,
    *,
    top_V: float = 2.0,
    steps: int = 4,
    step_s: float = 0.3,
    md: dict[str, Any] | None = None,
) -> Generator[Any, Any, Any]:
    """Step the bias up from 0 V, and read the current on each step, with the beam blanked.

    Parameters
    ----------
    bias, beam : device
        The biasing source and the beam blanker.
    top_V : float
        Bias of the last step in V.
    steps : int
        How many steps there are.
    step_s : float
        How long each lasts before it is read, in s of station time.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        There are no steps, or the last is beyond the station's limit; nothing has moved.
    """
    if steps < 1:
        raise LimitError(f"steps is {steps}; give 1 or more")
    bias.check_value(top_V)

    def body() -> Generator[Any, Any, Any]:
        for step in range(1, steps + 1):
            yield from bps.checkpoint()
            yield from bps.mv(bias, top_V * step / steps)
            yield from bias.clock.sleep(step_s)
            yield from bps.trigger_and_read([bias], name="staircase")

    args = {"top_V": top_V, "steps": steps, "step_s": step_s}
    start = {"plan_name": "bias_staircase", "plan_args": args}
    run = bpp.run_wrapper(bpp.stage_wrapper(body(), [bias, beam]), md={**start, **(md or {})})
    return (yield from safe(run, bias, beam))
