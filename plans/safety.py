"""However a plan ends, the sample is left unbiased, the beam blanked, the probe at rest."""

from collections.abc import Callable
from typing import Any, Protocol

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import FailedStatus, RunEngineControlException

from stmtem_control.errors import InterlockError, ProtocolError, TransportError

from .roles import Plan

HARMLESS = {
    "checkpoint",
    "null",
    "close_run",
    "unstage",
    "unmonitor",
    "wait",
    "collect",
    "rewindable",
}


class WholeStation(Protocol):
    """What makes all parts of the station safe in one go, see `SafeState`."""

    name: str
    parent: Any

    @property
    def unsafe(self) -> str | None:
        """What is not safe, in one line."""
        ...

    def covers(self, devices: Any) -> bool:
        """Tell whether these devices are all among its own."""
        ...

    def begin(self) -> None:
        """Send the words that make safe, and wait for nothing."""
        ...

    def stop(self, *, success: bool = True) -> None:
        """Make safe; never raises."""
        ...


def make_safe(bias: Any, beam: Any, camera: Any = None, probe: Any = None) -> Plan:
    """Plan stub: put every part in its safe state, in order, whether or not one of them fails.

    Bias to 0 V and the output off (high impedance), beam blanked, probe stopped, camera stopped.
    The devices of a session share one safe state (``bias.safe_state``), which gives each part its
    time and makes all of them safe; other devices are stopped one after the other.

    Raises
    ------
    InterlockError
        A part could not be made safe; all others were tried first.
    """
    devices = [device for device in (bias, beam, probe, camera) if device is not None]
    whole = getattr(bias, "safe_state", None)
    if whole is not None and whole.covers(devices):
        devices = [whole]
    failures = []
    for device in devices:
        try:
            yield Msg("stop", device)
        except (RunEngineControlException, FailedStatus):
            # Aborted again, or what a stop cut short has failed, while the message was on its way.
            device.stop()
        except Exception as error:
            failures.append(f"{device.name}: {error}")
            continue
        if (problem := getattr(device, "unsafe", None)) is not None:
            if device is whole:
                raise InterlockError(problem)  # it is the only one, and says what to do
            failures.append(f"{device.name}: {problem}")
    if failures:
        raise InterlockError(f"NOT SAFE: {'; '.join(failures)}; switch it off by hand now")


def safe(plan: Plan, bias: Any, beam: Any, camera: Any = None, probe: Any = None) -> Plan:
    """Run a plan so that it ends in the safe state: done, failed, aborted or stopped."""

    def finish() -> Plan:
        yield from make_safe(bias, beam, camera, probe)

    return (yield from bpp.finalize_wrapper(plan, finish))


def covered(plan: Plan, whole: WholeStation, why: Callable[[], str] = str) -> Plan:
    """Run any plan so that the station is safe afterwards; for ``RE.preprocessors``.

    It need not be written for this package.  Whatever ends it (its end, an error, an abort, a stop,
    a halt that skips the plan's own cleaning up, ``sys.exit``), `whole` is stopped.  A plan that
    has just done that itself, as those of this package do, is not made safe twice.

    Parameters
    ----------
    plan : generator
        Of messages.
    whole : SafeState
        Of the station.
    why : callable
        Returns why the plan must end, or "".  It is asked before each message, and ends the plan,
        once, with an InterlockError: what was decided in another thread holds at once.

    Raises
    ------
    InterlockError
        The plan was ended by `why`, it called ``sys.exit``, or a part could not be made safe.
    """
    value = response = None
    failure: Exception | None = None
    error: BaseException | None = None
    clean = told = False
    while True:
        try:
            msg = plan.send(response) if error is None else plan.throw(error)
        except StopIteration as end:
            value = end.value
            break
        except (SystemExit, KeyboardInterrupt) as end:
            # It would end the RunEngine's thread, and who waits for the plan would wait for ever.
            failure = InterlockError(f"the plan called sys.exit() ({type(end).__name__}: {end})")
            break
        except Exception as problem:
            failure = problem
            break
        except BaseException:
            whole.stop()
            raise
        error = response = None
        if not told and (reason := why()):
            told, error = True, InterlockError(reason)
            continue
        try:
            response = yield msg
        except GeneratorExit:  # a halt: nothing can be asked of the RunEngine any more
            try:
                plan.close()
            finally:
                whole.stop()
            raise
        except BaseException as problem:
            error = problem
            if not clean and is_of_the_wire(problem):
                # The plan's own cleaning up may be held up by what is silent.
                whole.begin()
        if msg.obj is whole and msg.command == "stop":
            clean = error is None
        elif msg.command not in HARMLESS:
            clean = False
    if not clean:
        yield from _finish(whole, failure)
    elif failure is not None:
        raise failure
    elif whole.unsafe is not None:
        raise InterlockError(whole.unsafe)
    return value


def is_of_the_wire(error: BaseException) -> bool:
    """Tell whether an instrument that did not answer, or was not understood, is behind an error."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        if isinstance(found, TransportError | ProtocolError):
            return True
        seen.append(found)
        found = found.__cause__ or found.__context__
    return False


def _finish(whole: WholeStation, failure: Exception | None) -> Plan:
    """Stop the whole station, and raise what is to be told: the failure first."""
    try:
        yield Msg("stop", whole)
    except GeneratorExit:
        whole.stop()
        raise
    except (RunEngineControlException, FailedStatus) as problem:
        # Aborted again, or what this very stop cut short has failed: not what ended the plan.
        whole.stop()
        failure = failure or problem
    if failure is not None:
        raise failure
    if whole.unsafe is not None:
        raise InterlockError(whole.unsafe)
