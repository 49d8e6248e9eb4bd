"""However a plan ends, the sample is left unbiased, the beam blanked, the probe at rest."""

from typing import Any

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import RunEngineControlException

from stmtem_control.errors import InterlockError

from .roles import Plan


def make_safe(bias: Any, beam: Any, camera: Any = None, probe: Any = None) -> Plan:
    """Plan stub: put every part in its safe state, in order, whether or not one of them fails.

    Bias to 0 V and the output off (high impedance), beam blanked, probe stopped, camera stopped.

    Raises
    ------
    InterlockError
        A part could not be made safe; all others were tried first.
    """
    failures = []
    for device in (bias, beam, probe, camera):
        if device is None:
            continue
        try:
            yield Msg("stop", device)
            if (problem := getattr(device, "unsafe", None)) is not None:
                failures.append(f"{device.name}: {problem}")
        except RunEngineControlException:
            device.stop()  # aborted again while the message was on its way
        except Exception as error:
            failures.append(f"{device.name}: {error}")
    if failures:
        raise InterlockError(
            f"could not be made safe: {'; '.join(failures)}; switch it off by hand now"
        )


def safe(plan: Plan, bias: Any, beam: Any, camera: Any = None, probe: Any = None) -> Plan:
    """Run a plan so that it ends in the safe state: done, failed, aborted or stopped."""

    def finish() -> Plan:
        yield from make_safe(bias, beam, camera, probe)

    return (yield from bpp.finalize_wrapper(plan, finish))


def without_exit(plan: Plan) -> Plan:
    """Run a plan in which ``sys.exit`` is an error like others; a preprocessor for a RunEngine.

    SystemExit ends the thread that the RunEngine works in, and who waits for the run waits for
    ever.

    Raises
    ------
    InterlockError
        The plan called ``sys.exit``.
    """
    try:
        return (yield from plan)
    except SystemExit as error:
        raise InterlockError(
            f"the plan called sys.exit({error.code!r}) and was ended; a plan ends by returning, "
            "or by raising an error"
        ) from error
