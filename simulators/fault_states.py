"""Faults that are states of the bench: how each begins and how it ends."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from .fault_board import LiveFault, Undo
from .fault_tap import Tap
from .source_core import SourceCore

if TYPE_CHECKING:
    from .bench import Bench


Begin = Callable[["Bench", LiveFault], Undo]


def nothing() -> None:
    """Do nothing: what a state that is over at once leaves to undo."""


def begin(bench: "Bench", live: LiveFault) -> Undo:
    """Put the bench into the state of a fault; return how to end it."""
    return STATES[live.fault.kind](bench, live)


def _taps(bench: "Bench", live: LiveFault) -> list[Tap]:
    return bench.taps[live.fault.where]


def _close(bench: "Bench", live: LiveFault) -> Undo:
    for tap in _taps(bench, live):
        tap.close_connections()
    return nothing


def _refuse(bench: "Bench", live: LiveFault) -> Undo:
    return _refusing(_taps(bench, live))


def _refusing(taps: list[Tap]) -> Undo:
    endpoints = [tap.endpoint for tap in taps if tap.endpoint is not None]
    for endpoint in endpoints:
        endpoint.refuse()

    def accept() -> None:
        for endpoint in endpoints:
            endpoint.accept()

    return accept


def _silence(bench: "Bench", live: LiveFault) -> Undo:
    return _silencing(_taps(bench, live))


def _silencing(taps: list[Tap]) -> Undo:
    for tap in taps:
        tap.set_silent(True)

    def speak() -> None:
        for tap in taps:
            tap.set_silent(False)

    return speak


def _stall(bench: "Bench", live: LiveFault) -> Undo:
    taps = _taps(bench, live)
    for tap in taps:
        tap.set_stalled(True)

    def go_on() -> None:
        for tap in taps:
            tap.set_stalled(False)

    return go_on


def _reboot(bench: "Bench", live: LiveFault) -> Undo:
    taps = list(_taps(bench, live))
    if live.fault.where == "camera":
        taps += bench.taps["camera_data"]
        bench.camera.engine.power_cycle()
    elif live.fault.where == "probe":
        bench.probe.power_cycle()
    else:
        bench.source.power_cycle()
    undo = [_refusing(taps), _silencing(taps)] if live.fault.time_s else []
    for tap in taps:
        tap.restart()

    def booted() -> None:
        for end in undo:
            end()

    return booted


def _output_interlock(bench: "Bench", live: LiveFault) -> Undo:
    def open_line(core: SourceCore) -> None:
        # With an amount of 1 the line counts whatever ``:OUTPut:ENABle`` says, as on models that
        # have an interlock of their own.
        core.output.interlocked = bool(live.fault.size)
        core.set_enable_line(False)

    def close_line(core: SourceCore) -> None:
        core.output.interlocked = False
        core.set_enable_line(True)

    bench.source.perform(open_line)
    return lambda: bench.source.perform(close_line)


def _overheat(bench: "Bench", live: LiveFault) -> Undo:
    if live.fault.where == "bias_source":
        bench.source.perform(lambda core: core.set_hot(True))
        return lambda: bench.source.perform(lambda core: core.set_hot(False))
    engine = bench.camera.engine
    usual, engine.board_C = engine.board_C, _size(live)
    engine.fail(True)

    def cool_down() -> None:
        engine.board_C = usual
        engine.fail(False)

    return cool_down


def _acquisition_error(bench: "Bench", live: LiveFault) -> Undo:
    bench.camera.engine.fail(True)
    return lambda: bench.camera.engine.fail(False)


def _clock_jump(bench: "Bench", live: LiveFault) -> Undo:
    bench.camera.engine.jump_clock(_size(live))
    return nothing


def _axes(name: str, wrong: object, right: object) -> Begin:
    """Return a state in which an attribute of all axes is wrong; None stands for the amount."""

    def begin(bench: "Bench", live: LiveFault) -> Undo:
        value = _size(live) if wrong is None else wrong
        bench.probe.set_axes(name, value)
        return lambda: bench.probe.set_axes(name, right)

    return begin


def _disconnected(bench: "Bench", live: LiveFault) -> Undo:
    axis = round(_size(live))
    bench.probe.set_axes("connected", False, axis)
    return lambda: bench.probe.set_axes("connected", True, axis)


def _mishap(name: str, right: float) -> Begin:
    """Return a state in which one of the specimen's mishaps is the amount."""

    def begin(bench: "Bench", live: LiveFault) -> Undo:
        bench.specimen.mishap(**{name: _size(live)})
        return lambda: bench.specimen.mishap(**{name: right})

    return begin


def _gap(sign: float) -> Begin:
    """Return a state in which the probe was moved by the amount, away (-1) or towards (+1)."""

    def begin(bench: "Bench", live: LiveFault) -> Undo:
        nm = sign * _size(live)
        bench.specimen.step(2, nm)
        return lambda: bench.specimen.step(2, -nm)

    return begin


def _stage_jump(bench: "Bench", live: LiveFault) -> Undo:
    bench.specimen.mishap(shift_nm=(_size(live), 0.0))
    return lambda: bench.specimen.mishap(shift_nm=(0.0, 0.0))


def _charging(bench: "Bench", live: LiveFault) -> Undo:
    bench.specimen.mishap(
        charged_nm=_size(live), charged_at=bench.clock.now(), charged_s=live.fault.time_s
    )
    return lambda: bench.specimen.mishap(charged_nm=0.0)


def _blanker_stuck(bench: "Bench", live: LiveFault) -> Undo:
    specimen = bench.specimen
    specimen.mishap(blanker_stuck=True)
    if live.fault.size is not None:
        specimen.force_blank(bool(live.fault.size))
    return lambda: specimen.mishap(blanker_stuck=False)


def _scaled(name: str) -> Begin:
    """Return a state in which a property of the beam is so many times what it was."""

    def begin(bench: "Bench", live: LiveFault) -> Undo:
        specimen = bench.specimen
        usual: float = getattr(specimen, name)
        setattr(specimen, name, usual * _size(live))
        return lambda: setattr(specimen, name, usual)

    return begin


def _size(live: LiveFault) -> float:
    size = live.fault.size
    assert size is not None
    return size


STATES: dict[str, Begin] = {
    "close": _close,
    "refuse": _refuse,
    "silence": _silence,
    "reboot": _reboot,
    "stall": _stall,
    "output_interlock": _output_interlock,
    "overheat": _overheat,
    "missed_steps": _axes("missed", None, 0.0),
    "stuck_steps": _axes("stuck", True, False),
    "disconnected": _disconnected,
    "wrong_capacitance": _axes("capacitance_factor", None, 1.0),
    "front_panel": _axes("front_panel", True, False),
    "acquisition_error": _acquisition_error,
    "clock_jump": _clock_jump,
    "compliance": _mishap("bridge_ohm", math.inf),
    "short": _mishap("whisker_ohm", math.inf),
    "leak": _mishap("leak_ohm", math.inf),
    "oxide": _mishap("series_ohm", 0.0),
    "contact_lost": _gap(-1.0),
    "crash": _gap(1.0),
    "stage_jump": _stage_jump,
    "charging": _charging,
    "blanker_stuck": _blanker_stuck,
    "beam_current": _scaled("dose_rate_e_per_A2_s"),
    "magnification": _scaled("field_nm"),
}
