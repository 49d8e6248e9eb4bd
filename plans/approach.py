"""Bring the probe to contact, and take it away again."""

import math
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Movable, Readable

from stmtem_control.errors import ApproachError, LimitError

from .limits import check_count, check_number, check_roles
from .roles import Plan, Probe, Source
from .safety import safe
from .stubs import read_bias, set_bias

SETTLE_S = 0.1  # after a bias step: the cable's charge dies away


def seek_contact(
    probe: Probe,
    bias: Source,
    *,
    approach_V: float = 0.5,
    threshold_A: float = 1e-11,
    short_A: float = 5e-9,
    fine_step_V: float = 0.5,
    fine_range_V: float = 20.0,
    coarse_step: int = 3,
    max_coarse_steps: int = 60,
) -> Plan:
    """Inside a run: approach along z until the current says contact; see `approach_contact`.

    Returns
    -------
    dict
        ``leak_A``, ``contact_A``, ``coarse`` (net steps) and ``fine_V`` at contact.
    """
    z = probe.z
    yield from bps.mv(z.fine, 0.0)
    yield from set_bias(bias, approach_V)
    yield from bias.clock.sleep(SETTLE_S)
    leak = yield from _mean_current(bias, probe, 4)
    start = yield from bps.rd(z.coarse)
    taken = 0
    while True:
        fine = 0.0
        while fine < fine_range_V:
            fine = min(fine + fine_step_V, fine_range_V)
            yield Msg("checkpoint")
            yield from bps.mv(z.fine, fine)
            current = yield from _mean_current(bias, probe, 1)
            if abs(current - leak) < threshold_A:
                continue
            # One reading may be a glitch; contact is what three more agree on.
            again = yield from _mean_current(bias, probe, 3)
            if abs(again) >= short_A:
                yield from back_off(probe, coarse_step)
                raise ApproachError(
                    f"approach: {abs(again):.2e} A at {approach_V:g} V is a short, not a contact "
                    f"through the oxide; the probe was taken back {coarse_step} steps"
                )
            if abs(again - leak) >= threshold_A:
                yield from set_bias(bias, 0.0)
                return {"leak_A": leak, "contact_A": again, "coarse": start + taken, "fine_V": fine}
        yield from bps.mv(z.fine, 0.0)
        if taken + coarse_step > max_coarse_steps:
            raise ApproachError(
                f"approach: no contact after {taken} coarse steps and {fine_range_V:g} V of fine "
                f"travel (threshold {threshold_A:.1e} A over a leak of {leak:.1e} A); "
                "look for the probe in the image, or allow more with max_coarse_steps"
            )
        try:
            check_travel(probe, coarse_step)
        except LimitError as error:
            raise ApproachError(
                f"approach: no contact after {taken} coarse steps; {error}"
            ) from None
        yield Msg("checkpoint")
        taken += coarse_step
        yield from bps.mv(z.coarse, start + taken)


def check_approach(
    probe: Any,
    bias: Any,
    *,
    approach_V: float = 0.5,
    threshold_A: float = 1e-11,
    short_A: float = 5e-9,
    fine_step_V: float = 0.5,
    fine_range_V: float = 20.0,
    coarse_step: int = 3,
    max_coarse_steps: int = 60,
) -> None:
    """Raise LimitError for what `approach_contact` must not be given."""
    check_roles(probe=probe, bias=bias)
    numbers = (approach_V, threshold_A, short_A, fine_step_V, fine_range_V)
    for value in numbers:
        check_number("approach: a parameter", value)
    bias.check_value(approach_V)
    probe.z.fine.check_value(fine_range_V)
    if not 0.0 < threshold_A < short_A < math.inf:
        raise LimitError(
            f"approach: threshold_A is {threshold_A:g} and short_A {short_A:g}; "
            "both must be positive, and the threshold the smaller one"
        )
    if not 0.0 < fine_step_V <= fine_range_V < math.inf:
        raise LimitError(
            f"approach: fine_step_V is {fine_step_V:g} and fine_range_V {fine_range_V:g}; "
            "give a positive step no larger than the range"
        )
    check_count("approach: coarse_step", coarse_step, 1)
    check_count("approach: max_coarse_steps", max_coarse_steps, 0)


def check_travel(probe: Any, steps: int) -> None:
    """Raise LimitError when the probe may not go `steps` coarse steps along z from here."""
    coarse = probe.z.coarse
    coarse.check_value(coarse.get() + steps)


def _mean_current(bias: Source, probe: Probe, count: int) -> Plan:
    """Read `count` times, note each, and return the mean current in amperes."""
    total = 0.0
    for _ in range(count):
        yield from read_bias(bias, probe, stream="approach")
        total += yield from bps.rd(bias.current)
    return total / count


def back_off(probe: Probe, steps: int = 5) -> Plan:
    """Take the probe away: fine offset to zero, then `steps` coarse steps back."""
    z = probe.z
    yield from bps.mv(z.fine, 0.0)
    here = yield from bps.rd(z.coarse)
    yield from bps.mv(z.coarse, here - steps)


def approach_contact(
    probe: Readable,
    bias: Movable,
    beam: Movable,
    *,
    approach_V: float = 0.5,
    threshold_A: float = 1e-11,
    short_A: float = 5e-9,
    fine_step_V: float = 0.5,
    fine_range_V: float = 20.0,
    coarse_step: int = 3,
    max_coarse_steps: int = 60,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Approach the probe to the fibre until a current flows, beam blanked, then take the bias off.

    Fine travel first, a step at a time with a reading at each; when its range is used up without
    contact, fine back to zero, some coarse steps, and again.  The probe stays in contact at the
    end; the bias is at 0 V and the output off.

    Parameters
    ----------
    probe, bias, beam : device
        The piezo probe, the biasing source, the beam blanker.
    approach_V : float
        Bias while approaching, in V.  Positive: no lithium can be deposited.
    threshold_A : float
        Current over the leak that means contact, in A.
    short_A : float
        Current that means a short through the oxide, in A: the probe is taken back.
    fine_step_V, fine_range_V : float
        Step and range of the fine offset, in V of the piezo.
    coarse_step : int
        Coarse steps between two fine sweeps; together shorter than the fine range.
    max_coarse_steps : int
        Give up after so many.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    ApproachError
        No contact within the travel allowed, or a short.
    LimitError
        A parameter is outside what the station allows; nothing has moved.
    """
    parameters = {
        "approach_V": approach_V,
        "threshold_A": threshold_A,
        "short_A": short_A,
        "fine_step_V": fine_step_V,
        "fine_range_V": fine_range_V,
        "coarse_step": coarse_step,
        "max_coarse_steps": max_coarse_steps,
    }

    check_approach(probe, bias, **parameters)  # type: ignore[arg-type]

    def body() -> Plan:
        return (yield from seek_contact(probe, bias, **parameters))  # type: ignore[arg-type]

    start = {"plan_name": "approach_contact", "plan_args": parameters, **(md or {})}
    staged = bpp.stage_wrapper(bpp.run_wrapper(body(), md=start), [bias, beam])
    return (yield from safe(staged, bias, beam, probe=probe))


def retract(
    probe: Readable,
    bias: Movable,
    beam: Movable,
    *,
    steps: int = 5,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Take the probe away from the fibre with the bias off and the beam blanked.

    Parameters
    ----------
    probe, bias, beam : device
        The piezo probe, the biasing source, the beam blanker.
    steps : int
        Coarse steps to go back, after the fine offset has gone to zero.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        Fewer than one step is asked for, or more than the station allows.
    """
    check_roles(probe=probe, bias=bias, beam=beam)
    check_count("retract: steps", steps, 1)
    check_travel(probe, -steps)

    source: Any = bias
    carried: Any = probe

    def body() -> Plan:
        yield from bps.stop(source)
        yield from back_off(carried, steps)
        yield from bps.create(name="retracted")
        yield from bps.read(probe)
        yield from bps.save()

    start = {"plan_name": "retract", "plan_args": {"steps": steps}, **(md or {})}
    staged = bpp.stage_wrapper(bpp.run_wrapper(body(), md=start), [bias, beam])
    return (yield from safe(staged, bias, beam, probe=probe))
