"""Take the probe away from the fibre: bias off, fine back, coarse back."""

from typing import Any

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Movable, Readable

from .current import value_of
from .limits import check_count, check_roles
from .roles import Plan, Probe
from .safety import safe
from .stubs import carry_out

AWAY_STEPS = 3  # more than the reach of adhesion, by far


def check_travel(probe: Any, steps: int) -> None:
    """Raise LimitError when the probe may not go `steps` coarse steps along z from here."""
    coarse = probe.z.coarse
    coarse.check_value(coarse.get() + steps)


def back_off(probe: Probe, steps: int = 5) -> Plan:
    """Take the probe away: fine offset to zero, then `steps` coarse steps back."""
    z = probe.z
    yield from carry_out("set", z.fine, 0.0)
    here = yield from value_of(z.coarse)
    yield Msg("checkpoint")
    yield from carry_out("set", z.coarse, here - steps)
    yield from carry_out("set", probe.contact, "open")


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
        yield Msg("stop", source)
        yield from back_off(carried, steps)
        yield Msg("create", None, name="retracted")
        yield Msg("read", probe)
        yield Msg("save")

    start = {"plan_name": "retract", "plan_args": {"steps": steps}, **(md or {})}
    staged = bpp.stage_wrapper(bpp.run_wrapper(body(), md=start), [bias, beam])
    return (yield from safe(staged, bias, beam, probe=probe))
